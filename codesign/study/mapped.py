"""Designs as they stand on their chips, without any campaign: what `codesign map` shows.

Nothing is trained. A network has the weights that an earlier run stored, or those of the file that
the study names, else fresh ones; where the data set cannot be read, noise of its shape stands in.
What is then true of counts and what is not, notes say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from codesign.design import Design
from codesign.engine import pick
from codesign.errors import CodesignError, DataError, StudyError
from codesign.mapping import Activity, Cost, Placement
from codesign.network import NetworkGraph
from codesign.parts import resolve
from codesign.samples import Splits, made_up
from codesign.study.building import recipe_of, splits_of
from codesign.study.loading import LoadedStudy
from codesign.study.running import output_folder

__all__ = ["Mapped", "mapped_designs"]

NOISE = 64  # samples in each part where the data set is not there


@dataclass(frozen=True, eq=False)
class Mapped:
    """A design with the cost of one golden inference.

    Attributes:
        design: Unprotected.
        cost: At the mean activity over test samples.
        notes: Sentences that must stand beside the numbers.
    """

    design: Design
    cost: Cost
    notes: tuple[str, ...] = ()


def mapped_designs(study: LoadedStudy, say: Callable[[str], None]) -> tuple[Mapped, ...]:
    """Every design of a study, unprotected.

    Args:
        study: As loaded.
        say: Gets one line a stage.

    Raises:
        DataError: The data set cannot be read, and does not say which shape its samples have.
        StudyError: A network cannot be placed, with the place in the study.
        CodesignError: A network cannot be made.
    """
    splits, about = _data(study)
    for line in about:
        say(f"data      {line}")
    bare = _bare(study)
    networks: dict[str, tuple[NetworkGraph, tuple[str, ...]]] = {}
    found = []
    for name, spec in study.spec.designs.items():
        if spec.network not in networks:
            networks[spec.network] = _network(study, spec.network, splits, not about)
            told = networks[spec.network][1]
            say(f"network   {told[0] if told else f'{spec.network}: as stored'}")
        graph, notes = networks[spec.network]
        design = _placed(study, name, graph)
        test = splits.test.take(min(study.spec.effort.samples, len(splits.test)))
        golden = pick.run_golden(design.program, graph.coding.apply(test))
        cost = design.mapping.cost(Activity(**pick.activity(golden)), design.guards)
        found.append(Mapped(design, cost, (*about, *notes, *bare)))
    return tuple(found)


def _bare(study: LoadedStudy) -> tuple[str, ...]:
    """A sentence on the mitigations that are not there; they ask for trained networks."""
    names = ", ".join(study.spec.mitigations)
    return (f"Designs stand here unprotected, without {names}.",) if names else ()


def _data(study: LoadedStudy) -> tuple[Splits, tuple[str, ...]]:
    """The data set, or noise and a sentence that says so."""
    spec = study.spec.data
    try:
        return splits_of(study), ()
    except CodesignError as error:
        messages = [problem.message for problem in getattr(error, "problems", ())]
        told = "; ".join(messages) or str(error)
        maker = resolve(spec.use, study.allow)
        shape: tuple[int, ...] | None = getattr(maker, "sample_shape", None)
        if shape is None:
            raise DataError(
                f"{told}; a mapping needs at least the shape of a sample, and {spec.use} does not "
                "say it: give the data, or mark the function with codesign.samples.of_shape"
            ) from error
        full_scale = float(getattr(maker, "full_scale", 255.0))
        size = " × ".join(map(str, shape))
        note = (
            f"The data set was not read ({told}): noise of shape {size} stands in. Counts that "
            "depend on data (spikes, shares of zeros, events) are those of noise."
        )
        return made_up(shape, full_scale, NOISE, study.spec.seed), (note,)


def _network(
    study: LoadedStudy, name: str, splits: Splits, has_data: bool
) -> tuple[NetworkGraph, tuple[str, ...]]:
    """A network as an earlier run stored it, else with the weights it has; and what to say."""
    from codesign.learning.training import stored
    from codesign.learning.untrained import untrained

    spec = study.spec.networks[name]
    model, training, quantisation = recipe_of(study, name)
    if has_data:
        kept = stored(model, splits, training, quantisation, output_folder(study) / "networks")
        if kept is not None:
            return replace(kept.network, name=name), ()
    graph = replace(untrained(model, splits, quantisation, training.seed), name=name)
    if spec.weights is None:
        return graph, (
            f"{name} has untrained weights: no run of this study has stored trained ones. Spikes, "
            "zeros and what depends on them are those of an untrained network.",
        )
    note = f"{name} has the weights of {Path(spec.weights).name}, quantised after training"
    more = ", not trained on codes as the study asks" if training.qat_epochs else ""
    return graph, (f"{note}{more}.",)


def _placed(study: LoadedStudy, name: str, graph: NetworkGraph) -> Design:
    spec = study.spec.designs[name]
    placed = spec.placement
    try:
        design = Design(
            name,
            graph,
            study.families[spec.accelerator].build(),
            Placement(placed.rows, placed.columns, placed.forbidden),
        )
        _ = design.program  # maps it: capacities and placements are judged here
    except CodesignError as error:
        raise StudyError(str(study.loaded.problem(f"designs.{name}", str(error)))) from error
    return design
