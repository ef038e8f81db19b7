"""MLflow: a parent run a case, a child run a method, so that runs can be compared."""
