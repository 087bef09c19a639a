"""What pyproject.toml cannot say: `configs/` inside the wheel, and the compiled kernel."""

from hashlib import sha256
from pathlib import Path

from setuptools import Extension, find_namespace_packages, setup

PACKAGES = ["codesign*", "accelerators*", "networks*", "mitigation*"]
DATA = ["*.css", "*.html", "*.j2", "*.js", "*.json", "*.npz", "*.svg", "*.yaml", "py.typed"]
ENGINE = Path("codesign/engine")


def configs() -> list[str]:
    """`configs/` and its folders as packages, because setuptools installs no other folders."""
    folders = sorted(path.name for path in Path("configs").iterdir() if path.is_dir())
    return ["codesign.configs", *(f"codesign.configs.{folder}" for folder in folders)]


def kernels() -> list[Extension]:
    """The shared library that the engine loads with ctypes, once there is a source for it.

    It carries the digest of its sources, because an editable install does not rebuild when they
    change and an old kernel must not go unnoticed. Without a compiler the package installs too.
    """
    sources, headers = sorted(ENGINE.glob("*.cpp")), sorted(ENGINE.glob("*.h"))
    if not sources:
        return []
    digest = sha256(b"".join(path.read_bytes() for path in [*sources, *headers])).hexdigest()
    kernel = Extension(
        "codesign.engine._kernels",
        sources=[str(path) for path in sources],
        depends=[str(path) for path in headers],
        define_macros=[("CODESIGN_KERNEL_SHA256", f'"{digest}"')],
        extra_compile_args=["-O3", "-std=c++17", "-fvisibility=hidden", "-fwrapv", "-Wno-psabi"],
        language="c++",
        optional=True,
    )
    return [kernel]


setup(
    packages=[*find_namespace_packages(include=PACKAGES), *configs()],
    # Outside an installation they stand beside the package: codesign/shipped.py looks there too.
    package_dir={"codesign.configs": "configs"},
    package_data={"": DATA, "codesign.configs": ["README.md"]},
    ext_modules=kernels(),
)
