"""Engines: evaluate(program, samples, effects) → Observables. They know no hardware.

`codesign.engine.reference` is slow and obviously right; every other engine equals it bit for bit.
"""
