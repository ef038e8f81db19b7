"""Devices, threads and batches."""
