"""A case's steps: the one list that the shell and Dagster both walk."""
