"""The command line: what it offers, how it ends, and that it answers at once."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import codesign
from codesign import shipped
from codesign.cli import COMMANDS, Command, main
from codesign.errors import StudyError

SLOW_TO_IMPORT = {"torch", "snntorch", "scipy", "numpy", "yaml", "networkx"}


def command_line(*words: str, python: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """`python -m codesign` in a process of its own, with some options of python."""
    typed = [sys.executable, *python, "-m", "codesign", *words]
    return subprocess.run(typed, capture_output=True, text=True, check=False)


def command(result: int | BaseException) -> Command:
    """A command `try` that ends so."""

    def run(arguments: argparse.Namespace) -> int:
        if isinstance(result, BaseException):
            raise result
        return result

    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("study")
        parser.add_argument("--trials", type=int, default=1)

    return Command("try", "Try.", arguments, run)


# What it offers


def test_help_names_every_command_with_its_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert COMMANDS
    for offered in COMMANDS:
        assert f"{offered.name} {offered.summary}" in told


@pytest.mark.parametrize("name", [offered.name for offered in COMMANDS])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: codesign {name}" in capsys.readouterr().out


def test_command_names_are_unique_and_summaries_are_sentences() -> None:
    names = [offered.name for offered in COMMANDS]
    assert len(set(names)) == len(names)
    for offered in COMMANDS:
        assert re.fullmatch(r"[A-Z].*\.", offered.summary)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list"]])
def test_it_answers_without_importing_what_is_slow_to_import(words: list[str]) -> None:
    done = command_line(*words, python=["-X", "importtime"])
    assert done.returncode == 0
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "codesign.cli" in imported
    assert {name for name in imported if name.split(".")[0] in SLOW_TO_IMPORT} == set()


def test_version_names_the_python_and_the_torch_that_run() -> None:
    from importlib.metadata import version

    told = command_line("--version").stdout
    assert codesign.__version__ in told
    assert f"torch {version('torch')}" in told
    assert f"Python {sys.version_info[0]}.{sys.version_info[1]}." in told


# How it ends


def test_a_finished_command_ends_with_its_own_code() -> None:
    assert main(["try", "a.yaml"], [command(0)]) == 0
    assert main(["try", "a.yaml"], [command(1)]) == 1


def test_what_a_user_can_mend_is_told_in_one_message_without_a_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["try", "a.yaml"], [command(StudyError("a.yaml:3:7: no chip 'x'"))]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "codesign: a.yaml:3:7: no chip 'x'\n")


def test_a_bug_keeps_its_trace() -> None:
    with pytest.raises(ZeroDivisionError):
        main(["try", "a.yaml"], [command(ZeroDivisionError())])


def test_ctrl_c_ends_with_130_and_says_the_command_that_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed = ["try", "my study.yaml", "--trials", "7"]
    assert main(typed, [command(KeyboardInterrupt())]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "codesign try 'my study.yaml' --trials 7\n" in err


def test_an_unknown_command_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["tyr"], [command(0)]) == 2
    assert capsys.readouterr().err == "codesign: no command 'tyr'; did you mean 'try'?\n"


def test_an_unknown_option_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try", "a.yaml", "--trails", "7"], [command(0)]) == 2
    told = capsys.readouterr().err
    assert told == "codesign: try takes no '--trails'; did you mean '--trials'?\n"


def test_an_option_is_not_guessed_from_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try", "a.yaml", "--tri", "7"], [command(0)]) == 2
    assert "--tri" in capsys.readouterr().err


def test_a_missing_argument_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["try"], [command(0)])
    assert ended.value.code == 2
    assert "study" in capsys.readouterr().err


def test_nothing_typed_ends_with_2_and_the_help_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "list" in err


def test_the_process_ends_with_the_code_of_the_command() -> None:
    done = command_line("lst")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "codesign: no command 'lst'; did you mean 'list'?\n"


def test_output_of_another_encoding_loses_no_sign_of_a_number() -> None:
    code = (
        "from codesign.cli import Command, main\n"
        "main(['x'], [Command('x', 'X.', lambda p: None,"
        " lambda a: print('\\u221284.2 \\u00b1 0.4 \\u00d7 \\u2603') or 0)])"
    )
    for encoding, told in (
        ("ascii", "-84.2 +- 0.4 x \\u2603"),
        ("latin-1", "-84.2 ± 0.4 × \\u2603"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
        assert (done.stdout.decode(encoding).strip(), done.stderr) == (told, b"")


def test_a_reader_that_leaves_early_causes_no_trace() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "codesign", "list"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == ""


# list


def test_list_prints_every_shelf_kind_of_configuration_and_engine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    titles = [*shipped.SHELVES, *(f"configs/{kind}" for kind in shipped.CONFIG_KINDS), "engines"]
    for title in titles:
        assert f"\n{title}\n" in f"\n{told}"
    assert re.search(
        r"^scenarios\n  FaultList +Faults that .*\n  RandomFaults +Every site", told, re.M
    )
    assert "  Scenario " not in told  # a protocol, nothing to use
    listed = [*map(shipped.catalogue, shipped.SHELVES), *map(shipped.configs, shipped.CONFIG_KINDS)]
    for entry in [entry for entries in listed for entry in entries]:
        assert re.search(rf"^  {re.escape(entry.name)} .*{re.escape(entry.summary)}$", told, re.M)


def test_list_says_which_kernel_was_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("compiled kernel")]
    found = [path.name for path in Path(codesign.__path__[0]).glob("engine/_kernels*.so")]
    assert line == f"compiled kernel: {', '.join(sorted(found)) or 'none'}"
