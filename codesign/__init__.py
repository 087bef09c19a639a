"""Co-design of spiking and conventional accelerators: mapping, faults, mitigation, search."""

__version__ = "0.1.0"
