"""The wheel: built, installed away from the checkout, and used there from another folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from codesign.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("codesign", "accelerators", "networks", "mitigation")
BUILT_FROM = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
# Read by the build or by nobody, not by the installed package.
NOT_INSTALLED = {".cpp", ".h", ".pyc", ".so"}

pytestmark = pytest.mark.packaging


def run(*command: str | Path, cwd: Path) -> str:
    """The stdout of a command; all it printed when it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources: a build leaves files behind, and would find old ones."""
    source = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, source)
    for folder in (*PACKAGES, "configs"):
        leave_out = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / folder, source / folder, ignore=leave_out)
    return source


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from that copy."""
    built = tmp_path_factory.mktemp("built")
    # Without isolation nothing is downloaded: the environment of the tests has setuptools.
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", built)
    run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=built)
    (found,) = built.glob("codesign-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a new environment with the wheel in it, which borrows our dependencies."""
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)
    # A folder named in a .pth is searched last; its own .pth files (the checkout) are not read.
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home)
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(own.strip(), "borrowed.pth").write_text("\n".join(sorted(borrowed)), encoding="utf-8")
    return home / "bin"


def names_in(wheel: Path) -> set[str]:
    """The files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_carries_every_file_of_the_packages(source: Path, wheel: Path) -> None:
    files = {
        str(path.relative_to(source))
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.is_file() and path.suffix not in NOT_INSTALLED
    }
    assert "codesign/cli.py" in files
    assert files - names_in(wheel) == set()


def test_the_wheel_carries_the_configurations_inside_the_package(source: Path, wheel: Path) -> None:
    paths = [path for path in (source / "configs").rglob("*") if path.is_file()]
    files = {f"codesign/{path.relative_to(source)}" for path in paths}
    assert "codesign/configs/README.md" in files
    assert files - names_in(wheel) == set()


def test_the_wheel_installs_nothing_outside_our_packages(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names_in(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_what_is_installed_is_the_wheel_and_not_the_checkout(
    installed: Path, tmp_path: Path
) -> None:
    code = "import codesign, networks; print(codesign.__file__, networks.__file__)"
    told = run(installed / "python", "-c", code, cwd=tmp_path)
    assert str(ROOT) not in told
    assert told.count(str(installed.parent)) == 2


def test_list_prints_the_same_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    here = run(sys.executable, "-m", "codesign", "list", cwd=ROOT)
    there = run(installed / "codesign", "list", cwd=tmp_path)
    # The kernel is compiled by each installation for itself.
    assert [line for line in there.splitlines() if "kernel" not in line] == [
        line for line in here.splitlines() if "kernel" not in line
    ]
    assert "configs/studies" in there


def test_a_kernel_that_is_in_the_sources_is_compiled(installed: Path, tmp_path: Path) -> None:
    there = run(installed / "codesign", "list", cwd=tmp_path).splitlines()
    assert ("compiled kernel: none" in there) == (not list(ROOT.glob("codesign/engine/*.cpp")))


def test_the_quickstart_is_found_by_its_name_away_from_the_checkout(
    installed: Path, tmp_path: Path
) -> None:
    quickstart = ROOT / "configs" / "studies" / "quickstart.yaml"
    if not quickstart.is_file() or "check" not in [command.name for command in COMMANDS]:
        pytest.skip("there is no quickstart study or no command to check it yet")
    assert run(installed / "codesign", "check", "quickstart", cwd=tmp_path).strip().endswith("ok")
