"""Commented starts of datasheets and studies, as `codesign new` writes them.

Each loads and maps as it stands. ``NAME`` is replaced by the chosen name.
"""

from __future__ import annotations

__all__ = ["DATASHEETS", "STUDY"]

_NUMBERS = """\
# A physical number carries its unit, its source and a grade: measured, published, simulated,
# derived, fitted or assumed. Leave out what you do not know: absent is not zero, and a report
# lists what it could not price. Every source key is explained under `sources`.
"""

_SYSTOLIC = f"""\
# NAME: a systolic array (say in one sentence what it is, and whose).
# What every field means: `codesign list` names the family, its docstring in
# accelerators/systolic/family.py the fields. Fields left out take the family's defaults.
use: accelerators:Systolic
name: NAME

# The array of processing elements, and what stays in them while the rest streams through:
# weight_stationary, output_stationary or input_stationary. `datapath: gemmini` is the mesh of that
# generator (rows = cols, int8, 20-bit sums). `timing` names the rule by which cycles are counted,
# `zero_gating` the operands whose zeros save a multiplication: none, input, weight or both.
rows: 8
cols: 8
dataflow: weight_stationary
datapath: generic
timing: datapath
zero_gating: none

# Widths of the registers, and what a sum does that does not fit: wrap or saturate. psum_* are the
# running sums in the array, accumulator_* the sums in psum_sram to which the passes are added.
weight_bits: 8
input_bits: 8
psum_bits: 32
psum_overflow: wrap
accumulator_bits: 32
accumulator_overflow: saturate

{_NUMBERS}
# Memories: capacity, and the bits that are read or written at once (a whole number of elements).
# What does not fit is refused when a network is mapped, with the field that helps.
weight_sram:
  bytes: 32768
  word_bits: 128
  # read: {{value: 17.2, unit: pJ, source: book, grade: simulated}}   # of one word
  # write: {{value: 22.3, unit: pJ, source: book, grade: simulated}}
  # area: {{value: 0.098, unit: mm2, source: book, grade: simulated}}  # of the whole memory
  # static_power: {{value: 1.0, unit: mW, source: book, grade: assumed}}
activation_sram: {{bytes: 32768, word_bits: 128}}
psum_sram: {{bytes: 32768, word_bits: 128}}
dram: {{bytes: 1048576, word_bits: 64}}

clock: {{value: 200, unit: MHz, source: design, grade: assumed}}
multiply: {{value: 0.2, unit: pJ, source: horowitz, grade: published}}  # 8 bits, 45 nm
add: {{value: 0.1, unit: pJ, source: horowitz, grade: published}}  # 32 bits, 45 nm
# register_bit: {{value: 0.001, unit: pJ, source: book, grade: assumed}}  # writing one bit
# element_area: {{value: 500, unit: um2, source: book, grade: assumed}}  # of one element
# static_power: {{value: 5, unit: mW, source: book, grade: assumed}}  # of all elements
# cycle_energy: {{value: 2, unit: pJ, source: book, grade: assumed}}  # of all elements: their clock

sources:
  horowitz: "M. Horowitz, ISSCC 2014, doi 10.1109/ISSCC.2014.6757323, 45 nm, 0.9 V"
  design: "A choice of this datasheet"
"""

_CORES = f"""\
# NAME: spiking crossbar cores on a mesh (say in one sentence what it is, and whose).
# What every field means stands in the docstring of accelerators/cores/family.py. Fields left out
# take the family's defaults.
use: accelerators:Cores
name: NAME

# Routers in x and y, with `tile` cores at each; each core is a crossbar of axons (rows) × columns
# (neurons). Inputs come in and outputs leave at the router of core `host`.
mesh: [2, 2]
tile: 1
host: 0
axons: 64
columns: 32

# Formats: bits, signed (default true), overflow (saturate or wrap). Axons of more than one bit take
# codes, for networks whose first layer reads pixels.
weight: {{bits: 8}}
axon_bits: 8
axon_signed: false
current: {{bits: 24}}
membrane: {{bits: 26}}
threshold: {{bits: 26}}

# How much fits: groups of neurons that a core serves in turn, words of its weight memory. resident
# weights stay in the crossbars, reloaded ones do not; auto keeps them if all fit at once.
neuron_words: 4
weight_words: 8192
weights: auto
packet_bits: 32

# How actions are counted (schedule or sana_fe), and what saves energy: multipliers that rest at an
# input of 0, neurons that are skipped while nothing reaches them.
counting: schedule
zero_gating: false
idle_neurons: updated

{_NUMBERS}
clock: {{value: 200, unit: MHz, source: design, grade: assumed}}
energy:  # by component.action, of one word
  integrate.op: {{value: 0.1, unit: pJ, source: horowitz, grade: derived}}  # a 32-bit addition
  fire.op: {{value: 0.1, unit: pJ, source: horowitz, grade: assumed}}  # a comparison likewise
  # packet.hop: {{value: 2.3, unit: pJ, source: book, grade: published}}
area: {{}}  # by component or unit
static_power: {{}}  # by unit
cycle_energy: {{}}  # by unit: its clock
# check:  # published figures of the whole chip that these numbers must give again

sources:
  horowitz: "M. Horowitz, ISSCC 2014, doi 10.1109/ISSCC.2014.6757323, 45 nm, 0.9 V"
  design: "A choice of this datasheet"
"""

DATASHEETS: dict[str, str] = {"Cores": _CORES, "Systolic": _SYSTOLIC}
"""By family."""

STUDY = """\
# NAME: say in one sentence what is to be found out.
# `codesign check NAME.yaml` finds every mistake, `codesign run NAME.yaml` runs it; what else may
# stand here: `codesign schema`.
title: NAME

# A data set of the networks shelf; `codesign list` names all parts.
data: {use: networks:digits}

# Networks are trained here unless `weights:` names a file.
networks:
  cnn: {use: networks:SmallCnn, channels: [8, 16]}
training: {epochs: 10, qat_epochs: 2, batch: 64}

# A shipped datasheet by its name, or your own by its path relative to this file, and what you
# change in it.
accelerators:
  chip:
    datasheet: generic8_ws
    change: {rows: 16}

# Which network runs on which chip.
designs:
  plain: {network: cnn, accelerator: chip}

# Each is compared with no protection and with re-execution, on the same faults.
mitigations:
  ecc: {use: mitigation:ErrorCorrection, places: [weight]}

# Which parts of the chip are struck, how, and how often. `codesign map` shows the parts.
faults:
  stuck weights:
    use: scenarios:RandomFaults
    components: [array.weight_register]
    model: stuck
    rates: [1e-3, 1e-2]

# A trial is one draw of faults; asking for more later goes on from what is there.
effort: {trials: 20, samples: 100}
"""
