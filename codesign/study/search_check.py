"""Whether a space makes sense, as far as reading can tell, and what a search of it will do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from codesign.errors import CodesignError, nearest
from codesign.schema import Problem, raise_all
from codesign.study.plan import NONE, REEXECUTION, variants
from codesign.study.search_space import (
    DESIGN,
    MITIGATION,
    LoadedSpace,
    changed_study,
    dimension_of,
    only,
    read_space,
)
from codesign.study.search_spec import ParameterSpec
from codesign.study.strategy import Dimension, Point

__all__ = ["describe_space", "load_space"]


def load_space(
    name_or_path: str, overrides: Sequence[str] = (), allow: Sequence[str] = ()
) -> LoadedSpace:
    """Read a space and find every mistake in it.

    Raises:
        StudyError: All that is wrong with it, one line each: ``file:line:column: path: what``.
    """
    space = read_space(name_or_path, overrides, allow)
    problems = [p for name, at in space.spec.parameters.items() for p in _form(space, name, at)]
    raise_all(problems or _conditions(space))
    raise_all([*_choices(space), *_paths(space), *_objective(space), *_seeds(space)])
    raise_all(_changes(space))
    return space


def describe_space(space: LoadedSpace) -> str:
    """What `codesign check` prints: the parameters, what is wanted, how long it may take."""
    return "\n".join(_lines(space))


def _lines(space: LoadedSpace) -> Iterator[str]:
    spec = space.spec
    yield from (spec.title, "", f"study        {spec.study}")
    for dimension in space.dimensions:
        if dimension.choices:
            values = ", ".join(map(str, dimension.choices))
        else:
            step = f" in steps of {dimension.step:g}" if dimension.step else ""
            values = f"{dimension.low:g} to {dimension.high:g}{step}"
        when = " and ".join(f"{n} is {' or '.join(map(str, v))}" for n, v in dimension.when)
        yield f"parameter    {dimension.name}: {values}{f', when {when}' if when else ''}"
    size = _size(space.dimensions, {})
    yield f"points       {size if size is not None else 'without number: a range has no step'}"
    accuracy = spec.objectives.accuracy
    at = "" if accuracy.rate is None else f" at {accuracy.rate:g}"
    yield f"wanted       accuracy under {accuracy.scenario}{at}: high"
    yield f"wanted       {', '.join(spec.objectives.costs)}: low"
    hand = [v.name for v in variants(space.base.spec)]
    yield f"hand-made    {', '.join(hand)}"
    effort, verify = spec.effort, spec.verify
    yield (
        f"search       {effort.candidates} candidates, at most {effort.trainings} trainings; "
        f"{effort.trials} trials of {effort.samples} validation samples each"
    )
    yield (
        f"verify       at most {verify.members} found and {len(hand)} hand-made designs; "
        f"{verify.trials} trials of {verify.samples} test samples each"
    )


def _size(dimensions: tuple[Dimension, ...], point: Point) -> int | None:
    """How many points there are; None without number. Conditions branch on few values."""
    deciding = {name for dimension in dimensions for name, _ in dimension.when}
    for i, dimension in enumerate(dimensions):
        if dimension.name in deciding and dimension.is_active(point):
            rest, total = dimensions[i + 1 :], 0
            before = [d.count for d in dimensions[:i] if d.is_active(point)]
            for value in dimension.choices:
                size = _size(rest, {**point, dimension.name: value})
                if size is None or None in before:
                    return None
                total += size
            return total * prod(count or 1 for count in before)
    counts = [dimension.count for dimension in dimensions if dimension.is_active(point)]
    return None if None in counts else prod(count or 1 for count in counts)


def _form(space: LoadedSpace, name: str, parameter: ParameterSpec) -> Iterator[Problem]:
    """What is wrong with a parameter alone."""
    at, loaded = f"parameters.{name}", space.loaded
    low, high = parameter.low, parameter.high
    if parameter.choices:
        if low is not None or high is not None or parameter.step is not None or parameter.log:
            yield loaded.problem(at, "expected choices, or low and high; came both")
        seen = [repr(value) for value in dimension_of(name, parameter).choices]
        if len(set(seen)) < len(seen):
            yield loaded.problem(f"{at}.choices", "a choice is named twice")
    elif low is None or high is None:
        yield loaded.problem(at, "expected choices, or low and high; something is missing")
    elif low >= high:
        yield loaded.problem(f"{at}.high", f"expected more than low, {low:g}; came {high:g}")
    elif parameter.log and (low <= 0 or parameter.step is not None):
        yield loaded.problem(f"{at}.log", "a logarithmic range begins above 0 and has no step")


def _conditions(space: LoadedSpace) -> Iterator[Problem]:
    """What is wrong with when: parents stand above and have the choices named."""
    above: dict[str, Dimension] = {}
    for dimension in space.dimensions:
        for other, values in dimension.when:
            at = f"parameters.{dimension.name}.when.{other}"
            if other not in above or not above[other].choices:
                what = f"no parameter {other!r} with choices stands above{nearest(other, above)}"
                yield space.loaded.problem(at, what)
                continue
            known = above[other].choices
            for i, value in enumerate(values):
                if value not in known:
                    what = f"{other} has no choice {value!r}{nearest(str(value), map(str, known))}"
                    yield space.loaded.problem(f"{at}.{i}", what)
        above[dimension.name] = dimension


def _choices(space: LoadedSpace) -> Iterator[Problem]:
    """Designs and mitigations that the study does not have; and which one, if none is chosen."""
    study = space.base.spec
    known = {DESIGN: list(study.designs), MITIGATION: [NONE, REEXECUTION, *study.mitigations]}
    chosen = False
    for dimension in space.dimensions:
        path = space.path(dimension.name)
        chosen |= path == DESIGN and not dimension.when
        if path not in known:
            continue
        for i, value in enumerate(dimension.choices):
            if value not in known[path]:
                what = (
                    f"{space.spec.study} has no {path} {value!r}{nearest(str(value), known[path])}"
                )
                yield space.loaded.problem(f"parameters.{dimension.name}.choices.{i}", what)
        if not dimension.choices:
            yield space.loaded.problem(f"parameters.{dimension.name}", f"a {path} has choices")
    if not chosen and len(study.designs) > 1:
        what = f"{space.spec.study} has several designs; a parameter without when chooses one"
        yield space.loaded.problem("parameters", f"{what}: design: {{choices: [...]}}")


def _paths(space: LoadedSpace) -> Iterator[Problem]:
    """Two parameters that could change the same thing at once."""
    seen: dict[str, list[Dimension]] = {}
    for dimension in space.dimensions:
        path = space.path(dimension.name)
        for other in seen.setdefault(path, []):
            mine, theirs = dict(dimension.when), dict(other.when)
            shared = mine.keys() & theirs.keys()
            if not any(not set(map(repr, mine[n])) & set(map(repr, theirs[n])) for n in shared):
                what = f"changes {path} as {other.name!r} does; let when keep them apart"
                yield space.loaded.problem(f"parameters.{dimension.name}", what)
        seen[path].append(dimension)


def _objective(space: LoadedSpace) -> Iterator[Problem]:
    """A scenario that the study does not have, a rate missing or not known, designs not struck."""
    wanted, study = space.spec.objectives.accuracy, space.base.spec
    at = "objectives.accuracy"
    if wanted.scenario not in study.faults:
        what = f"{space.spec.study} has no faults {wanted.scenario!r}"
        what += nearest(wanted.scenario, study.faults)
        yield space.loaded.problem(f"{at}.scenario", what)
        return
    faults = study.faults[wanted.scenario]
    if bool(faults.rates) != (wanted.rate is not None):
        what = "has rates: say which" if faults.rates else "has no rate; leave it out"
        yield space.loaded.problem(f"{at}.rate", f"{wanted.scenario} {what}")
    chosen = [d for d in space.dimensions if space.path(d.name) == DESIGN]
    for dimension in chosen:
        for i, value in enumerate(dimension.choices):
            if faults.on and value in study.designs and value not in faults.on:
                what = f"{wanted.scenario} does not strike {value} (its on: names others)"
                yield space.loaded.problem(f"parameters.{dimension.name}.choices.{i}", what)
    costs = space.spec.objectives.costs
    if len(set(costs)) < len(costs):
        yield space.loaded.problem("objectives.costs", "a cost is named twice")


def _seeds(space: LoadedSpace) -> Iterator[Problem]:
    """The faults that verify must be others than those that chose."""
    if space.spec.verify.seed == space.spec.seed:
        what = f"the search draws its faults from seed {space.spec.seed}; verify with another"
        yield space.loaded.problem("verify.seed", what)


def _changes(space: LoadedSpace) -> Iterator[Problem]:
    """Values that the study cannot take, and parameters that change nothing."""
    for dimension in space.dimensions:
        path = space.path(dimension.name)
        if path in (DESIGN, MITIGATION):
            continue
        at = f"parameters.{dimension.name}"
        values = dimension.choices or (_end(dimension, 0), _end(dimension, 1))
        places = [f"{at}.choices.{i}" for i in range(len(values))]
        found = []
        for place, value in zip(places if dimension.choices else (at, at), values, strict=True):
            try:
                found.append(_identities(space, dimension, value))
            except CodesignError as error:
                text = " ".join(str(error).splitlines())
                yield space.loaded.problem(place, f"the study cannot take {value!r}: {text}")
        if len(found) == len(values) and len(set(found)) < len(values):
            what = f"{path} changes nothing in the designs that it is for; does a network's own "
            yield space.loaded.problem(at, what + "block stand before the study's?")


def _identities(space: LoadedSpace, dimension: Dimension, value: object) -> frozenset[str]:
    """Of every design that a parameter is for, with every mitigation, at one value."""
    study = changed_study(space, {dimension.name: value})
    designs = set(study.spec.designs)
    for other, values in dimension.when:
        if space.path(other) == DESIGN:
            designs &= set(map(str, values))
    mitigations = (NONE, *study.spec.mitigations)
    return frozenset(only(study, d, m).identity for d in sorted(designs) for m in mitigations)


def _end(dimension: Dimension, last: int) -> object:
    if dimension.count is None:
        return dimension.high if last else dimension.low
    return dimension.value(dimension.count - 1 if last else 0)
