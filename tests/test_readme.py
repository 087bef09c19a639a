"""What the README shows is run."""

import doctest
import re
from pathlib import Path

from codesign.cli import COMMANDS
from codesign.study.loading import load_study
from codesign.study.plan import plan

README = Path(__file__).parent.parent / "README.md"


def test_the_python_of_the_readme_gives_what_it_says():
    failed, tried = doctest.testfile(str(README), module_relative=False)
    assert tried > 10
    assert failed == 0


def test_the_study_of_the_readme_is_right(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "study.yaml").write_text(text)
    study = load_study(str(tmp_path / "study.yaml"))
    names = [planned.name for planned in plan(study.spec)]
    assert "plain, flipped weights at 0.01" in names
    assert len(names) == 6


def test_every_command_of_the_readme_exists():
    told = set(re.findall(r"^codesign (\w+)", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert len(told) >= 8
    assert told <= {command.name for command in COMMANDS}
