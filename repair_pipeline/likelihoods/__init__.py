"""Likelihoods p(z|θ): how a model's outputs define class probabilities."""
