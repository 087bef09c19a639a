"""Costs of a layer written as a nest of loops over a hierarchy of memories, as ZigZag counts them.

`nest` has the nouns, `fill` cuts an order of loops to the memories, `moves` counts words and
energy, `latency` cycles and stalls.
"""
