"""Likelihoods p(z|θ): what a task is, one file each."""
