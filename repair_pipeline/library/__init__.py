"""The pipeline as a library: a problem, scores of its training rows, repairs and verdicts."""
