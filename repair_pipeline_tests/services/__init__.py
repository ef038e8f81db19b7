"""Servers that a team runs, started on loopback: ``make services``."""
