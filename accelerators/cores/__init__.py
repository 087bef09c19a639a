"""A mesh of neuromorphic cores. `family` is the datasheet and tells what the chip does.

From a network to a program: `layers` (what runs on cores), `tiles` (which neurons share a core),
`schedule` (when), `mapping`. What a fault touches: `times`, `rows`, `currents`, `routes`,
`packets`, `footprint`. What an inference costs: `traffic`, `events`, `guards`, `phases`,
`cost`; the units stand in `graph`.
"""
