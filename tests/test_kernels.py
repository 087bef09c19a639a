"""The compiled kernels are those of the sources beside them, or it is said that they are not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from hashlib import sha256
from pathlib import Path

import pytest

from codesign.engine import kernels
from codesign.errors import UnsupportedError

ENGINE = Path(kernels.__file__).parent
NAME = f"_kernels{sysconfig.get_config_var('EXT_SUFFIX')}"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the sources and of what was compiled from them."""
    if not (ENGINE / NAME).is_file():
        pytest.skip("nothing was compiled here: no compiler")
    for path in [*ENGINE.glob("*.cpp"), *ENGINE.glob("*.h"), ENGINE / NAME]:
        shutil.copy(path, tmp_path)
    return tmp_path


def test_the_kernels_of_these_sources_are_loaded(copied: Path) -> None:
    assert kernels.load(copied) is not None


def test_kernels_without_sources_beside_them_are_a_wheels_and_are_loaded(copied: Path) -> None:
    for path in [*copied.glob("*.cpp"), *copied.glob("*.h")]:
        path.unlink()
    assert kernels.load(copied) is not None


@pytest.mark.parametrize("name", ["kernels.cpp", "kernels.h"])
def test_kernels_of_other_sources_are_refused_with_the_command_that_helps(
    copied: Path, name: str
) -> None:
    with (copied / name).open("a", encoding="utf-8") as file:
        file.write("// changed\n")
    with pytest.raises(UnsupportedError, match=r"compiled from sources .*setup\.py build_ext"):
        kernels.load(copied)


def test_a_broken_library_is_refused_with_the_command_that_helps(copied: Path) -> None:
    (copied / NAME).write_bytes(b"not a library")
    with pytest.raises(UnsupportedError, match=r"cannot be loaded .*setup\.py build_ext"):
        kernels.load(copied)


def test_no_kernels_is_an_answer_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kernels.load(tmp_path) is None
    monkeypatch.setattr(kernels, "library", lambda: None)
    assert kernels.kernel_name() == "none (not compiled)"


def test_where_there_is_a_compiler_the_kernels_are_compiled() -> None:
    # The build is optional, so an error in a source would only make the tests of engines skip.
    if shutil.which("g++") is None:
        pytest.skip("no compiler")
    assert kernels.library() is not None, "setup.py build_ext --inplace --force says why not"


def test_the_kernel_that_runs_is_the_one_for_this_processor() -> None:
    if kernels.library() is None:
        pytest.skip("nothing was compiled here: no compiler")
    flags = Path("/proc/cpuinfo")
    if not flags.is_file():
        pytest.skip("this system does not tell what its processor can do")
    found = re.findall(r"^flags\s*:(.*)$", flags.read_text(encoding="utf-8"), re.MULTILINE)
    needed = {"avx2", "bmi1", "bmi2", "fma", "f16c", "movbe", "abm"}
    fast = bool(found) and needed <= set(found[0].split())
    assert kernels.kernel_name() == ("avx2" if fast else "baseline")


def test_the_digest_is_of_all_sources_in_the_order_of_setup(tmp_path: Path) -> None:
    for name, text in [("b.cpp", "2"), ("a.cpp", "1"), ("c.h", "3"), ("d.py", "4")]:
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert kernels.source_digest(tmp_path) == sha256(b"123").hexdigest()


def test_a_compiled_library_of_another_kind_is_refused(tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no compiler")
    source = tmp_path / "empty.c"
    source.write_text("int nothing;\n", encoding="utf-8")
    command = [compiler, "-shared", "-fPIC", "-o", str(tmp_path / NAME), str(source)]
    subprocess.run(command, check=True)
    with pytest.raises(UnsupportedError, match="cannot be loaded"):
        kernels.load(tmp_path)
