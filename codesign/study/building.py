"""From a study's text to designs: data, trained networks, chips, mitigations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign.design import Context, Design, Mitigation
from codesign.errors import CodesignError, StudyError
from codesign.guards import Recompute
from codesign.learning.settings import Quantisation, Training
from codesign.mapping import Placement
from codesign.network import NetworkGraph
from codesign.parts import bind
from codesign.samples import Samples, Splits
from codesign.scenarios import Scenario
from codesign.schema import SchemaErrors
from codesign.study.loading import LoadedStudy
from codesign.study.plan import NONE, REEXECUTION, Planned, Variant, variants
from codesign.study.progress import Progress

if TYPE_CHECKING:
    from codesign.learning.training import Model

__all__ = ["Built", "BuiltNetwork", "build", "recipe_of", "scenario_of", "splits_of"]


@dataclass(frozen=True, eq=False)
class BuiltNetwork:
    """A trained network and what training found.

    Attributes:
        name: The study's.
        graph: Integer program's source.
        float_accuracy: Of the float model on ``test``, or None where there is none.
        quantised_accuracy: Of the integer network on ``test``.
        samples: How many test samples these are.
        seconds: Spent training; 0 from the cache.
        quantisation: As used.
        note: Of the study.
    """

    name: str
    graph: NetworkGraph
    float_accuracy: float | None
    quantised_accuracy: float
    samples: int
    seconds: float
    quantisation: Quantisation
    note: str = ""


@dataclass(frozen=True, eq=False)
class Built:
    """Everything a study talks about, made.

    Attributes:
        study: As loaded.
        splits: Of the data set.
        test: The raw test samples that campaigns use.
        networks: By the study's names.
        designs: By variant name, in the order of the plan.
        variants: The same, as planned.
    """

    study: LoadedStudy
    splits: Splits
    test: Samples
    networks: dict[str, BuiltNetwork]
    designs: dict[str, Design]
    variants: tuple[Variant, ...]

    def coded(self, variant: str) -> Samples:
        """Test samples as the variant's network reads them."""
        return self.designs[variant].network.coding.apply(self.test)


def build(study: LoadedStudy, folder: Path, say: Callable[[str], None]) -> Built:
    """Make everything a study talks about: cheap things first, so that mistakes come early.

    Args:
        study: As loaded.
        folder: Of the results; trained networks are kept in its `networks`.
        say: Gets one line a stage.

    Raises:
        StudyError: A mitigation cannot be applied, with the place in the study.
        CodesignError: Data, model or mapping cannot be made.
    """
    spec, splits = study.spec, splits_of(study)
    networks = {name: _network(study, name, splits, folder, say) for name in spec.networks}
    test = splits.test.take(min(spec.effort.samples, len(splits.test)))
    if spec.effort.samples > len(splits.test):
        say(f"samples   {len(splits.test)} test samples, fewer than effort.samples")
    planned = variants(spec)
    designs: dict[str, Design] = {}
    for variant in planned:
        designs[variant.name] = _design(study, variant, networks, designs, splits.calibration)
    return Built(study, splits, test, networks, designs, planned)


def splits_of(study: LoadedStudy) -> Splits:
    """A study's data set."""
    data, beside = study.spec.data, study.loaded.folder
    splits = bind(data.use, data.arguments, study.allow, path="data", folder=beside)
    if not isinstance(splits, Splits):
        raise _other(study, "data", "a data set gives codesign.samples.Splits", splits)
    return splits


def _other(study: LoadedStudy, path: str, wanted: str, came: object) -> StudyError:
    """What a part of the user's own is not."""
    what = f"{wanted}; came a {type(came).__name__}"
    return StudyError(str(study.loaded.problem(path, what)))


def scenario_of(study: LoadedStudy, planned: Planned) -> Scenario:
    """The scenario of a planned campaign at its rate."""
    fault = study.spec.faults[planned.scenario]
    at = f"faults.{planned.scenario}"
    scenario: Any = bind(
        fault.use, fault.arguments, study.allow, path=at, folder=study.loaded.folder
    )
    if not (is_dataclass(type(scenario)) and callable(getattr(scenario, "draw", None))):
        what = "a scenario is a frozen dataclass with draw, so that trials know what they are of"
        raise _other(study, at, what, scenario)
    if planned.rate is not None and not hasattr(scenario, "rate"):
        raise _other(study, at, "a scenario that is given rates has a field rate", scenario)
    made: Scenario = scenario if planned.rate is None else replace(scenario, rate=planned.rate)
    return made


def recipe_of(study: LoadedStudy, name: str) -> tuple[Model, Training, Quantisation]:
    """How a network of a study is made: its module, how long it trains, how it is quantised.

    A network with weights of its own is not trained.
    """
    from torch import nn

    from codesign.learning.training import Model
    from codesign.learning.weights import load_weights

    spec = study.spec.networks[name]
    quantisation = spec.quantisation or study.spec.quantisation
    training = spec.training or study.spec.training

    def make() -> Any:
        path, beside = f"networks.{name}", study.loaded.folder
        module: Any = bind(spec.use, spec.arguments, study.allow, path=path, folder=beside)
        if not isinstance(module, nn.Module):
            raise _other(study, path, "a network is a torch.nn.Module", module)
        if spec.weights is not None:
            load_weights(module, spec.weights)
        return module

    if spec.weights is not None:
        training = replace(training, epochs=0)
    return Model(name, make), training, quantisation


def _network(
    study: LoadedStudy, name: str, splits: Splits, folder: Path, say: Callable[[str], None]
) -> BuiltNetwork:
    from codesign.learning.training import train

    model, training, quantisation = recipe_of(study, name)
    progress = Progress("batches")
    told = False

    def advance(what: str, done: int, total: int) -> None:
        nonlocal told
        if not told:
            say(f"training  {name}")
            progress.start(0, total)
            told = True
        progress.advance(1, total - done)

    trained = train(
        model,
        splits,
        training,
        quantisation,
        cache=folder / "networks",
        progress=advance,
    )
    if told:
        progress.stop()
    say(
        f"network   {name}: {trained.quantised_accuracy:.1%} in integers, "
        f"{trained.float_accuracy:.1%} in float, {trained.samples} test samples"
    )
    return BuiltNetwork(
        name=name,
        graph=replace(trained.network, name=name),
        float_accuracy=trained.float_accuracy,
        quantised_accuracy=trained.quantised_accuracy,
        samples=trained.samples,
        seconds=trained.seconds,
        quantisation=quantisation,
        note=study.spec.networks[name].note,
    )


def _design(
    study: LoadedStudy,
    variant: Variant,
    networks: dict[str, BuiltNetwork],
    made: dict[str, Design],
    calibration: Samples,
) -> Design:
    """A variant: a design of the study, or what a mitigation makes of one."""
    at = f"designs.{variant.design}"
    try:
        if variant.mitigation == NONE:
            spec = study.spec.designs[variant.design]
            placed = spec.placement
            design = Design(
                variant.name,
                networks[spec.network].graph,
                study.families[spec.accelerator].build(),
                Placement(placed.rows, placed.columns, placed.forbidden),
            )
            _ = design.program  # maps it: capacities and placements are judged here
            return design
        if variant.mitigation == REEXECUTION:
            at = "mitigations"
            again = made[variant.design].guarded(Recompute(3), name=variant.name)
            _ = again.program
            return again
        at = f"mitigations.{variant.mitigation}"
        mitigation = study.spec.mitigations[variant.mitigation]
        part: Mitigation = bind(mitigation.use, mitigation.arguments, study.allow, path=at)
        context = Context(calibration, study.spec.seed)
        changed = part.apply(made[variant.design], context)
        if not isinstance(changed, Design):
            raise StudyError(f"apply gives a codesign.design.Design, came {type(changed).__name__}")
        _ = changed.program
        return replace(changed, name=variant.name)
    except SchemaErrors:
        raise
    except CodesignError as error:
        what = f"{variant.name}: {error}" if variant.mitigation == REEXECUTION else str(error)
        raise StudyError(str(study.loaded.problem(at, what))) from error
