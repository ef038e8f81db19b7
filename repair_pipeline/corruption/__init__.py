"""Planted causes of failure, so that what is found can be compared with what was planted."""
