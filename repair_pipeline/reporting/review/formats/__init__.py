"""Layouts of annotation tools, one a file."""
