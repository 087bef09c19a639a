"""`codesign explain`: one fault of one design of a study, in words and numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from codesign.accelerator import AcceleratorGraph
from codesign.design import Design
from codesign.errors import DataError, FaultError, StudyError, nearest
from codesign.events import EventProgram
from codesign.faults import Faults
from codesign.samples import Samples
from codesign.study.building import Built, build
from codesign.study.explain import explain
from codesign.study.explain_events import explain_events
from codesign.study.explain_events_text import event_explanation_text
from codesign.study.explain_fault import parse_fault
from codesign.study.explain_text import explanation_text
from codesign.study.loading import LoadedStudy
from codesign.study.running import output_folder

__all__ = ["explain_fault", "explained_text"]


def explain_fault(
    study: LoadedStudy,
    text: str,
    name: str | None,
    sample: int | None,
    say: Callable[[str], None],
) -> str:
    """What a fault does to a design of a study.

    Args:
        study: As loaded.
        text: The fault, see `codesign.study.explain_fault`.
        name: Of the design, protected ones included; None takes the study's first whose chip can
            have the fault.
        sample: Which test sample is shown, and in whose inference a cycle is counted; None counts
            in inference 0 and shows the first sample that ended worst.
        say: Gets one line a stage.

    Raises:
        DataError: No such sample.
        FaultError: No chip of the study can have this fault; the nearest right name is offered.
        StudyError: No such design.
    """
    if name is None:
        chips = [study.families[d.accelerator].build() for d in study.spec.designs.values()]
        _chip_with(text, chips)  # says what is wrong before anything is trained
    built = build(study, output_folder(study), say)
    design = _design(built, name, text)
    samples = built.coded(design.name)
    if sample is not None and not 0 <= sample < len(samples):
        raise DataError(f"sample {sample}: the run has samples 0..{len(samples) - 1}")
    fault = parse_fault(text, design.accelerator, sample or 0)
    faults = Faults.of([[fault]], design.accelerator)
    return explained_text(design, faults, samples, sample)


def explained_text(design: Design, faults: Faults, samples: Samples, sample: int | None) -> str:
    """What the faults of one trial do to a design, whatever kind of program it runs.

    Args:
        design: Is struck.
        faults: Of one trial.
        samples: As the design's network reads them.
        sample: Which is shown; None takes the first that ended worst.
    """
    program = design.program
    if isinstance(program, EventProgram):
        return event_explanation_text(explain_events(design, program, faults, samples, sample))
    return explanation_text(explain(design, faults, samples, sample))


def _design(built: Built, name: str | None, text: str) -> Design:
    """The design that is meant."""
    if name is not None:
        if name not in built.designs:
            raise StudyError(f"the study has no design {name!r}{nearest(name, built.designs)}")
        return built.designs[name]
    chips = [design.accelerator for design in built.designs.values()]
    return list(built.designs.values())[_chip_with(text, chips)]


def _chip_with(text: str, chips: Sequence[AcceleratorGraph]) -> int:
    """Index of the first chip that can have a fault."""
    unit = re.split(r"[^A-Za-z0-9_]", text.strip(), maxsplit=1)[0]
    units = {u.name for chip in chips for u in chip.units}
    if unit not in units:
        raise FaultError(
            f"{text!r}: no chip of the study has a unit {unit!r}{nearest(unit, units)}"
        )
    has_it = [i for i, chip in enumerate(chips) if unit in {u.name for u in chip.units}]
    for i in has_it:
        try:
            parse_fault(text, chips[i])
        except FaultError:
            continue
        return i
    parse_fault(text, chips[has_it[0]])  # says what is wrong
    return has_it[0]
