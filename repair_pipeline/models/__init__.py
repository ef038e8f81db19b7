"""Classifiers: built-in architectures and user models."""
