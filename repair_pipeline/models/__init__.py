"""The classifiers that are repaired."""
