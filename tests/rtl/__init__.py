"""Judges: recorded faults of the RTL of real chips, replayed on our models of them."""
