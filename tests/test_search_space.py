"""Search spaces: what a point of one means, and what is wrong with one, all without torch."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent
from typing import Any

import pytest

from codesign.errors import CodesignError
from codesign.schema import SchemaErrors
from codesign.shipped import configs
from codesign.study.search_check import describe_space, load_space
from codesign.study.search_space import design_text, is_space, read_space
from codesign.yaml_writer import dump

STUDY = """
title: base
data: {use: networks:digits}
networks:
  cnn: {use: networks:SmallCnn, channels: [8, 16], quantisation: {activation_bits: 7}}
  snn: {use: networks:FcLif, hidden: [64], steps: 10}
accelerators:
  array: {datasheet: generic8_ws}
  cores: {datasheet: cores4_mesh}
designs:
  cnn: {network: cnn, accelerator: array}
  snn: {network: snn, accelerator: cores}
mitigations:
  range: {use: mitigation:RangeRestriction, percentile: 99, on: [cnn]}
  BnP: {use: mitigation:BoundAndProtect, on: [snn]}
faults:
  stuck:
    use: scenarios:RandomFaults
    components: [array.weight_register, crossbar.weight_register]
    model: stuck
    rates: [1e-3, 1e-2]
  single: {use: scenarios:SingleFaults, components: [array.psum_register], model: stuck, on: [cnn]}
effort: {trials: 3, samples: 10}
"""
SPACE = """
title: a space
study: base.yaml
parameters:
  design: {choices: [cnn, snn]}
  channels: {path: networks.cnn.channels, choices: [[4, 8], [8, 16]], when: {design: [cnn]}}
  networks.cnn.quantisation.weight_bits: {low: 4, high: 8, step: 2, when: {design: [cnn]}}
  guard: {path: mitigation, choices: [none, range, re-execution], when: {design: [cnn]}}
  percentile: {path: mitigations.range.percentile, low: 95, high: 99.9, when: {guard: [range]}}
objectives: {accuracy: {scenario: stuck, rate: 1e-2}}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "base.yaml").write_text(STUDY, encoding="utf-8")
    return tmp_path


def space_in(folder, text=SPACE, overrides=()):
    file = folder / "space.yaml"
    file.write_text(dedent(text), encoding="utf-8")
    return load_space(str(file), overrides)


def read_in(folder, overrides=()):
    """The space, read and not judged: enough where nothing is wrong."""
    file = folder / "space.yaml"
    file.write_text(SPACE, encoding="utf-8")
    return read_space(str(file), overrides)


def problems_of(folder, *changes):
    """Messages about the space with parts of its text replaced."""
    text = SPACE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(CodesignError) as caught:
        space_in(folder, text)
    return str(caught.value)


# What a point means


def test_a_point_changes_the_study_and_leaves_one_design(folder):
    space = read_in(folder)
    point = {
        "design": "cnn",
        "channels": [4, 8],
        "networks.cnn.quantisation.weight_bits": 6,
        "guard": "range",
        "percentile": 97.5,
    }
    text = design_text(space, point)
    study = text.study.spec
    assert (list(study.designs), list(study.networks)) == (["cnn"], ["cnn"])
    assert list(study.accelerators) == list(text.study.families) == ["array"]
    assert study.faults == {}
    written = dump(study)
    assert "channels: [4, 8]" in written
    assert "percentile: 97.5" in written
    quantisation = study.networks["cnn"].quantisation
    assert quantisation is not None
    assert (quantisation.weight_bits, quantisation.activation_bits) == (6, 7)
    assert text.variant == "cnn + range"


def test_a_number_deep_in_a_datasheet_can_be_changed(folder):
    text = SPACE.replace(
        "path: networks.cnn.channels, choices: [[4, 8], [8, 16]]",
        "path: accelerators.array.change.psum_sram.bytes, choices: [1024, 32768]",
    )
    space = space_in(folder, text)
    point = {"design": "cnn", "channels": 1024}
    family: Any = design_text(space, point).study.families["array"]
    base: Any = space.base.families["array"]
    assert (family.psum_sram.bytes, base.psum_sram.bytes) == (1024, 32768)
    assert family.psum_sram.word_bits == base.psum_sram.word_bits


def test_the_base_study_is_read_beside_the_space_and_not_changed_by_points(folder):
    space = read_in(folder)
    before = space.base.spec
    design_text(space, {"design": "cnn", "channels": [4, 8]})
    assert space.base.spec == before
    assert space.base.file == folder / "base.yaml"


@pytest.mark.parametrize(
    ("one", "other", "same_design", "same_training"),
    [
        ({"design": "cnn"}, {"design": "cnn", "channels": [8, 16]}, True, True),
        ({"design": "cnn"}, {"design": "cnn", "channels": [4, 8]}, False, False),
        ({"design": "cnn"}, {"design": "cnn", "guard": "none"}, True, True),
        ({"design": "cnn"}, {"design": "cnn", "guard": "range"}, False, True),
        ({"design": "cnn"}, {"design": "cnn", "guard": "re-execution"}, False, True),
        ({"design": "cnn"}, {"design": "snn"}, False, False),
        (
            {"design": "cnn", "guard": "range"},
            {"design": "cnn", "guard": "range", "percentile": 96.0},
            False,
            True,
        ),
        (
            {"design": "cnn", "networks.cnn.quantisation.weight_bits": 6},
            {"design": "cnn"},
            False,
            False,
        ),
    ],
)
def test_designs_and_trainings_are_told_apart_by_what_they_depend_on(
    folder, one, other, same_design, same_training
):
    space = read_in(folder)
    a, b = design_text(space, one), design_text(space, other)
    assert (a.identity == b.identity) is same_design
    assert (a.training == b.training) is same_training


def test_how_long_is_searched_is_no_part_of_a_search_and_what_is_wanted_is(folder):
    first = read_in(folder).digest
    assert read_in(folder, overrides=["effort.candidates=7", "verify.trials=9"]).digest == first
    for change in ("effort.trials=9", "seed=2", "strategy=random", "objectives.accuracy.rate=1e-3"):
        assert read_in(folder, overrides=[change]).digest != first
    (folder / "base.yaml").write_text(STUDY.replace("hidden: [64]", "hidden: [32]"))
    assert read_in(folder).digest != first


def test_the_number_of_points_is_counted_branch_by_branch(folder):
    finite = SPACE.replace("low: 95, high: 99.9,", "choices: [95, 99],")
    # cnn: 2 widths · 3 bits · (none + re-execution + 2 percentiles); snn: 1.
    assert "points       25\n" in describe_space(space_in(folder, finite))
    assert "without number" in describe_space(space_in(folder))


def test_what_a_search_will_do_is_told_from_its_text(folder):
    told = describe_space(space_in(folder))
    assert "channels: [4, 8], [8, 16], when design is cnn" in told
    assert "percentile: 95 to 99.9, when guard is range" in told
    assert "hand-made    cnn, cnn + re-execution, cnn + range, snn, snn + re-execution" in told
    assert "40 candidates, at most 6 trainings; 20 trials of 200 validation samples" in told


def test_a_space_is_told_from_a_study(folder):
    space_in(folder)
    assert is_space(str(folder / "space.yaml"))
    assert not is_space(str(folder / "base.yaml"))
    (folder / "latin.yaml").write_bytes(b"title: caf\xe9\n")
    assert not is_space(str(folder / "latin.yaml"))  # what is wrong is told where it is read


# What is wrong


WRONG = [
    ([("choices: [[4, 8], [8, 16]]", "low: 1")], "channels: expected choices, or low and high; so"),
    ([("choices: [cnn, snn]", "choices: [cnn], low: 1")], "or low and high; came both"),
    ([("[cnn, snn]", "[cnn, cnn]")], "parameters.design.choices: a choice is named twice"),
    ([("high: 8, step: 2", "high: 4, step: 2")], "high: expected more than low, 4; came 4"),
    ([("low: 95, high: 99.9", "low: 0, high: 99, log: true")], "logarithmic range begins above 0"),
    ([("when: {guard:", "when: {gard:")], "no parameter 'gard' with choices stands above; did you"),
    ([("{guard: [range]}", "{guard: [rang]}")], "guard has no choice 'rang'; did you mean 'range'"),
    ([("[cnn, snn]}\n", "[cnn, sn]}\n")], "design.choices.1: base.yaml has no design 'sn'; did"),
    ([("[none, range, re-", "[none, rnge, range, re-")], "has no mitigation 'rnge'; did you mean"),
    ([("  design: {choices: [cnn, snn]}\n", ""), ("when: {design: [cnn]}", "when: {}")], "several"),
    ([("scenario: stuck", "scenario: stack")], "base.yaml has no faults 'stack'; did you mean"),
    ([(", rate: 1e-2", "")], "stuck has rates: say which"),
    ([("stuck, rate: 1e-2", "single")], "design.choices.1: single does not strike snn"),
    ([("stuck, rate: 1e-2", "single, rate: 1e-2")], "single has no rate; leave it out"),
    ([("objectives:", "verify: {seed: 1}\nobjectives:")], "draws its faults from seed 1; verify"),
    ([("rate: 1e-2}", "rate: 1e-2}, costs: [energy_pj, energy_pj]")], "a cost is named twice"),
    ([("path: networks.cnn.channels", "path: networks.cnn.chanels")], "did you mean 'channels'"),
    ([("networks.cnn.channels", "accelerators.array.change.rows"), ("[4, 8], [8, 16]", "8, 0")],
     "channels.choices.1: the study cannot take 0: "),
    ([("[8, 16]]", "[8, x]]")], "channels.choices.1: the study cannot take [8, 'x']"),
    ([("networks.cnn.channels", "effort.trials"), ("[[4, 8], [8, 16]]", "[4, 5]")], "changes noth"),
    ([("networks.cnn.channels", "networks.snn.hidden"), ("[4, 8], [8, 16]", "[4], [8]")], "noth"),
    ([("path: mitigation, choices: [none, range, re-execution]", "path: design, choices: [cnn]"),
      ("{guard: [range]}", "{guard: [cnn]}")],
     "guard: changes design as 'design' does; let when keep them apart"),
    ([("choices: [[4, 8], [8, 16]]", "choices: [{a: 1}]")], "one value or a list, came a mapping"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_is_wrong_is_told_with_its_place(folder, changes, message):
    assert message in problems_of(folder, *changes)


def test_a_problem_stands_at_its_line_and_column(folder):
    with pytest.raises(SchemaErrors) as caught:
        space_in(folder, SPACE.replace("[cnn, snn]}\n", "[cnn, sn]}\n"))
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (5, 27)
    assert problem.path == "parameters.design.choices.1"


def test_every_mistake_of_a_kind_is_told_at_once(folder):
    text = problems_of(
        folder, ("[cnn, snn]}\n", "[cnn, sn]}\n"), ("scenario: stuck", "scenario: x")
    )
    assert "'sn'" in text
    assert "'x'" in text


# What is shipped


def test_every_shipped_space_makes_sense():
    names = [entry.name for entry in configs("spaces")]
    assert names
    for name in names:
        space = load_space(f"spaces/{name}")
        assert space.spec.effort.candidates <= 40
        assert space.spec.effort.trainings <= 6


def test_checking_a_space_imports_no_torch(folder):
    space_in(folder)
    code = (
        "import sys; from codesign.cli import main; "
        f"code = main(['check', {str(folder / 'space.yaml')!r}]); "
        "print(code, sorted({'torch', 'snntorch', 'optuna'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["ok", "0 []"]
