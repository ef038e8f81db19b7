"""Studies: many cases, one question, one command."""
