"""Co-design of spiking and conventional accelerators: graph, mapping, faults, mitigation, search."""

__version__ = "0.1.0"
