"""Step I: which training examples caused the failures."""
