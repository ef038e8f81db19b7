"""Dagster: the pipeline's steps as assets, with jobs, a schedule, sensors and resources."""
