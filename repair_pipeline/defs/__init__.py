"""Dagster: the pipeline's steps as assets, and what schedules and runs them."""
