"""A case: data set, model, corruption, failures, methods and seed, as one small validated spec."""
