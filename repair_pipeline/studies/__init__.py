"""Studies: many cases that answer one question, run by one command."""
