"""Evaluation of causes (detection) and of repairs (recovery, gate)."""
