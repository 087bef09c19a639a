"""What every hardware family must do: the suite that a stranger runs on a new one.

```python
import conformance
import pytest

SUBJECT = conformance.Subject(MyFamily(rows=4), small_network())

@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_my_family_conforms(check):
    check(SUBJECT)
```

A check raises `ConformanceError`, which says where, what was expected and what came. The network
must be small, use everything that the family claims, and not overflow on the chip. What is checked
here is what any family owes the rest of the house; that a fault does what the chip does is for the
family's own tests against a machine or its RTL.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from conformance_faults import Answer, elements, fault_of, only, refusals
from conformance_subject import ConformanceError, Subject, require
from integer_network import outputs as plain_outputs

from codesign.effects import Effects
from codesign.engine import dense, reference
from codesign.errors import FaultError, UnsupportedError
from codesign.faults import Faults, FaultSite
from codesign.guards import Recompute
from codesign.mapping import Activity, Cost
from codesign.network import Input, is_mac
from codesign.program import bounds
from codesign.report import MappingView, write_mapping
from codesign.samples import InputCoding

__all__ = ["CHECKS", "ConformanceError", "Subject"]


def check_every_site_has_a_name(subject: Subject) -> None:
    """Units and components enumerate their sites; each is written, read and refused rightly."""
    chip = subject.chip
    require(chip.units, f"{chip.name} has no units")
    require(chip.family == subject.family, f"{chip.name} does not carry the family that built it")
    for unit in chip.units:
        names = [part.name for part in unit.components]
        require(len(set(names)) == len(names), f"{unit.name}: two components share a name")
    require(chip.components(), f"{chip.name} has no component that can be faulty")
    for unit, part in chip.components():
        where = f"{unit.name}.{part.name}"
        require(part.bits >= 1 and part.words >= 1, f"{where}: no bits or no words")
        last = tuple(size - 1 for size in unit.shape)
        site = FaultSite(unit.name, last, part.name, part.words - 1, part.bits - 1)
        require(FaultSite.parse(str(site)) == site, f"{site} is not read as it is written")
        Faults.of([[fault_of(site, part)]], chip)
        for word, bit in ((part.words, 0), (0, part.bits)):
            beyond = FaultSite(unit.name, last, part.name, word, bit)
            try:
                Faults.of([[fault_of(beyond, part)]], chip)
            except FaultError:
                continue
            raise ConformanceError(f"{beyond} lies outside of {where} and is taken")


def check_the_family_is_data(subject: Subject) -> None:
    """Built twice, or in another process, it is the same chip with the same digest."""
    again = pickle.loads(pickle.dumps(subject.family))
    require(again == subject.family, "the family does not survive pickling")
    digests = {family.build().digest for family in (subject.family, again)}
    require(digests == {subject.chip.digest}, "two builds of one datasheet differ in their digest")
    require(subject.design.digest == subject.design.digest, "the design has no digest")


def check_golden_is_the_plain_arithmetic(subject: Subject) -> None:
    """Where nothing can overflow, the chip computes what the network's equations say."""
    over = [name for name, bound in bounds(subject.program).items() if bound.overflows]
    require(not over, f"{over} can overflow on this chip: take smaller weights for this check")
    layer = subject.network.layers[0]
    assert isinstance(layer, Input)
    coded = replace(subject.network, coding=InputCoding(format=layer.format))  # takes codes as such
    expected = plain_outputs(coded, subject.samples)
    came = subject.golden.outputs
    require((came == expected).all(), f"golden outputs {came.tolist()} are {expected.tolist()}")
    slow = reference.evaluate(subject.program, subject.samples, Effects.none(1)).outputs[0]
    require((slow == came).all(), "the two engines differ on the golden run")


def check_assignments_cover_the_work(subject: Subject) -> None:
    """Every product of every layer with weights has its place, its time and its own instances."""
    network, chip = subject.network, subject.chip
    done = {x.name: np.zeros(network.mac_shape(x.name), dtype=bool) for x in network if is_mac(x)}
    for one in subject.mapping.assignments():
        where = f"assignment {one.number} of {one.layer} on {one.unit}"
        require(one.layer in [x.name for x in network], f"{where}: no such layer")
        shape = chip.unit(one.unit).shape
        inside = len(one.instances) == len(shape) and all(
            0 <= low < high <= size for (low, high), size in zip(one.instances, shape, strict=True)
        )
        require(inside, f"{where}: instances {one.instances} of a unit of shape {shape}")
        require(0 <= one.first_cycle < one.last_cycle, f"{where}: no cycles")
        if one.layer in done:
            boxes = [range(*box) for box in (one.m, one.k, one.n)]
            for box, size in zip(boxes, done[one.layer].shape, strict=True):
                fits = len(box) and box[0] >= 0 and box[-1] < size
                require(fits, f"{where}: {box} is empty or outside 0..{size - 1}")
            done[one.layer][np.ix_(*boxes)] = True
    for name, products in done.items():
        missing = int((~products).sum())
        require(not missing, f"{name}: {missing} of {products.size} products are on no unit")


def check_every_fault_is_answered(subject: Subject) -> None:
    """Every site and model gives effects of this program, or is refused as an error of faults."""
    layers = len(subject.network.layers)
    count = 0
    for answer in subject.answers:
        if answer.refused is not None:
            refused = isinstance(answer.refused, FaultError | UnsupportedError)
            require(refused, f"{answer.name}: {answer.refused!r} is no FaultError, no refusal")
            require(str(answer.refused), f"{answer.name} is refused without a word")
            continue
        count += 1
        assert answer.footprint is not None
        effects = answer.footprint.effects
        require(effects.trials == answer.faults.trials, f"{answer.name}: effects of other trials")
        layer = effects.table["layer"]
        require(((layer >= 0) & (layer < layers)).all(), f"{answer.name}: no such layer")
        try:
            effects.check(subject.program)
        except FaultError as error:
            raise ConformanceError(
                f"{answer.name}: an effect outside the program: {error}"
            ) from error
    require(count, "every fault is refused: " + ", ".join(refusals(subject.answers)[:3]))


def check_books_add_up(subject: Subject) -> None:
    """A fault is counted once, and as idle exactly where it has no effect."""
    for answer in subject.answers:
        if answer.footprint is None:
            continue
        footprint, trials = answer.footprint, answer.faults.trials
        drawn = np.bincount(answer.faults.table["trial"], minlength=trials)
        require(
            np.array_equal(footprint.faults, drawn),
            f"{answer.name}: {footprint.faults.sum()} faults counted, {drawn.sum()} drawn",
        )
        acting = np.bincount(footprint.effects.table["trial"], minlength=trials) > 0
        wrong = np.flatnonzero(acting == (footprint.idle == 1))
        what = "has effects and counts as idle" if len(wrong) and acting[wrong[0]] else "has none"
        told = answer.told(int(wrong[0])) if len(wrong) else ""
        require(not len(wrong), f"{told} {what}, idle = {footprint.idle[wrong[:1]]}")


def check_permanent_faults_cover_transients(subject: Subject) -> None:
    """Whatever a fault touches for a while, the same fault for good touches too."""
    for answer in subject.answers:
        if answer.footprint is None:
            continue
        for permanent, transients in answer.by_site():
            for_good = [elements(subject, answer, trial, through=True) for trial in permanent]
            for trial in transients:
                for layer, some in elements(subject, answer, trial).items():
                    for whole, other in zip(for_good, permanent, strict=True):
                        left = int((some & ~whole.get(layer, np.zeros_like(some))).sum())
                        if left:
                            told = f"{answer.told(trial)} touches {left} elements of {layer}"
                            raise ConformanceError(f"{told} that {answer.told(other)} does not")


def check_idle_faults_are_masked(subject: Subject) -> None:
    """Faults of what holds nothing leave every output golden, alone and beside one that acts."""
    tried = 0
    for answer in subject.answers:
        if answer.footprint is None:
            continue
        idle = np.flatnonzero(answer.footprint.idle == 1)
        acting = np.flatnonzero(answer.footprint.idle == 0)
        for number in idle[:2].tolist():
            tried += 1
            _leaves_golden(subject, answer, number)
            apart = (x for x in acting.tolist() if answer.apart(x, number))
            other = next(apart, None)
            if other is not None:
                _changes_nothing_beside(subject, answer, number, other)
    require(tried, "no fault is idle: let the chip be larger than the network, or flips miss it")


def _leaves_golden(subject: Subject, answer: Answer, idle: int) -> None:
    rows = only(subject, answer, [idle])
    outputs = dense.evaluate(subject.program, subject.samples, rows).outputs
    same = (outputs == subject.golden.outputs).all()
    require(same, f"{answer.told(idle)} is idle and not masked")


def _changes_nothing_beside(subject: Subject, answer: Answer, idle: int, other: int) -> None:
    both, alone = (
        dense.evaluate(subject.program, subject.samples, only(subject, answer, trials)).outputs
        for trials in ([other, idle], [other])
    )
    told = f"{answer.told(idle)} is idle and changes what {answer.told(other)} does"
    require((both == alone).all(), told)


def check_exposures_are_cycles(subject: Subject) -> None:
    """Stored values appear in cycles of an inference, in order; unknown parts are refused."""
    mapping = subject.mapping
    for unit, part in subject.chip.components():
        cycles = mapping.exposures(unit.name, part.name)
        where = f"exposures of {unit.name}.{part.name}"
        require(cycles, f"{where}: none")
        require(list(cycles) == sorted(set(cycles)), f"{where} are not in order: {cycles[:8]}")
        inside = cycles[0] >= 0 and cycles[-1] < subject.last_cycle
        require(inside, f"{where}: {cycles[0]}..{cycles[-1]}, cycles 0..{subject.last_cycle - 1}")
    try:
        mapping.exposures(subject.chip.units[0].name, "no_such_component")
    except FaultError:
        return
    raise ConformanceError("exposures of a component that does not exist are given")


def check_costs_add_up(subject: Subject) -> None:
    """Costs are finite and not negative, belong to units and layers, and name what is missing."""
    cost = _cost(subject)
    require(cost.cycles >= subject.last_cycle, f"{cost.cycles} cycles, the last assignment later")
    summed = sum(cost.layer_cycles.values())
    require(summed <= cost.cycles, f"layers take {summed} of {cost.cycles} cycles")
    names = {layer.name for layer in subject.network}
    require(set(cost.layer_cycles) <= names, f"layers of cycles: {sorted(cost.layer_cycles)}")
    for name, part in cost.phases.items():
        told = f"the cycles of {name} are split into {part.cycles}"
        require(name == "*" or part.cycles == cost.layer_cycles.get(name), told)
    for name, share in cost.utilisation.items():
        require(name in names and 0 <= share <= 1, f"utilisation of {name} is {share}")
    total = 0.0
    for row in cost.rows:
        where = f"{row.layer} {row.unit}.{row.component}.{row.action}"
        require(row.layer in names | {"*"}, f"{where}: no such layer")
        subject.chip.unit(row.unit)
        require(math.isfinite(row.count) and row.count >= 0, f"{where}: count {row.count}")
        if row.energy_pj is None:
            require(row.grade == "absent", f"{where} has no energy and grade {row.grade}")
            require(cost.missing, f"{where} has no energy and nothing counts as missing")
            continue
        fine = math.isfinite(row.energy_pj) and row.energy_pj >= 0
        require(fine, f"{where}: {row.energy_pj} pJ")
        total += row.energy_pj
    require(math.isclose(cost.energy_pj, total), f"{cost.energy_pj} pJ, rows sum to {total}")
    for unit, area in (*cost.area_um2.items(), *cost.area_ge.items()):
        require(math.isfinite(area) and area >= 0, f"area of {unit}: {area}")
    thrice = _cost(subject, Recompute(3))
    told = f"three executions take {thrice.cycles} cycles, one takes {cost.cycles}"
    require(thrice.cycles >= 3 * cost.cycles, told)


def check_the_mapping_report_is_written(subject: Subject) -> None:
    """The page, and data that a JSON reader takes."""
    view = MappingView.of(subject.design, _cost(subject))
    with TemporaryDirectory() as folder:
        page = write_mapping([view], Path(folder))
        require(page.stat().st_size > 0, "the mapping page is empty")
        files = sorted(Path(folder).rglob("*.json"))
        require(files, "no JSON is written beside the mapping page")
        for file in files:
            json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_constant)


def check_answers_are_the_same_twice(subject: Subject) -> None:
    """Program, assignments, costs and footprints depend on the design and the fault alone."""
    one, other = subject.mapping, subject.mapping
    digests = {mapping.program(()).digest for mapping in (one, other, one)}
    require(len(digests) == 1, "two programs of one mapping differ")
    require(one.assignments() == other.assignments(), "two lists of assignments differ")
    require(_cost(subject) == _cost(subject), "two costs differ")
    for answer in subject.answers:
        if answer.footprint is None:
            continue
        again = other.footprint(answer.faults, subject.inferences)
        same = np.array_equal(again.effects.table, answer.footprint.effects.table)
        require(same, f"{answer.name}: two footprints of the same faults differ")
        for trial in answer.some(subject.seed):
            alone = only(subject, answer, [trial]).table.copy()
            among = answer.footprint.effects.of_trial(trial).copy()
            among["trial"] = 0
            alone, among = (_without_order(rows) for rows in (alone, among))
            told = f"{answer.told(trial)} has other effects alone than beside other trials"
            require(np.array_equal(alone, among), told)


def _without_order(rows: np.ndarray) -> np.ndarray:
    """Ranks count faults of a whole table; only their order within the trial means something."""
    order = np.unique(rows["rank"], return_inverse=True)[1]
    rows["rank"] = order
    return rows


def _cost(subject: Subject, *guards: Recompute) -> Cost:
    activity = Activity(**dense.activity(subject.golden))
    return subject.mapping.cost(activity, guards)


def _no_constant(text: str) -> None:
    raise ConformanceError(f"{text} in JSON: no reader but Python's takes it")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_every_site_has_a_name,
    check_the_family_is_data,
    check_golden_is_the_plain_arithmetic,
    check_assignments_cover_the_work,
    check_every_fault_is_answered,
    check_books_add_up,
    check_permanent_faults_cover_transients,
    check_idle_faults_are_masked,
    check_exposures_are_cycles,
    check_costs_add_up,
    check_the_mapping_report_is_written,
    check_answers_are_the_same_twice,
)
