"""Sources of examples: built-in data sets and user data."""
