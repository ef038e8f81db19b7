"""The Python library: a repair problem, scores of its training rows, repairs and verdicts."""
