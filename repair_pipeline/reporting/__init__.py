"""Figures, tables and HTML pages for people to read."""
