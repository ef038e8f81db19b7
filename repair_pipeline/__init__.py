"""Repair trained neural networks by forgetting the training examples that caused their failures."""
