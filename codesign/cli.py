"""The command line: `codesign COMMAND …`.

Results go to stdout, everything else to stderr. Bad input ends with 2 and a message, Ctrl-C with
130 and the command that goes on; a bug keeps its trace. Only argparse is imported with this
module: each command imports what it needs when it is called, so that `codesign --help` answers at
once.
"""

from __future__ import annotations

import argparse
import errno
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from codesign.errors import CodesignError, nearest
from codesign.terminal import leave_output, plain_output, plain_warnings

if TYPE_CHECKING:
    from codesign import shipped

__all__ = ["COMMANDS", "Command", "main"]


class Command(NamedTuple):
    """One command.

    Attributes:
        name: What is typed.
        summary: One sentence for `--help`.
        arguments: Adds the command's arguments to its parser.
        run: Does it and gives the exit code; what a user can cause it raises as `CodesignError`.
    """

    name: str
    summary: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None, commands: Sequence[Command] | None = None) -> int:
    """Run one command.

    Args:
        argv: What was typed after ``codesign``; None takes it from the process.
        commands: What is offered; None means `COMMANDS`.

    Returns:
        The exit code: 0 done, 1 done and the answer is no, 2 bad input, 130 stopped by Ctrl-C.
    """
    typed = list(sys.argv[1:] if argv is None else argv)
    plain_output()
    try:
        with plain_warnings():
            return _dispatch(typed, COMMANDS if commands is None else commands)
    except CodesignError as error:
        print(f"codesign: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = shlex.join(["codesign", *typed])
        print(f"\ncodesign: stopped; this goes on where it was: {again}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        leave_output()  # its reader left, as `head` does
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"codesign: {where}{error.strerror or error}", file=sys.stderr)
        if error.errno == errno.ENOSPC:
            leave_output()
        return 2


def _dispatch(typed: list[str], commands: Sequence[Command]) -> int:
    if not typed:
        _parser(commands).print_help(sys.stderr)
        return 2
    names = [command.name for command in commands]
    if not typed[0].startswith("-") and typed[0] not in names:
        raise CodesignError(f"no command {typed[0]!r}{nearest(typed[0], names)}")
    arguments, rest = _parser(commands).parse_known_args(typed)
    if hasattr(arguments, "overrides"):  # argparse takes none that stand behind an option
        arguments.overrides += [word for word in rest if "=" in word and word[0] != "-"]
        rest = [word for word in rest if "=" not in word or word[0] == "-"]
    if rest:
        options = re.findall(r"--[a-z][a-z-]*", arguments.parser.format_help())
        raise CodesignError(f"{typed[0]} takes no {rest[0]!r}{nearest(rest[0], options)}")
    code = arguments.run(arguments)
    sys.stdout.flush()
    return int(code)


def _parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codesign",
        description="Co-design of spiking and conventional accelerators.",
        epilog="codesign COMMAND --help says what a command takes.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="say what is installed, and end"
    )
    offered = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in commands:
        own = offered.add_parser(
            command.name, help=command.summary, description=command.summary, allow_abbrev=False
        )
        command.arguments(own)
        own.set_defaults(run=command.run, parser=own)
    return parser


class _Version(argparse.Action):
    """`--version`: read from the installed packages, because importing torch takes a second."""

    def __call__(self, *_: object) -> None:
        from importlib.metadata import version

        from codesign import __version__

        python = ".".join(str(part) for part in sys.version_info[:3])
        print(f"codesign {__version__}, Python {python}, torch {version('torch')}")
        raise SystemExit(0)


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    """For a command that takes none."""


def _list(arguments: argparse.Namespace) -> int:
    from codesign import shipped

    for shelf in shipped.SHELVES:
        _print_entries(shelf, shipped.catalogue(shelf))
    _print_entries("scenarios", shipped.scenarios())
    for kind in shipped.CONFIG_KINDS:
        _print_entries(f"configs/{kind}", shipped.configs(kind))
    _print_entries("engines", shipped.engines())
    kernels = ", ".join(path.name for path in shipped.kernel_files())
    print(f"compiled kernel: {kernels or 'none'}")
    return 0


def _print_entries(title: str, entries: Sequence[shipped.Entry]) -> None:
    print(title)
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        print(f"  {entry.name:<{width}}  {entry.summary}".rstrip())
    if not entries:
        print("  none yet")
    print()


def _study_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", help="path of a study, or the name of a shipped one")
    _study_options(parser)


def _study_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "overrides", nargs="*", metavar="path=value", help="changes, as effort.trials=500"
    )
    parser.add_argument(
        "--allow", action="append", default=[], metavar="PACKAGE", help="let it run this package"
    )


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    _study_arguments(parser)
    parser.add_argument(
        "--build", action="store_true", help="also train, lower and map: capacities and bounds"
    )


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    _study_arguments(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _check(arguments: argparse.Namespace) -> int:
    from codesign.study.checking import describe
    from codesign.study.loading import load_study
    from codesign.study.search_space import is_space

    if is_space(arguments.study):
        from codesign.study.search_check import describe_space, load_space

        space = load_space(arguments.study, arguments.overrides, arguments.allow)
        print(f"{describe_space(space)}\nok")
        return 0
    study = load_study(arguments.study, arguments.overrides, arguments.allow)
    print(describe(study))
    if arguments.build:
        _one_thread()
        from codesign.study.building_check import describe_built

        print(describe_built(study, say=_say))
    print("ok")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from codesign.report import finding_sentence, write_report
    from codesign.study.loading import load_study
    from codesign.study.running import output_folder, run_study

    study = load_study(arguments.study, arguments.overrides, arguments.allow)
    _one_thread()
    command = _typed("run", arguments)
    findings = run_study(study, command, _say, arguments.quiet)
    page = write_report(findings, output_folder(study))
    print(finding_sentence(findings))
    print(page)
    return 0


def _map(arguments: argparse.Namespace) -> int:
    from codesign.report import MappingView, found_losses, write_mapping
    from codesign.study.loading import load_study
    from codesign.study.mapped import mapped_designs
    from codesign.study.running import output_folder

    study = load_study(arguments.study, arguments.overrides, arguments.allow)
    _one_thread()
    folder = Path(arguments.out) if arguments.out else Path("out") / f"{study.name}-map"
    views = [MappingView.of(m.design, m.cost, m.notes) for m in mapped_designs(study, _say)]
    views = found_losses(views, output_folder(study) / "results.json")
    print(write_mapping(views, folder))
    return 0


def _map_arguments(parser: argparse.ArgumentParser) -> None:
    _study_arguments(parser)
    parser.add_argument("--out", metavar="DIR", help="folder; out/<study>-map if left out")


def _report(arguments: argparse.Namespace) -> int:
    from codesign.report import finding_sentence, load_findings, write_report

    folder = Path(arguments.folder)
    findings = load_findings(folder / "results.json")
    print(finding_sentence(findings))
    print(write_report(findings, folder))
    return 0


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="output folder of a run")


def _replay(arguments: argparse.Namespace) -> int:
    from codesign.study.loading import load_study
    from codesign.study.replaying import replay

    study = load_study(arguments.study, arguments.overrides, arguments.allow)
    _one_thread()
    print(replay(study, arguments.task, arguments.trial, _say, arguments.sample))
    return 0


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    _study_arguments(parser)
    parser.add_argument("--task", required=True, help="name or digest of a campaign of the study")
    parser.add_argument("--trial", type=int, required=True, help="number of the trial, from 0")
    parser.add_argument("--sample", type=int, help="which is shown; the worst if left out")


def _explain(arguments: argparse.Namespace) -> int:
    from codesign.study.explaining import explain_fault
    from codesign.study.loading import load_study

    study = load_study(arguments.study, arguments.overrides, arguments.allow)
    _one_thread()
    print(explain_fault(study, arguments.fault, arguments.design, arguments.sample, _say))
    return 0


def _explain_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", help="path of a study, or the name of a shipped one")
    parser.add_argument("fault", help="as 'array[3,5].weight_register:6@cycle=120'")
    _study_options(parser)
    parser.add_argument("--design", help="which; the first that can have the fault if left out")
    parser.add_argument("--sample", type=int, help="which is shown; the worst if left out")


def _search(arguments: argparse.Namespace) -> int:
    from codesign.study.search_check import load_space

    space = load_space(arguments.study, arguments.overrides, arguments.allow)
    _one_thread()
    from codesign.report import write_report
    from codesign.study.search import search_space

    command = _typed("search", arguments)
    searched = search_space(space, command, _say, arguments.quiet)
    page = write_report(searched.findings, space.folder)
    print("\n".join([*searched.lines, searched.verdict, str(page)]))
    return 0


def _advise_arguments(parser: argparse.ArgumentParser) -> None:
    _run_arguments(parser)
    parser.add_argument("--trials", type=int, help="single faults to try the change with")


def _advise(arguments: argparse.Namespace) -> int:
    from codesign.study.loading import load_study

    study = load_study(arguments.study, arguments.overrides, arguments.allow)
    _one_thread()
    from codesign.study.advise import advise

    print(advise(study, _say, arguments.trials, arguments.quiet))
    return 0


def _new(arguments: argparse.Namespace) -> int:
    from codesign.study.starting import write_start

    print(write_start(arguments.kind, arguments.name, arguments.family))
    return 0


def _new_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", help="accelerator or study")
    parser.add_argument("name", help="of the file, without its ending")
    parser.add_argument("--family", help="of an accelerator; Systolic if left out")


def _schema(arguments: argparse.Namespace) -> int:
    import json

    from codesign.schema_docs import json_schema
    from codesign.study.spec import StudySpec

    print(json.dumps(json_schema(StudySpec), indent=2, ensure_ascii=False))
    return 0


def _typed(command: str, arguments: argparse.Namespace) -> str:
    """The command line that gives the same results, for the page."""
    allowed = [word for package in arguments.allow for word in ("--allow", package)]
    return shlex.join(["codesign", command, arguments.study, *arguments.overrides, *allowed])


def _one_thread() -> None:
    """Threads slow small operations down, and what is trained depends on their number."""
    import torch

    torch.set_num_threads(1)


def _say(line: str) -> None:
    """One line a stage, on stderr: results alone go to stdout."""
    print(line, file=sys.stderr, flush=True)


# In the order of a day's work. A command stands here once it works: one line each.
COMMANDS: tuple[Command, ...] = (
    Command(
        "check", "Find every mistake in a study and say what it will do.", _check_arguments, _check
    ),
    Command("run", "Run a study, or go on with it, and write its page.", _run_arguments, _run),
    Command(
        "search",
        "Search a space for better designs, and judge them again.",
        _run_arguments,
        _search,
    ),
    Command(
        "advise", "Say what to change in a run study first, and try it.", _advise_arguments, _advise
    ),
    Command("map", "Write who is where on the chip, when, at what cost.", _map_arguments, _map),
    Command("report", "Write a run's page again from its results.", _report_arguments, _report),
    Command("explain", "Say what one fault does, and what masks it.", _explain_arguments, _explain),
    Command(
        "replay", "Run one trial of a campaign again, and explain it.", _replay_arguments, _replay
    ),
    Command("new", "Write a commented start of a datasheet or a study.", _new_arguments, _new),
    Command("schema", "Print the JSON schema of a study, for editors.", _no_arguments, _schema),
    Command(
        "list", "Print what comes with it: parts, configurations, engines.", _no_arguments, _list
    ),
)
