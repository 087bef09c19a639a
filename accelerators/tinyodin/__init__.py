"""tinyODIN, a chip of 256 time-multiplexed neurons. `family` is the datasheet.

`words` (what a stored word means), `chip` and `cycle` are the cycle model. `program`, `mapping` and
`footprint` are what campaigns use: the same chip as an event-serial program, judged by the cycle
model and by RTL. `cost` counts what its source publishes.
"""
