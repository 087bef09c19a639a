"""Faults for the conformance suite: sites of every component, stuck, broken and flipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codesign.accelerator import AcceleratorGraph, Component, Unit
from codesign.effects import Effects, Kind, box
from codesign.faults import FAULT, Fault, FaultModel, Faults, FaultSite, Window
from codesign.mapping import Footprint
from codesign.network import NetworkGraph, is_mac
from codesign.study.explain_place import source_elements

if TYPE_CHECKING:
    from conformance_subject import Subject

__all__ = ["Answer", "answers", "elements", "fault_of", "only", "refusals", "sites_of"]

LONG = 5  # cycles of a fault that lasts for a while


@dataclass(frozen=True, eq=False)
class Answer:
    """What a family says of faults of one component, one fault a trial.

    Attributes:
        name: Unit, component and models.
        chip: Whose component.
        faults: The faults, trial i has the i-th.
        footprint: The answer, or None.
        refused: What was raised instead.
    """

    name: str
    chip: AcceleratorGraph
    faults: Faults
    footprint: Footprint | None
    refused: Exception | None

    def told(self, trial: int) -> str:
        """One of its faults, as people read it."""
        fault = self.faults.fault(trial, self.chip)
        last = "" if fault.window.last is None else f" to {fault.window.last}"
        return f"{fault.site} {fault.model.name} from {fault.window.first}{last}"

    def by_site(self) -> Iterator[tuple[list[int], list[int]]]:
        """(permanent trials, transient trials) of each site.

        A flip is covered by the bit stuck at either level, other faults by their own model.
        """
        table = self.faults.table
        sites = np.stack([table[c].astype(np.int64) for c in ("instance", "word", "bit")], axis=1)
        number = np.unique(sites, axis=0, return_inverse=True)[1].reshape(-1)
        flips = table["model"] == FaultModel.flip
        whole = ~flips & (table["first"] == 0).all(axis=1) & (table["last"] < 0).all(axis=1)
        for site in range(int(number.max()) + 1):
            mine = number == site
            groups = [mine] if flips[mine].any() else []
            groups = groups or [mine & (table["model"] == m) for m in np.unique(table["model"])]
            for group in groups:
                for_good, for_a_while = group & whole, group & ~whole
                yield np.flatnonzero(for_good).tolist(), np.flatnonzero(for_a_while).tolist()

    def apart(self, one: int, other: int) -> bool:
        """Whether two of its faults strike different words, so that neither can overrule."""
        place = self.faults.table[["instance", "word"]]
        return bool(place[one] != place[other])

    def some(self, seed: int) -> list[int]:
        """A few of its trials."""
        rng = np.random.default_rng(seed)
        count = min(3, self.faults.trials)
        return [int(t) for t in rng.choice(self.faults.trials, count, replace=False)]


def answers(subject: Subject) -> Iterator[Answer]:
    """Ask a family about faults of every component and of every kind of instance.

    What refuses a component as a whole is asked again model by model.
    """
    for unit, part in [*subject.chip.components(), *((u, None) for u in subject.chip.units)]:
        models = _models(part)
        whole = _ask(subject, unit, part, models)
        if whole.refused is None or len(models) == 1:
            yield whole
        else:
            for model in models:
                yield _ask(subject, unit, part, (model,))


def refusals(found: Sequence[Answer]) -> list[str]:
    """What is refused, and with which words."""
    return [f"{answer.name}: {answer.refused}" for answer in found if answer.refused is not None]


def sites_of(subject: Subject, unit: Unit, part: Component | None) -> NDArray[np.void]:
    """Rows of the sites of a component, or of as many as the subject wants: ends, some between."""
    chip = subject.chip
    words, bits = (part.words, part.bits) if part else (1, 1)
    count = unit.instances * words * bits
    chosen = np.arange(count)
    if count > subject.sites:
        rng = np.random.default_rng([subject.seed, count])
        between = rng.choice(count, subject.sites, replace=False)
        # Most of a large memory is empty: its first words are where a small network lies.
        chosen = np.unique([0, bits - 1, count - 1, *between, *range(bits, min(count, 3 * bits))])
    rows = np.zeros(len(chosen), dtype=FAULT)
    rows["part"] = chip.components().index((unit, part)) if part else -1 - chip.units.index(unit)
    rest, rows["bit"] = np.divmod(chosen, bits)
    rows["instance"], rows["word"] = np.divmod(rest, words)
    rows["last"], rows["execution"] = -1, -1
    return rows


def fault_of(site: FaultSite, part: Component | None) -> Fault:
    """Some fault that a site can have."""
    return Fault(site, _models(part)[0])


def only(subject: Subject, answer: Answer, trials: Sequence[int]) -> Effects:
    """The effects of some of an answer's faults, asked for again as one trial."""
    table = answer.faults.table[list(trials)]
    table["trial"] = 0
    return subject.mapping.footprint(Faults(table, 1), subject.inferences).effects


def elements(
    subject: Subject, answer: Answer, trial: int, *, through: bool = False
) -> dict[str, NDArray[np.bool_]]:
    """``[inferences, steps, m, n]`` elements that the effects of a trial name, by layer.

    Args:
        subject: Who answered.
        answer: With its footprint.
        trial: Of the answer.
        through: Whether stored values that are corrupted as others read them count as these too.
    """
    assert answer.footprint is not None
    network = subject.network
    found: dict[str, NDArray[np.bool_]] = {}
    for row in answer.footprint.effects.of_trial(trial):
        name = network.layers[int(row["layer"])].name
        sizes = (subject.inferences, network.steps, *network.grid(name))
        selectors = ((*row["samples"], 1), (*row["steps"], 1), row["m"], row["n"])
        boxes = [
            [i for i in box(selector, size) if i < size]
            for selector, size in zip(selectors, sizes, strict=True)
        ]
        mask = found.setdefault(name, np.zeros(sizes, dtype=bool))
        mask[np.ix_(*boxes)] = True
        if through and row["kind"] == Kind.activation:
            for reader in _readers(network, name, int(row["reader"])):
                _read_by(network, name, reader, boxes, found)
    return found


def _readers(network: NetworkGraph, name: str, reader: int) -> tuple[str, ...]:
    return network.readers(name) if reader < 0 else (network.layers[reader].name,)


def _read_by(
    network: NetworkGraph,
    name: str,
    reader: str,
    boxes: list[list[int]],
    found: dict[str, NDArray[np.bool_]],
) -> None:
    """Add the outputs of a reader that read elements (m, n) of a layer, at every step."""
    inferences, _, positions, channels = boxes
    sizes = (*next(iter(found.values())).shape[:2], *network.grid(reader))
    outputs = np.ones(sizes[2:], dtype=bool)
    if is_mac(network[reader]):
        wrong = np.zeros(int(np.prod(network.shapes[name])) + 1, dtype=bool)  # the last: padding
        wrong[[network.element(name, m, n) for m in positions for n in channels]] = True
        m, k, n = np.ogrid[tuple(slice(size) for size in network.mac_shape(reader))]
        outputs = np.asarray(wrong[source_elements(network, reader, m, k, n)].any(axis=1))
    whole = found.setdefault(reader, np.zeros(sizes, dtype=bool))
    whole[inferences] = whole[inferences] | outputs


def _models(part: Component | None) -> tuple[FaultModel, ...]:
    if part is None:
        return (FaultModel.dead,)
    if part.role == "operation":
        return (FaultModel.skip, FaultModel.always)
    return (FaultModel.stuck0, FaultModel.stuck1, FaultModel.flip)


def _ask(
    subject: Subject, unit: Unit, part: Component | None, models: tuple[FaultModel, ...]
) -> Answer:
    sites = sites_of(subject, unit, part)
    tables = []
    for model in models:
        windows = _windows(subject, model)
        table = np.repeat(sites, len(windows))
        table["model"] = model
        table["first"] = np.tile([window.first for window in windows], (len(sites), 1))
        table["last"] = np.tile([window.last or (-1, -1) for window in windows], (len(sites), 1))
        tables.append(table)
    table = np.concatenate(tables)
    table["trial"] = np.arange(len(table))
    faults = Faults(table, len(table))
    name = f"{unit.name}.{part.name if part else '*'} ({', '.join(m.name for m in models)})"
    try:
        footprint = subject.mapping.footprint(faults, subject.inferences)
    except Exception as error:  # what kind it is, is for the check to judge
        return Answer(name, subject.chip, faults, None, error)
    return Answer(name, subject.chip, faults, footprint, None)


def _windows(subject: Subject, model: FaultModel) -> list[Window]:
    """For good, and for a while; a flip in some cycles of the first two inferences."""
    cycles, rng = subject.last_cycle, np.random.default_rng([subject.seed, 1])
    runs = min(2, subject.inferences)
    if model is FaultModel.flip:
        tried = np.arange(cycles)
        if cycles > subject.cycles:
            tried = np.sort(rng.choice(cycles, subject.cycles, replace=False))
        return [Window((number % runs, cycle)) for number, cycle in enumerate(tried.tolist())]
    found = [Window()]
    for inference in range(runs):
        first = int(rng.integers(max(1, cycles - 1)))
        last = max(first + 1, min(first + LONG, cycles - 1))
        found.append(Window((inference, first), (inference, last)))
    return found
