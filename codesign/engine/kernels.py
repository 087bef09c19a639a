"""The compiled kernels: one shared library, loaded with ctypes, never an old one.

`setup.py` compiles every ``codesign/engine/*.cpp`` into ``_kernels`` and the digest of the sources
with them. An installation without a compiler has none: then `library` is None, engines take their
slower path, and `kernel_name` says so.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from functools import cache
from hashlib import sha256
from pathlib import Path

from codesign.errors import UnsupportedError

__all__ = ["kernel_name", "library"]

FOLDER = Path(__file__).resolve().parent
NOT_COMPILED = "none (not compiled)"


@cache
def library() -> ctypes.CDLL | None:
    """The kernels of this installation, or None where there are none.

    Raises:
        UnsupportedError: They were compiled from other sources than those beside them, or cannot
            be loaded; the message has the command that compiles them again.
    """
    return load(FOLDER)


def kernel_name() -> str:
    """Which kernel runs on this processor: ``avx2``, ``baseline`` or ``none (not compiled)``.

    Raises:
        UnsupportedError: As `library` does.
    """
    kernels = library()
    if kernels is None:
        return NOT_COMPILED
    return str(kernels.codesign_kernel_isa().decode())


def load(folder: Path) -> ctypes.CDLL | None:
    """The kernels compiled in a folder, checked against the sources that stand there.

    Raises:
        UnsupportedError: See `library`.
    """
    path = folder / f"_kernels{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not path.is_file():
        return None
    try:
        kernels = ctypes.CDLL(str(path))
        kernels.codesign_kernel_sha256.restype = ctypes.c_char_p
        kernels.codesign_kernel_isa.restype = ctypes.c_char_p
    except (OSError, AttributeError) as error:
        raise UnsupportedError(f"{path}: cannot be loaded ({error}); {_again(folder)}") from error
    compiled, expected = kernels.codesign_kernel_sha256().decode(), source_digest(folder)
    if expected not in ("", compiled):
        raise UnsupportedError(
            f"{path}: compiled from sources {compiled[:12]}, those beside it are {expected[:12]}; "
            f"{_again(folder)}"
        )
    return kernels


def source_digest(folder: Path) -> str:
    """Digest of the sources as `setup.py` takes it, or nothing where there are none (a wheel)."""
    sources = [*sorted(folder.glob("*.cpp")), *sorted(folder.glob("*.h"))]
    if not sources:
        return ""
    return sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _again(folder: Path) -> str:
    root = folder.parent.parent
    return f"compile again: cd {root} && {sys.executable} setup.py build_ext --inplace --force"
