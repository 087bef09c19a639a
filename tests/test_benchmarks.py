"""Benchmarks draw every fault there is and no other, and compare engines with one another.

No test here asserts a speed.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.engines import Dense
from benchmarks.equal import compare
from benchmarks.forward import Forward
from benchmarks.int8 import Int8Sums
from benchmarks.mixes import CNN_MIXES, MULTI_RATES, SNN_MIXES, mix_of
from benchmarks.networks import Absent, Subject, make, plain_program
from benchmarks.results import Results, load, save
from benchmarks.rounding import Rounder
from benchmarks.run import arguments
from benchmarks.session import run
from benchmarks.table import BEGIN, END, markdown, plot, write_page
from codesign.effects import Effects, Kind, Op
from codesign.engine import reference
from codesign.formats import NumberFormat, Requantise, shift_right
from codesign.layers import (
    Add,
    AvgPool2d,
    Conv2d,
    Edge,
    Flatten,
    Input,
    Leak,
    Lif,
    Linear,
    MaxPool2d,
)
from codesign.network import NetworkGraph
from codesign.samples import Samples

INPUTS, STEPS = 3, 6
BITS = {  # by hand, of the two networks below
    "weight": (4 * 2 * 9 + 4 * 4 + 3 * 16) * 8,
    "activation": (2 * 16 + 4 * 16 + 4 * 16 + 4 * 16) * 8,
    "accumulator": (4 * 16 + 4 * 16 + 3) * 24,
    "membrane_flip": (5 + 2) * 20,
    "membrane_stuck": (5 + 2) * 20,
    "threshold": (5 + 2) * 20,
    "dead": 5 + 2,
    "saturated": 5 + 2,
    "input_line": 8,
}


def conventional() -> Subject:
    """Two convolutions, a residual, pooling and logits, random codes."""
    rng = np.random.default_rng(1)

    def draw(*shape):
        return rng.integers(-128, 128, shape)

    layers = (
        Input("x", (), (2, 4, 4), NumberFormat(8)),
        Conv2d(
            "a", (Edge("x"),), draw(4, 2, 3, 3), draw(4), padding=(1, 1, 1, 1),
            requantise=Requantise(np.array([700, 900, 1100, 800]), 18, 0, 255),
        ),
        Conv2d(
            "b", (Edge("a"),), draw(4, 4, 1, 1), draw(4),
            requantise=Requantise(3000, 20, -128, 127),
        ),
        Add("s", (Edge("b"), Edge("a")), (900, 700), Requantise(1, 10, 0, 255)),
        MaxPool2d("p", (Edge("s"),)),
        Flatten("f", (Edge("p"),)),
        Linear("y", (Edge("f"),), draw(3, 16), draw(3)),
    )  # fmt: skip
    network = NetworkGraph("small", layers)
    codes = rng.integers(-128, 128, (INPUTS, 2, 4, 4))
    samples = Samples("random", "test", codes, np.zeros(INPUTS, dtype=np.int64))
    return Subject("small", plain_program(network), samples, "random", 0.0)


def spiking() -> Subject:
    """Two layers of neurons, which reset one step late, random spikes."""
    rng = np.random.default_rng(2)
    form, order = NumberFormat(20), ("leak", "integrate", "reset", "fire")
    leak = Leak("multiply", 8, 230)
    layers = (
        Input("x", (), (8,), NumberFormat(1, signed=False)),
        Linear("a", (Edge("x"),), rng.integers(-90, 128, (5, 8)), rng.integers(-9, 9, 5)),
        Lif("u", (Edge("a"),), np.array(260), leak, order=order, format=form),
        Linear("b", (Edge("u"),), rng.integers(-90, 128, (2, 5)), rng.integers(-9, 9, 2)),
        Lif("v", (Edge("b"),), np.array(150), leak, order=order, format=form),
    )
    network = NetworkGraph("spikes", layers, STEPS)
    codes = rng.integers(0, 2, (INPUTS, STEPS, 8))
    samples = Samples("random", "test", codes, np.zeros(INPUTS, dtype=np.int64), timed=True)
    return Subject("spikes", plain_program(network), samples, "random", 0.0)


def subject_of(mix: str) -> Subject:
    return conventional() if mix in CNN_MIXES else spiking()


MIXES = sorted({*CNN_MIXES, *SNN_MIXES})
assert MIXES


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", [m for m in MIXES if m != "transient"])
def test_a_mix_has_as_many_bits_as_counted_by_hand(name):
    subject = subject_of(name)
    mix = mix_of(name, subject.program, INPUTS)
    assert [places.total for places in mix.places] == [BITS[name]]
    if name == "weight":  # the spiking network has weights too
        others = mix_of(name, spiking().program, INPUTS).places[0].total
        assert others == (5 * 8 + 2 * 5) * 8


@pytest.mark.parametrize("name", MIXES)
def test_every_fault_drawn_exists_and_none_is_left_out(name):
    subject = subject_of(name)
    mix = mix_of(name, subject.program, INPUTS)
    count = 20 * mix.places[0].total
    drawn = mix.draw(0, count, 5)
    drawn.check(subject.program)
    table = drawn.table
    assert drawn.trials == count == len(table)
    where = np.stack([table["layer"], *(table[a][:, 0] for a in "mkn"), table["mask"]], axis=1)
    _, times = np.unique(where, axis=0, return_counts=True)
    assert len(times) == mix.places[0].total
    # Each of n equal chances, 20 times as often drawn: chi-square within 5 sigma of n - 1.
    spread = ((times - 20) ** 2 / 20).sum()
    freedom = len(times) - 1
    assert abs(spread - freedom) < 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("name", MIXES)
def test_the_first_faults_are_the_same_however_many_are_drawn(name):
    mix = mix_of(name, subject_of(name).program, INPUTS)
    many, some = mix.draw(0, 60, 7).table, mix.draw(20, 30, 7).table
    assert (many["trial"][20:30] - 20 == some["trial"]).all()
    for column in ("layer", "mask", "value", "m", "k", "n", "steps", "samples"):
        assert np.array_equal(many[column][20:30], some[column])


def test_flips_and_stuck_bits_come_at_every_step_and_level():
    program = spiking().program
    flips = mix_of("membrane_flip", program, INPUTS).draw(0, 200, 1).table
    assert set(flips["steps"][:, 0].tolist()) == set(range(STEPS))
    assert (flips["steps"][:, 1] == flips["steps"][:, 0] + 1).all()
    stuck = mix_of("membrane_stuck", program, INPUTS).draw(0, 200, 1).table
    assert set((stuck["value"] == stuck["mask"]).tolist()) == {True, False}
    assert (stuck["op"] == Op.stuck).all()


def test_packed_transients_strike_each_sample_once():
    mix = mix_of("transient", conventional().program, INPUTS)
    packed, apart = mix.draw(0, 7, 3, packed=True), mix.draw(0, 7, 3)
    assert (packed.trials, apart.trials) == (3, 7)
    assert packed.table["trial"].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert packed.table["samples"][:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    for column in ("layer", "mask", "m", "n", "samples"):
        assert np.array_equal(packed.table[column], apart.table[column])


@pytest.mark.parametrize("name", sorted(MULTI_RATES))
def test_a_multiple_fault_flips_its_share_of_all_bits_each_once(name):
    program, rate = conventional().program, MULTI_RATES[name]
    mix = mix_of(name, program, INPUTS)
    trials = 60
    drawn = mix.draw(0, trials, 4)
    drawn.check(program)
    table = drawn.table
    assert set(table["kind"].tolist()) <= {Kind.operand, Kind.activation}
    words = np.stack(
        [table["trial"], table["kind"], table["layer"], *(table[a][:, 0] for a in "mkn")], axis=1
    )
    assert len(np.unique(words, axis=0)) == len(words)
    flips = sum(int(mask).bit_count() for mask in table["mask"])
    expected = trials * rate * (BITS["weight"] + BITS["activation"])
    assert abs(flips - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        *((conventional, name) for name in (*CNN_MIXES, "multi_1e-3", "multi_1e-1")),
        *((spiking, name) for name in (*SNN_MIXES, "multi_1e-2")),
    ],
)
def test_a_whole_forward_pass_gives_what_the_reference_engine_gives(subject, name):
    subject = subject()
    mix = mix_of(name, subject.program, INPUTS)
    faults = mix.draw(0, 2 if mix.rate else 16 if mix.steps > 1 else 5, 11, packed=mix.transient)
    wanted = reference.evaluate(subject.program, subject.samples, faults).outputs
    found = Dense(subject, 2).run(faults).outputs
    assert compare(found, wanted).equal == faults.trials
    golden = reference.evaluate(subject.program, subject.samples, Effects.none(1)).outputs
    assert (wanted != golden).any()  # something was struck


def test_a_wrong_output_is_told_apart():
    right = np.arange(12).reshape(3, 2, 2)
    wrong = right.copy()
    wrong[1, 0, 1] += 1
    found = compare(wrong, right)
    assert (found.checked, found.equal) == (3, 2)


@pytest.mark.parametrize("low", [0, -128])
def test_requantisation_in_floats_equals_the_rule_in_integers(low):
    rng = np.random.default_rng(low + 200)
    multipliers = rng.integers(1, 1 << 15, 12)
    rule = Requantise(multipliers, 22, low, low + 255)
    # Around each code's smallest sum, where rounding decides.
    codes = np.arange(low, low + 257)
    near = ((codes << 22) - (1 << 21))[None] // multipliers[:, None]
    sums = np.clip((near[..., None] + np.arange(-3, 4)).reshape(12, -1), 1 - (1 << 24), 1 << 24)
    wanted = np.clip(shift_right(sums * multipliers[:, None], 22, "half_up"), low, low + 255)
    given = torch.from_numpy(sums.astype(np.float32))[None]
    assert np.array_equal(Rounder(rule, 12, 3)(given)[0].numpy(), wanted)


def test_int8_operators_are_used_only_where_their_sums_are_right():
    subject = conventional()
    sums = Int8Sums(subject.program)
    assert set(sums.exact).isdisjoint(sums.wrong)
    assert set(sums.exact) == set(sums.operators)
    exact = Forward(subject.program)
    by_int8 = Forward(subject.program, sums=sums)
    codes = exact.ready(subject.samples.inputs)
    assert torch.equal(exact.run(codes, 2), by_int8.run(codes, 2))


def test_sums_that_leave_the_accumulator_are_refused():
    layers = (
        Input("x", (), (700,), NumberFormat(8, signed=False)),
        Linear("y", (Edge("x"),), np.full((1, 700), 127), np.zeros(1, dtype=np.int64)),
    )
    with pytest.raises(Absent, match="sums of y can leave 24 bits"):
        plain_program(NetworkGraph("wide", layers))


def test_a_rounding_that_floats_do_not_have_is_refused():
    with pytest.raises(NotImplementedError, match="half_even"):
        Rounder(Requantise(3, 4, 0, 127, "half_even"), 2, 2)
    pooled = (
        Input("x", (), (1, 2, 2), NumberFormat(8)),
        AvgPool2d("p", (Edge("x"),), padding=(1, 1, 1, 1)),
    )
    codes = np.zeros((1, 1, 2, 2), dtype=np.int64)
    forward = Forward(plain_program(NetworkGraph("padded", pooled)))
    with pytest.raises(NotImplementedError, match="pooling with padding"):
        forward.run(forward.ready(codes), 1)


def test_a_network_without_its_files_is_left_out_by_name(tmp_path):
    with pytest.raises(Absent, match=r"akamaster_resnet20.* --data"):
        make("resnet20", None, tmp_path)


# ------------------------------------------------------------------------------------- the whole


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> tuple[Results, Path]:
    folder = tmp_path_factory.mktemp("bench")
    page, out = folder / "page.md", folder / "results.json"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    words = ["--quick", "--only", "tiny_snn", "--faults", "4", "--out", str(out)]
    words += ["--page", str(page), "--cache", str(folder / "cache"), "--data", str(folder / "no")]
    assert run(arguments(words)) == 0
    return load(out), folder


def test_a_quick_run_says_everything_that_was_promised(quick):
    results, folder = quick
    raw = json.loads((folder / "results.json").read_text())
    promised = {
        *("table", "network", "fault_mix", "engine", "isa", "faults", "inputs"),
        *("ratio_to_forward", "ratio_to_best", "setup_forwards", "equal_checked", "equal"),
    }
    assert raw["rows"]
    assert all(promised <= set(row) for row in raw["rows"])
    assert {row.fault_mix for row in results.rows} >= set(SNN_MIXES)
    engines = {"ours-cpu", "ours-torch", "ours-dense", "PyTorchFI", "MRFI"}
    assert {row.engine for row in results.rows} == engines
    for row in results.rows:
        assert row.table in ("main", "scaling")
        assert row.isa == torch.backends.cpu.get_cpu_capability()
        assert row.equal == row.equal_checked
        if row.faults:
            assert row.equal_checked > 0
            assert row.ratio_to_forward is not None
            assert row.ratio_to_forward > 0
        else:
            assert row.note  # why nothing ran
    (denominator,) = results.denominators
    assert denominator.a_ms > 0
    assert denominator.b_ms > 0


def test_the_page_is_made_from_the_results_alone(quick, tmp_path):
    results, folder = quick
    page = (folder / "page.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "\nold\n" not in page
    assert markdown(results) in page
    assert (folder / "page.svg").read_text() == plot(results)
    row = replace(results.rows[0], ratio_to_forward=0.123456, note="a note of its own")
    other = replace(results, rows=[row])
    assert f"| {row.fault_mix} | {row.engine} | 0.123 |" in markdown(other)
    assert "a note of its own" in markdown(other)
    unmarked = tmp_path / "page.md"
    unmarked.write_text("no markers")
    with pytest.raises(ValueError, match="expected the lines"):
        write_page(results, unmarked)


def test_running_again_goes_on_and_measures_nothing_twice(quick, capsys):
    results, folder = quick
    out = folder / "again.json"
    half = replace(results, done=results.done[:-2], rows=results.rows[:-10])
    save(half, out)
    words = ["--quick", "--only", "tiny_snn", "--faults", "4", "--out", str(out)]
    words += ["--page", str(folder / "page.md"), "--cache", str(folder / "cache")]
    assert run(arguments([*words, "--data", str(folder / "no")])) == 0
    assert f"{len(half.done)} parts are done" in capsys.readouterr().err
    found = load(out)
    assert found.rows[: len(half.rows)] == half.rows
    assert found.done == results.done


def test_a_file_that_holds_no_results_is_told(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="no results file"):
        load(path)


def test_a_network_that_does_not_exist_is_told(tmp_path, capsys):
    assert run(arguments(["--only", "alexnet", "--out", str(tmp_path / "x.json")])) == 2
    assert "no network 'alexnet'" in capsys.readouterr().err
