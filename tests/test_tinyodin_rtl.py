"""tinyODIN against the recorded faults of its RTL, where the recordings are beside the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rtl.tinyodin import CONTROLS, PLACE_OF_SITE, judge
from tinyodin_cases import clocked, random_fault, random_workload

from accelerators.tinyodin.cycle import CycleModel
from accelerators.tinyodin.words import PLACES, BitFault, Workload

VECTORS = Path(__file__).resolve().parents[2] / "shared" / "oracles" / "rtl"
FILES = [
    "tinyodin_w1_fc_open.npz",
    "tinyodin_w1_fc_open_net_stuckat.npz",
    "tinyodin_w2_digits_img0.npz",
]

beside = pytest.mark.skipif(
    not VECTORS.is_dir(), reason=f"no recorded RTL faults: {VECTORS} is not there"
)
SITE_OF_PLACE = {place: site for site, place in PLACE_OF_SITE.items()}


def record(path: Path, case: Workload, faults: list[BitFault]) -> None:
    """Write what the clocked machine does in the form of the recorded RTL faults."""
    golden, runs = clocked(case, []), [clocked(case, [fault]) for fault in faults]
    lengths = [len(run.events) for run in runs]
    np.savez(
        path,
        neur_init=case.neurons.astype(np.uint32),
        syn=case.synapses.astype(np.uint32),
        max_neur=case.max_neuron,
        open_loop=int(case.open_loop),
        op_type=["S" if o.address < 0 else "E" for o in case.operations],
        op_addr=[max(o.address, 0) for o in case.operations],
        op_wait_idle=[int(o.wait_idle) for o in case.operations],
        g_events=golden.events,
        g_snaps=golden.samples,
        g_neur_final=golden.neurons,
        f_site=[*(SITE_OF_PLACE[f.place] for f in faults), "spi.SPI_MAX_NEUR"],
        f_index=[*(f.word for f in faults), 0],
        f_bit=[*(f.bit for f in faults), 0],
        f_kind=[*(f.kind for f in faults), "flip"],
        f_cycle=[*(f.cycle for f in faults), 1],
        f_hang=[*(run.hangs for run in runs), 0],
        f_events=np.concatenate([run.events for run in runs]),
        f_events_off=np.cumsum([0, *lengths, 0]),
        f_snaps=[*(run.samples for run in runs), golden.samples],
        f_neur_final=[*(run.neurons for run in runs), golden.neurons],
    )


@pytest.mark.parametrize("neurons", [9, 30])
def test_faults_recorded_of_a_clocked_machine_are_judged_equal_and_seen_when_ignored(
    tmp_path, neurons
):
    rng = np.random.default_rng(neurons)
    case = random_workload(rng, open_loop=True, neurons=neurons, operations=40)
    end = CycleModel(case).golden.cycles
    faults = [random_fault(rng, case, end, place) for place in PLACES for _ in range(6)]
    file = tmp_path / "tinyodin_fuzz.npz"
    record(file, case, faults)
    rows = list(judge(file))
    assert len(rows) == 2 * (len(PLACES) + 1)
    outside = [row for row in rows if row.site_class == "spi.SPI_MAX_NEUR"]
    assert [(r.equal, r.different, r.not_modelled) for r in outside] == [(0, 0, 1)] * 2
    for level in ("cycle", "effects"):
        mine = [row for row in rows if row.level == level]
        assert sum(row.equal for row in mine) == len(faults)
        assert sum(row.different for row in mine) == 0
        unmasked = sum(row.unmasked for row in mine)
        assert 0 < unmasked == sum(row.unmasked_equal for row in mine)
        ignored = [row for row in judge(file, "ignored") if row.level == level]
        assert sum(row.different for row in ignored) == unmasked


@beside
@pytest.mark.parametrize("name", FILES)
def test_a_fifth_of_the_claimed_faults_does_what_it_does_in_the_rtl(name):
    rows = list(judge(VECTORS / name, every=5))
    assert {row.level for row in rows} >= {"cycle"}
    for level in ("cycle", "effects"):
        mine = [row for row in rows if row.level == level]
        assert sum(row.different for row in mine) == 0
        assert sum(row.unmasked_equal for row in mine) == sum(row.unmasked for row in mine)


# The other three act on two or three faults of a thousand; `make rtl CONTROL=wrap` shows them.
COMMON = ("late", "early", "ignored", "no_parameter_writeback", "disable_blocks_reset")


@beside
@pytest.mark.parametrize("control", COMMON)
def test_a_wrong_rule_or_a_moved_fault_makes_equality_fall(control):
    # Of a third of the faults, 384, stay equal: late 348, early 349, ignored 106, no parameters
    # 374, no erasure 382, weights read once 382, wrap 381, disabled not reset 362; these are also
    # the figures recorded with the vectors.
    assert control in CONTROLS
    rows = judge(VECTORS / FILES[0], control=control, every=18)
    assert sum(row.different for row in rows if row.level == "cycle") > 0
