"""Bayesian continual (un)learning: posteriors, factors and the learners that multiply one by the other."""
