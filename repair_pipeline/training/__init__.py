"""Fitting a classifier's parameters."""
