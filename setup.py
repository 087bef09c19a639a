"""What pyproject.toml cannot say: `configs/` inside the wheel, and the compiled kernel."""

from hashlib import sha256
from pathlib import Path

from setuptools import Extension, find_namespace_packages, setup

PACKAGES = ["codesign*", "accelerators*", "networks*", "mitigation*"]
DATA = ["*.css", "*.html", "*.j2", "*.js", "*.json", "*.npz", "*.svg", "*.yaml", "py.typed"]
KERNEL_SOURCES = sorted(Path("codesign/engine").glob("*.cpp"))


def kernel(sources: list[Path]) -> Extension:
    """The shared library that the engine loads with ctypes.

    It carries the digest of its sources, because an editable install does not rebuild when they
    change and an old kernel must not go unnoticed. Without a compiler the package installs too.
    """
    digest = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return Extension(
        "codesign.engine._kernels",
        sources=[str(path) for path in sources],
        define_macros=[("CODESIGN_KERNEL_SHA256", f'"{digest}"')],
        extra_compile_args=["-O3", "-std=c++17", "-fvisibility=hidden"],
        language="c++",
        optional=True,
    )


setup(
    packages=[*find_namespace_packages(include=PACKAGES), "codesign.configs"],
    # Outside an installation they stand beside the package: codesign/shipped.py looks there too.
    package_dir={"codesign.configs": "configs"},
    package_data={"": DATA, "codesign.configs": ["README.md", "**/*.yaml"]},
    ext_modules=[kernel(KERNEL_SOURCES)] if KERNEL_SOURCES else [],
)
