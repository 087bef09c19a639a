"""Systolic arrays of every dataflow. `family` is the datasheet and tells what the chip does.

From a network to a program: `lines` (which tensor axis runs along which side), `schedule` (which
cycle), `weights` and `maps` (what the memories hold), `mapping`. What a fault touches: `hits` (what
passes a place), `effects`, and one module a kind of place: `registers`, `wires`, `memories` with
`store` and `stored`, `gemmini_network` for Gemmini's mesh (`gemmini_mesh`). What an inference
costs: `phases`, `gating`, `guards`, `holdings`, `cost`.
"""
