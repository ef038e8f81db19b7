"""Whether the causes were found and the repair holds."""
