"""What an explanation of a fault holds: data, told in words by `codesign.study.explain_text`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codesign.engine.observables import predictions
from codesign.faults import Fault
from codesign.study.explain_masking import Masked
from codesign.study.explain_place import Touched

__all__ = ["Ended", "Explanation", "LayerChange", "Reached", "Story", "Struck"]


@dataclass(frozen=True, eq=False)
class Struck:
    """One effect of a fault.

    Attributes:
        row: Of `codesign.effects.EFFECT`.
        touched: The values it corrupts on the shown sample; None if it does not act on that one.
    """

    row: np.void
    touched: Touched | None


@dataclass(frozen=True)
class Reached:
    """What a fault's effects touch in one layer.

    Attributes:
        layer: Its name.
        outputs: Output elements that an effect names.
        of: Output elements of the layer.
        readers: Layers that read them; for a stored value only those that read it corrupted.
    """

    layer: str
    outputs: int
    of: int
    readers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Story:
    """One fault, alone.

    Attributes:
        fault: The fault.
        struck: Its effects, in the order of the layers.
        reached: The same, by layer.
        at_work: (layer, pass) that the struck instance works on as the fault begins; empty for a
            fault that is there from the beginning, and where assignments do not name the unit.
        meets: Half-open ranges of cycles in which a flip at this site would act on the shown
            sample's inference, if this one does not; None where that was not asked.
    """

    fault: Fault
    struck: tuple[Struck, ...]
    reached: tuple[Reached, ...]
    at_work: tuple[tuple[str, int], ...] = ()
    meets: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class LayerChange:
    """How one layer's values differ from golden on the shown sample.

    Attributes:
        layer: Its name.
        changed: Elements that differ in some step.
        elements: Of the layer.
        largest: Largest difference of one value.
        first_step, last_step: In which values differ.
    """

    layer: str
    changed: int
    elements: int
    largest: int
    first_step: int
    last_step: int


@dataclass(frozen=True)
class Ended:
    """How many samples of the run ended so, and the first of them."""

    outcome: str
    samples: int
    first: int


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the faults of one trial do.

    Attributes:
        design: Name of the design.
        design_steps: Time steps of its network.
        layers: Names of its layers, as effects number them.
        stories: The first few faults, each alone.
        faults: How many there are.
        idle: How many of these meet nothing in their window.
        sample: The shown sample, which is inference number ``sample``.
        label: Its label.
        golden, faulty: ``[classes]`` its outputs.
        outcome: ``masked``, ``tolerated``, ``sdc``, ``corrected``, ``detected`` or ``hang``.
        changes: Layers that differ, in order.
        masked: Where what was wrong became golden again; the whole answer if nothing came out.
        ended: All samples of the run.
    """

    design: str
    design_steps: int
    layers: tuple[str, ...]
    stories: tuple[Story, ...]
    faults: int
    idle: int
    sample: int
    label: int
    golden: tuple[int, ...]
    faulty: tuple[int, ...]
    outcome: str
    changes: tuple[LayerChange, ...]
    masked: tuple[Masked, ...]
    ended: tuple[Ended, ...]

    @property
    def predictions(self) -> tuple[int, int]:
        """Golden and faulty class."""
        return int(predictions(np.array(self.golden))), int(predictions(np.array(self.faulty)))
