"""Step II: erasing the causes from the model."""
