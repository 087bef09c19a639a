"""Studies that cannot be: every mistake at once, each at its line, without torch."""

import re
import subprocess
import sys

import pytest

from codesign.schema import SchemaErrors
from codesign.study.loading import load_study

GOOD = """\
title: good
data: {use: networks:digits}
networks:
  cnn: {use: networks:SmallCnn, channels: [4, 8]}
accelerators:
  array: {datasheet: generic8_ws}
designs:
  plain: {network: cnn, accelerator: array}
mitigations:
  clamp: {use: mitigation:RangeRestriction, percentile: 99.5, on: [plain]}
faults:
  stuck:
    use: scenarios:RandomFaults
    components: [array.weight_register]
    model: stuck
    rates: [1e-3, 1e-2]
effort: {trials: 5}
"""


def written(tmp_path, text):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    return str(file)


def test_the_good_study_loads_and_knows_its_chips(tmp_path):
    study = load_study(written(tmp_path, GOOD), ["effort.trials=7"])
    assert study.spec.effort.trials == 7
    assert study.families["array"].build().unit("array").shape == (8, 8)


BROKEN = [
    ("networks:digits", "networks:digitz", "2:13", "no 'digitz' in networks; did you mean"),
    ("networks:digits", "os:system", "2:13", "'os' is not a shelf of codesign"),
    ("channels: [4, 8]", "chanels: [4, 8]", "4:", "did you mean 'channels'"),
    ("channels: [4, 8]", "channels: [4, x]", "4:", "expected a whole number"),
    ("datasheet: generic8_ws", "datasheet: generic9_ws", "6:", "generic9_ws"),
    ("generic8_ws}", "generic8_ws, change: {rows: 0}}", "6:", "from 1 to 1024, came 0"),
    ("generic8_ws}", "generic8_ws, change: {rowz: 4}}", "6:", "did you mean 'rows'"),
    ("network: cnn", "network: cn", "8:", "the study has no 'cn'; did you mean 'cnn'"),
    ("accelerator: array", "accelerator: arry", "8:", "the study has no 'arry'"),
    ("accelerator: array}", "accelerator: array, against: plane}", "8:", "no 'plane'"),
    ("mitigation:RangeRestriction", "mitigation:RangeRestrict", "10:", "did you mean"),
    ("percentile: 99.5", "percentil: 99.5", "10:", "did you mean 'percentile'"),
    ("percentile: 99.5", "percentile: high", "10:", "expected a number"),
    ("on: [plain]", "on: [plane]", "10:", "the study has no 'plane'; did you mean 'plain'"),
    ("  clamp:", "  none:", "10:", "'none' is in every study already"),
    ("  clamp:", "  re-execution:", "10:", "is in every study already"),
    ("scenarios:RandomFaults", "scenarios:RandomFault", "13:", "did you mean"),
    ("array.weight_register", "array.wait_register", "14:", "did you mean 'array.weight"),
    ("[array.weight_register]", "[array.weight_register, role:wait]", "14:", "role:wait"),
    ("model: stuck", "model: stuk", "15:", "did you mean 'stuck'"),
    ("model: stuck", "model: skip", "14:", "cannot have 'skip' faults"),
    ("rates: [1e-3, 1e-2]", "rates: [1e-3, 1e-3]", "16:", "a rate is named twice"),
    ("rates: [1e-3, 1e-2]", "rates: [2]", "16:", "from 0 to 1, came 2"),
    ("    model: stuck\n", "", "13:", "missing argument 'model'"),
    ("trials: 5", "trails: 5", "17:", "did you mean 'trials'"),
    ("trials: 5", "trials: 0", "17:", "at least 1"),
    ("title: good\n", "", "1:1", "title"),
    ("faults:\n", "faults:\n  stuck: {}\n", "13:", "duplicate key 'stuck'"),
]


@pytest.mark.parametrize(("good", "bad", "place", "message"), BROKEN)
def test_a_broken_study_is_refused_at_its_line(tmp_path, good, bad, place, message):
    assert GOOD.count(good) >= 1
    file = written(tmp_path, GOOD.replace(good, bad, 1))
    with pytest.raises(SchemaErrors) as caught:
        load_study(file)
    problems = [str(problem) for problem in caught.value.problems]
    here = [text for text in problems if text.startswith(f"{file}:{place}")]
    assert here, problems
    assert any(message in text for text in here), problems


def test_all_mistakes_of_a_study_are_told_at_once(tmp_path):
    text = GOOD.replace("network: cn", "network: x").replace("trials: 5", "trails: 5")
    text = text.replace("percentile", "percentil").replace("on: [plain]", "on: [plane]")
    with pytest.raises(SchemaErrors) as caught:
        load_study(written(tmp_path, text))
    lines = {problem.line for problem in caught.value.problems}
    assert 17 in lines  # what a single field cannot know is judged once every field is right
    fine = text.replace("trails", "trials")
    with pytest.raises(SchemaErrors) as caught:
        load_study(written(tmp_path, fine))
    assert {problem.line for problem in caught.value.problems} >= {8, 10}


def test_a_stranger_s_model_is_not_imported_and_needs_leave(tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')\n")
    file = written(tmp_path, GOOD.replace("networks:SmallCnn, channels: [4, 8]", "evil:Net"))
    with pytest.raises(SchemaErrors, match=re.escape("--allow evil")):
        load_study(file)
    assert load_study(file, allow=("evil",)).spec.networks["cnn"].use == "evil:Net"


def test_check_says_what_will_run_within_a_second_and_without_torch(tmp_path):
    file = written(tmp_path, GOOD)
    code = (
        "import sys; from codesign.cli import main; code = main(['check', sys.argv[1]]); "
        "assert not {'torch', 'snntorch', 'scipy'} & set(sys.modules); sys.exit(code)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, file], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "3 designs, at most 30 trials" in run.stdout
    assert run.stdout.endswith("ok\n")


def test_check_of_a_broken_study_exits_with_2_and_no_trace(tmp_path):
    file = written(tmp_path, GOOD.replace("trials: 5", "trails: 5"))
    run = subprocess.run(
        [sys.executable, "-m", "codesign", "check", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "study.yaml:17:" in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_overrides_may_stand_behind_options(tmp_path):
    file = written(tmp_path, GOOD)
    command = [sys.executable, "-m", "codesign", "check", file, "--allow", "mine"]
    run = subprocess.run([*command, "effort.trials=9"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "at most 54 trials" in run.stdout
