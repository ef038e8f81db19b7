"""Corruptions: planted causes of failure, the ground truth for influence methods."""
