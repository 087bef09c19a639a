"""`use:` paths: what may be imported, and what is known without importing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_shelf import imported, installed_toys

from codesign import parts, shipped
from codesign.errors import StudyError
from codesign.field_types import Anything
from codesign.parts import exists, needs_allow, resolve


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with installed_toys(tmp_path, monkeypatch) as folder:
        yield folder


# Which paths there are


@pytest.mark.parametrize(
    ("use", "problem"),
    [
        ("networks:Mlp", None),
        ("scenarios:Strikes", None),
        ("codesign.scenarios:Strikes", None),
        ("networks:Mlpp", "no 'Mlpp' in networks; did you mean 'Mlp'?"),
        ("accelerators:Chip", "no 'Chip' in accelerators"),
        ("scenarios:Scenario", "no 'Scenario' in scenarios; known: Strikes"),
        ("scenarios:helper", "no 'helper' in scenarios; known: Strikes"),
        (
            "networks.toys:Mlp",
            "networks.toys offers no parts by itself; did you mean 'networks:Mlp'?",
        ),
        ("codesign.networks:Mlp", "codesign.networks offers no parts by itself; did you mean"),
        ("codesign.cli:main", "codesign.cli offers no parts by itself"),
        ("networks:__getattr__", "no '__getattr__' in networks; known: Bigger, "),
        ("networks:import_module", "no 'import_module' in networks; known: Bigger, "),
        (
            "Mlp",
            "expected shelf:Name or package.module:Name, came 'Mlp'; did you mean 'networks:Mlp'?",
        ),
        (
            "networks.Mlp",
            "expected shelf:Name or package.module:Name, came 'networks.Mlp'; did you",
        ),
        ("networks:", "expected shelf:Name or package.module:Name, came 'networks:'"),
        (":Mlp", "expected shelf:Name or package.module:Name, came ':Mlp'; did you mean"),
        ("a b:c", "expected shelf:Name or package.module:Name, came 'a b:c'"),
        ("../x:y", "expected shelf:Name or package.module:Name, came '../x:y'"),
        ("networks:Mlp()", "expected shelf:Name or package.module:Name, came 'networks:Mlp()'"),
        ("os:path.join", "expected shelf:Name or package.module:Name, came 'os:path.join'"),
        ("", "expected shelf:Name or package.module:Name, came ''"),
        ("my_lab.rram:Drift", None),
        ("my_lab.rram:Nothing", None),
        ("os:system", None),
    ],
)
@pytest.mark.usefixtures("toys")
def test_a_path_is_judged_without_importing(use: str, problem: str | None) -> None:
    found = exists(use)
    assert (found or "").startswith(problem or "")
    assert (found is None) == (problem is None)
    assert imported("networks", "my_lab") == set()


@pytest.mark.usefixtures("toys")
def test_a_strangers_package_must_be_allowed() -> None:
    ask = "(to let this study run code of {0!r}: --allow {0})"
    for use, top in [
        ("my_lab.rram:Drift", "my_lab"),
        ("os:system", "os"),
        ("subprocess:run", None),
    ]:
        package = top or "subprocess"
        expected = f"{package!r} is not a shelf of codesign {ask.format(package)}"
        assert needs_allow(use) == package
        assert exists(use, ()) == expected
        assert exists(use, ("other", package)) is None
        with pytest.raises(StudyError) as caught:
            resolve(use, ("other",))
        assert str(caught.value) == f"{use}: {expected}"
    like = "'network' is not a shelf of codesign; did you mean 'networks'? "
    assert exists("network:Mlp", ()) == like + ask.format("network")
    assert imported("my_lab") == set()


@pytest.mark.usefixtures("toys")
def test_allowing_a_package_does_not_open_our_own_rooms() -> None:
    for use in ("codesign.cli:main", "networks.toys:Mlp", "networks:import_module"):
        assert needs_allow(use) is None
        with pytest.raises(StudyError):
            resolve(use, ("codesign", "networks"))


@pytest.mark.usefixtures("toys")
def test_what_exists_and_is_allowed_is_imported() -> None:
    assert resolve("networks:Mlp").__name__ == "Mlp"
    assert resolve("my_lab.rram:Drift", ("my_lab",)).__module__ == "my_lab.rram"


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("my_lab.rram:Drit", "no 'Drit' in my_lab.rram; did you mean 'Drift'?"),
        ("my_lab.rram:constant", "expected a class or a function, came a int"),
        ("my_lab.rramm:Drift", "there is no module 'my_lab.rramm'; is it installed, or its folder"),
        (
            "my_lab.rram.x:Drift",
            "there is no module 'my_lab.rram.x'; is it installed, or its folder",
        ),
        ("nowhere:Drift", "there is no module 'nowhere'; is it installed, or its folder on"),
        ("my_lab.broken:Drift", "my_lab.broken cannot be imported: "),
        ("my_lab.needy:Drift", "my_lab.needy needs the module 'not_there_at_all'"),
        ("my_lab.old:Drift", "my_lab.old cannot be imported: cannot import name 'Gone' from"),
        ("networks:listed", "expected a class or a function, came a list"),
        # The real scenarios are not those beside the toys.
        ("scenarios:Strikes", "Python finds another 'codesign.scenarios' first, in "),
    ],
)
@pytest.mark.usefixtures("toys")
def test_what_cannot_be_imported_says_why(use: str, message: str) -> None:
    with pytest.raises(StudyError) as caught:
        resolve(use, ("my_lab", "nowhere"))
    assert str(caught.value).startswith(f"{use}: {message}")


# Our own shelves

OURS = [
    f"{shelf}:{entry.name}" for shelf in shipped.SHELVES for entry in shipped.catalogue(shelf)
] + ["scenarios:RandomFaults", "scenarios:SingleFaults"]


@pytest.mark.parametrize("use", OURS)
def test_the_source_of_each_part_tells_what_importing_it_tells(use: str) -> None:
    import torch

    torch.set_num_threads(1)
    assert exists(use) is None
    source, real = parts.signature_of(use), parts.arguments_of(resolve(use))
    assert [(f.name, f.required) for f in source.fields] == [
        (f.name, f.required) for f in real.fields
    ]
    assert source.is_open == real.is_open
    for told, true in zip(source.fields, real.fields, strict=True):
        assert told.type in (true.type, Anything()), told.name


def test_checking_all_our_parts_imports_neither_torch_nor_a_shelf() -> None:
    code = f"""
import sys
from codesign.parts import check_arguments, exists, signature_of
for use in {OURS!r}:
    assert exists(use) is None
    required = [field.name for field in signature_of(use).fields if field.required]
    assert len(check_arguments(use, {{}})) == len(required)
    assert check_arguments(use, {{'no such': 1}})[0].message.startswith("unknown argument")
print([m for m in ("torch", "scipy", "accelerators", "networks", "mitigation") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
