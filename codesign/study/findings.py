"""Findings: everything a finished (or interrupted) study has to tell, as plain data.

`codesign.study` makes them from the store, `codesign.report` shows them, ``results.json`` is their
JSON. Numbers only here; sentences and pictures are the report's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from codesign.intervals import Interval
from codesign.mapping import Assignment, Cost

__all__ = [
    "DesignFinding",
    "Findings",
    "Front",
    "NetworkFinding",
    "Point",
    "SeenTrial",
    "UnitPicture",
    "Vulnerability",
]


@dataclass(frozen=True)
class NetworkFinding:
    """A trained network.

    Attributes:
        name: As the study calls it.
        spiking: Whether it has time steps and neurons.
        parameters: Weights and biases.
        macs: Multiply-accumulates of one inference (of all steps).
        steps: Time steps, 1 for a CNN.
        float_accuracy: Of the trained float model on the test samples, 0 to 1, or None.
        quantised_accuracy: Of the integer program on the same samples.
        samples: How many samples these are.
        weight_bits: Width of stored weights.
        training_seconds: 0 if it came from the cache or a file.
        note: What a reader must know ("supervised, not the paper's unsupervised network").
    """

    name: str
    spiking: bool
    parameters: int
    macs: int
    steps: int
    float_accuracy: float | None
    quantised_accuracy: float
    samples: int
    weight_bits: int
    training_seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class UnitPicture:
    """One unit of an accelerator, as drawn.

    Attributes:
        name, kind, shape: Of the unit.
        components: (name, bits, words, role) of each; the role of a net says so.
        layers: Layers mapped there.
        occupancy: Share of instance-cycles in use, 0 to 1, or None.
        vulnerability: Mean loss per fault drawn in it, or None without a campaign.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    components: tuple[tuple[str, int, int, str], ...]
    layers: tuple[str, ...] = ()
    occupancy: float | None = None
    vulnerability: Interval | None = None


@dataclass(frozen=True)
class DesignFinding:
    """One design: a network on a chip with or without a mitigation.

    Attributes:
        name: Unique in the study.
        base: Name of the design it was made from; its own name where it is the unprotected one.
        mitigation: Name of the mitigation, ``none`` for the base.
        network, accelerator: Names.
        golden_accuracy: On the campaign's samples, guards included.
        cost: One inference.
        units: The chip, drawn; links as (source, target, carries, bits).
        links: See units.
        assignments: Who is where, when.
        overflows: Golden wraps and saturations by layer (layers without any left out).
        crossing: For guards with bounds: share of single-bit flips of the guarded values that leave
            the bound, 0 to 1; None where no guard has a bound.
        guards: One line for each guard.
        digest: Of the design.
    """

    name: str
    base: str
    mitigation: str
    network: str
    accelerator: str
    golden_accuracy: float
    cost: Cost
    units: tuple[UnitPicture, ...] = ()
    links: tuple[tuple[str, str, str, int], ...] = ()
    assignments: tuple[Assignment, ...] = ()
    overflows: dict[str, int] = field(default_factory=dict)
    crossing: float | None = None
    guards: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True)
class Point:
    """One design under one scenario at one rate: a campaign's task.

    Attributes:
        task: Digest, the key in the store.
        design, scenario: Names.
        rate: Probability per site, or None where the scenario has no rate (single faults).
        trials: Stored; ``target``: asked for; ``stopped``: ``narrow``, ``effort`` or
        ``interrupted``.
        samples: Per trial.
        accuracy: Faulty accuracy over trials.
        loss: Golden minus faulty accuracy.
        gain: Paired difference of accuracy to the base design under the same faults, or None for
            the base itself and where the geometry differs (unpaired; then ``unpaired_gain``).
        unpaired_gain: See gain.
        shares: masked, tolerated, sdc, corrected, detected, hang: share of (trial, sample)s, adding
            to 1.
        drawn, idle, collapsed: Faults drawn; of these met nothing by proof; trials that shared a
            simulation.
        could_act, acted: Trials in which a fault could act, and in which an output changed.
        seconds: Spent.
    """

    task: str
    design: str
    scenario: str
    rate: float | None
    trials: int
    target: int
    stopped: str
    samples: int
    accuracy: Interval
    loss: Interval
    gain: Interval | None
    unpaired_gain: Interval | None
    shares: dict[str, float]
    drawn: int
    idle: int
    collapsed: int
    could_act: int
    acted: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Vulnerability:
    """Mean accuracy loss of a single fault, grouped.

    Attributes:
        design, scenario: Names.
        group: ``layer``, ``bit``, ``layer·bit``, ``unit.component`` or ``instance``.
        key: Of the group, for example ``conv1``, ``array.weight_register·6``, ``conv1·7``,
            ``array.weight_register`` or ``array.weight_register·3,5``.
        loss: Over the trials whose fault falls in the group.
        trials: How many these are.
    """

    design: str
    scenario: str
    group: str
    key: str
    loss: Interval
    trials: int


@dataclass(frozen=True)
class SeenTrial:
    """One trial, shown: what the struck layer did, golden and faulty.

    Attributes:
        design, scenario: Names.
        trial, sample: Which.
        choice: ``worst``, ``typical`` or ``masked``.
        fault: Text of the (first) fault and how many there are.
        layer: Watched layer.
        spiking: Whether ``golden`` and ``faulty`` are rasters ``[steps][neurons]`` of 0/1 (more
            where a chip fires several times in a step), else feature maps
            ``[channels][height][width]`` of codes.
        golden, faulty: Nested lists.
        neuron: Index of the struck neuron whose membrane is shown, or None.
        membrane_golden, membrane_faulty: ``[steps]`` each, or empty.
        threshold: Of that neuron.
        label, golden_prediction, faulty_prediction: Classes.
        hang: Whether there was no output in time; then ``faulty_prediction`` says nothing.
    """

    design: str
    scenario: str
    trial: int
    sample: int
    choice: str
    fault: str
    layer: str
    spiking: bool
    golden: list[object]
    faulty: list[object]
    label: int
    golden_prediction: int
    faulty_prediction: int
    neuron: int | None = None
    membrane_golden: tuple[int, ...] = ()
    membrane_faulty: tuple[int, ...] = ()
    threshold: int | None = None
    hang: bool = False


@dataclass(frozen=True)
class Front:
    """A search: candidates, the non-dominated ones, hand-made designs beside them.

    Attributes:
        objectives: Names, each with ``max`` or ``min``: ``{"faulty accuracy": "max", …}``.
        candidates: One dict each: number, parameters, objectives, state, on_front.
        verified: Front members and hand-made designs evaluated again on unseen test samples and
            fault seeds: dicts with name, kind (``found`` or ``hand-made``), parameters, and for
            each objective an `Interval` or a float.
        verdict: One sentence: whether what was found beats what was made by hand.
    """

    objectives: dict[str, str]
    candidates: tuple[dict[str, object], ...]
    verified: tuple[dict[str, object], ...]
    verdict: str = ""


@dataclass(frozen=True)
class Findings:
    """A study's results.

    Attributes:
        title, note: From the study.
        study: Resolved study, YAML.
        command: That makes it again.
        networks, designs, points, vulnerabilities, seen: See above.
        chance: Accuracy of guessing the most frequent class.
        front: Of a search, or None.
        failed: Sentences about experiments that failed ("no draw could act", "all masked").
        versions: Of codesign, python, torch, numpy…; ``engine`` names the engine that ran.
        seed: Of the study.
        seconds: Wall time of this run.
        peak_memory_mb: Of the parent process.
        absent: Figures that have nothing to show, with the reason.
    """

    title: str
    note: str
    study: str
    command: str
    networks: tuple[NetworkFinding, ...]
    designs: tuple[DesignFinding, ...]
    points: tuple[Point, ...]
    vulnerabilities: tuple[Vulnerability, ...]
    seen: tuple[SeenTrial, ...]
    chance: float
    versions: dict[str, str]
    seed: int
    front: Front | None = None
    failed: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
