"""Event-serial programs and their engine, by hand: small numbers, every refusal."""

from __future__ import annotations

import numpy as np
import pytest

from codesign.effects import Effects
from codesign.engine.serial import evaluate_events, golden_timeline
from codesign.errors import DataError, FaultError
from codesign.events import (
    ACTION,
    Action,
    EventCycles,
    EventProgram,
    WordField,
    WordLayout,
    actions,
    check,
)

LAYOUT = WordLayout(WordField(0, 8), WordField(8, 6), WordField(14, 2), WordField(16, 1))
SAMPLE = (Action.sample, 0, 0, True)


def program(*, closed_loop=False, capacity=4, **cycles):
    """Three neurons with threshold 5 and leak 1; axon a adds a to neuron 0, 2 to 1, -3 to 2."""
    weights = [[a, 2, -3] for a in range(4)]
    words = [5 << 8 | 1 << 14] * 3
    timing = EventCycles(**cycles)
    return EventProgram(
        np.array(words), np.array(weights), LAYOUT, 4, 3, closed_loop, capacity, timing, (0, 1)
    )


def run(case, rows, *listed):
    return evaluate_events(case, [actions(*listed)], Effects.of(rows, 1))


def test_scans_integrate_fire_and_reset_in_order():
    shown = run(program(), [], (Action.scan, 3, 0, False), (Action.scan, 3, 0, False), SAMPLE)
    # Neuron 0: 3, then 6 >= 5 fires and is 0. Neuron 1: 2, 4. Neuron 2: -3, -6 (250 unsigned).
    assert shown.events[0][:, 1].tolist() == [0]
    assert shown.samples[0].tolist() == [[0, 4, 250]]
    assert shown.outputs[0, 0].tolist() == [1, 0]


def test_leaks_immediate_events_and_single_neurons():
    shown = run(
        program(),
        [],
        (Action.immediate, 1, 4, False),
        (Action.immediate, 2, -4, True),
        (Action.leak_all, 0, 0, True),
        (Action.leak_one, 1, 0, True),
        SAMPLE,
    )
    assert shown.samples[0].tolist() == [[0, 2, 253]]


def test_a_closed_loop_queues_spikes_behind_what_waits_and_loses_what_does_not_fit():
    # Axon 3 five times in one burst: neuron 0 fires in the second and fourth scan. Its spikes are
    # scans of axon 0, each adding 2 to neuron 1.
    burst = [(Action.scan, 3, 0, False)] * 5
    shown = run(program(closed_loop=True), [], *burst, SAMPLE)
    scans = 5 + len([e for e in shown.events[0] if e[1] < 3])
    # Neuron 2 gets -3 in every scan and never fires.
    assert shown.samples[0][0, 2] == 256 - 3 * scans
    # With room for one event, the spike of a scan finds its own event still in the queue: lost.
    alone = run(program(closed_loop=True, capacity=1), [], *burst, SAMPLE)
    assert alone.samples[0][0, 2] == 256 - 3 * 5


@pytest.mark.parametrize(
    ("row", "potentials"),
    [
        # Golden: axon 1 twice gives 2, 4, -6 (250).
        ({"kind": "state", "at": "cell", "n": (1, 2, 1), "steps": (1, -1), "mask": 4}, [2, 0, 250]),
        ({"kind": "state", "at": "read", "n": (0, 1, 1), "steps": (1, 2), "mask": 1}, [1, 4, 250]),
        ({"kind": "state", "at": "write", "n": (0, 1, 1), "steps": (0, 1), "mask": 2}, [4, 4, 250]),
        ({"kind": "parameter", "at": "read", "steps": (0, 1), "mask": 0x400}, [2, 0, 250]),
    ],
)
def test_windows_of_words_are_items(row, potentials):
    # 2 ^ 4 = 6, + 2 >= 5: neuron 1 fires. 1 ^ 1 = 0, + 1. (0 + 1) ^ 2 = 3, + 1. Threshold 5 ^ 4 = 1
    # in the first item, written back and so for good: 1 >= 1 and 2 >= 1 fire in both.
    if row["kind"] == "parameter":
        potentials = [0, 0, 250]
    scans = [(Action.scan, 1, 0, True)] * 2
    shown = run(program(), [row | {"op": "xor", "bits": 17, "signed": False}], *scans, SAMPLE)
    assert shown.samples[0].tolist() == [potentials]


def test_weights_are_corrupted_in_memory_as_read_and_as_added():
    base = {"kind": "operand", "op": "xor", "bits": 4, "mask": 2}
    scans = [(Action.scan, 1, 0, True)] * 2
    cell = base | {"at": "cell", "k": (1, 2, 1), "n": (0, 1, 1), "steps": (1, -1)}
    read = base | {"at": "read", "n": (0, 1, 1), "steps": (0, 1)}
    wide = base | {"at": "weight", "bits": 8, "mask": 128, "op": "stuck", "value": 128}
    assert run(program(), [cell], *scans, SAMPLE).samples[0][0, 0] == 1 + 3
    assert run(program(), [read], *scans, SAMPLE).samples[0][0, 0] == 3 + 1
    # Weight 1 with bit 7 stuck at one is -127; twice -254 saturates at -128.
    assert run(program(), [wide], *scans, SAMPLE).samples[0].tolist() == [[128, 128, 250]]


def test_an_alias_reads_writes_and_emits_elsewhere():
    base = {"kind": "alias", "op": "stuck", "mask": 1, "bits": 2, "signed": False}
    scans = [(Action.scan, 3, 0, True)] * 2
    # Neurons 0 and 1 both work on the word of 0: 3, then 5 fires, as neuron 1.
    shown = run(program(), [base | {"at": "cell"}], *scans, SAMPLE)
    assert shown.samples[0].tolist() == [[0, 0, 250]]
    assert shown.events[0][:, 1].tolist() == [1, 1]
    # Axon 0 three times: neuron 1 fires at 6, and 0 is what leaves.
    line = run(program(), [base | {"at": "line"}], *[(Action.scan, 0, 0, True)] * 3, SAMPLE)
    assert line.events[0][:, 1].tolist() == [0]
    # Operand address axon * 3 + neuron, bit 0 at zero: 9, 10, 11 read the weights of 8, 10, 10.
    weight = run(program(), [base | {"at": "weight", "bits": 4}], *scans[:1], SAMPLE)
    assert weight.samples[0].tolist() == [[256 - 3, 2, 2]]


def test_a_timeline_counts_updates_spikes_and_idle_cycles():
    case = program(update=2, spike=6, pop=1, acknowledge=2, release=3, turn=1, idle=4)
    timeline = golden_timeline(case, actions((Action.scan, 3, 0, True), SAMPLE))
    # Idle in 1..4, request in 5, free in 6, acknowledged in 8, free in 11, scan from 12; its end
    # takes 18, idle in 19..22.
    assert timeline.start.tolist() == [12, 23]
    assert timeline.written[0].tolist() == [13, 15, 17]
    assert timeline.cycles == 22


def test_a_wait_that_is_too_long_is_a_hang_of_that_action():
    case = program(closed_loop=True, update=2, time_out=50)
    words = [5 << 8] * 3
    weights = np.full((4, 3), 7)
    storm = EventProgram(np.array(words), weights, LAYOUT, 4, 3, True, 4, case.cycles, outputs=(0,))
    shown = run(storm, [], (Action.scan, 0, 0, True), SAMPLE)
    assert shown.hang.tolist() == [[1]]
    assert shown.outputs.tolist() == [[[0]]]


REFUSED = [
    ({"kind": "operand", "at": "input"}, "no operand at input in an event-serial program"),
    ({"kind": "state", "at": "cell", "op": "add"}, "state cannot be corrupted by add"),
    ({"kind": "alias", "at": "cell", "op": "xor"}, "alias cannot be corrupted by xor"),
    ({"kind": "state", "at": "read", "layer": 1}, "has layer 0 and one execution"),
    ({"kind": "state", "at": "cell", "op": "stuck", "steps": (1, -1)}, "is stuck in all items"),
    ({"kind": "state", "at": "read", "n": (0, 4, 1)}, "n .0, 4, 1. is empty or outside 0..2"),
    ({"kind": "operand", "at": "read", "k": (0, 1, 1), "bits": 4}, "operand at read is for all"),
    ({"kind": "alias", "at": "line", "op": "stuck", "n": (0, 1, 1)}, "an alias is for all neurons"),
    ({"kind": "alias", "at": "cell", "op": "stuck", "bits": 2, "value": 1}, "2 leads to 3"),
    ({"kind": "state", "at": "read", "bits": 16}, "has .17,. bits, came 16 bits"),
    ({"kind": "parameter", "at": "read", "mask": 3}, "mask 0x3 is not of the rest"),
]


@pytest.mark.parametrize(("row", "message"), REFUSED)
def test_effects_that_cannot_be_are_refused_by_name(row, message):
    plain = {"op": "xor", "bits": 17, "mask": 1, "signed": False}
    with pytest.raises(FaultError, match=message):
        check(Effects.of([plain | row], 1), program())


@pytest.mark.parametrize(
    "listed",
    [(Action.scan, 4, 0, True), (Action.sample, 0, 0, False), (Action.immediate, 0, 8, True)],
)
def test_actions_that_cannot_be_are_refused(listed):
    with pytest.raises(DataError, match="stimulus 0: no "):
        run(program(), [], listed)


def test_a_stimulus_has_actions():
    with pytest.raises(DataError, match="expected a table of actions"):
        evaluate_events(program(), [np.zeros(0, ACTION)], Effects.none(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros((4, 2), int)}, r"weights \[axons, 3\] expected"),
        ({"weights": np.full((4, 3), 8)}, "a weight does not fit 4 bits"),
        ({"scan": 4}, "a scan visits 1 to 3 neurons, came 4"),
        ({"weights": np.zeros((2, 3), int), "closed_loop": True}, "cannot be queued on 2 axons"),
    ],
)
def test_programs_that_cannot_be_are_refused(change, message):
    base = vars(program()) | change
    base.pop("digest", None)
    with pytest.raises(DataError, match=message):
        EventProgram(**base)


def test_programs_with_equal_content_have_one_digest():
    assert program().digest == program().digest
    assert program().digest != program(capacity=5).digest
