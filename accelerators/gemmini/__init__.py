"""Gemmini's mesh as its RTL has it, driven by requests; networks reach it through `systolic`.

`requests`, `strikes`, `cycle_control` and `cycle` are the cycle model: every register, every edge.
`program` says what a fault does to the sums of a run of requests, without cycles: `slots` resolves
when, `weight_stationary` and `output_stationary` what. The first and RTL judge
the second.
"""
