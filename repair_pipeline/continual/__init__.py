"""Bayesian continual (un)learning: posteriors, factors, and learners that update posteriors by factors."""
