"""Devices, threads, random streams and progress bars."""
