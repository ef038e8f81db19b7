"""MLflow: one parent run per case with one child run per method, and the model registry."""
