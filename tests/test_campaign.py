"""A worker's trials: the same rows, whatever is computed together."""

import numpy as np
import pytest

from accelerators import Systolic
from codesign.design import Design
from codesign.engine import dense
from codesign.network import Edge, Input, Linear, NetworkGraph
from codesign.samples import Samples
from codesign.scenarios import RandomFaults, SingleFaults
from codesign.study import campaign as module
from codesign.study.campaign import Campaign, evaluate_trials

DRAW = np.random.default_rng(8)
NETWORK = NetworkGraph(
    "net",
    (
        Input("x", (), shape=(6,)),
        Linear("y", (Edge("x"),), DRAW.integers(-9, 9, (5, 6)), DRAW.integers(-9, 9, 5)),
    ),
)
SAMPLES = Samples("mine", "test", DRAW.integers(0, 99, (20, 6)), DRAW.integers(0, 5, 20))


def campaign_of(scenario):
    design = Design("d", NETWORK, Systolic(rows=4, cols=4).build())
    return Campaign("c", design, scenario, SAMPLES, 5, {})


@pytest.mark.parametrize("most", [1, 7, 40, 10**6])
@pytest.mark.parametrize(
    "scenario",
    [
        RandomFaults(("array.weight_register",), "stuck", 0.05),
        RandomFaults(("array.weight_register",), "stuck", 0.0),
        SingleFaults(("array.weight_register",), "stuck"),
    ],
    ids=["many", "none", "single"],
)
def test_how_many_faults_are_taken_together_changes_no_row(monkeypatch, most, scenario):
    campaign = campaign_of(scenario)
    golden = dense.golden(campaign.design.program, SAMPLES)
    alone = [evaluate_trials(campaign, golden, [trial])[0] for trial in range(12)]
    monkeypatch.setattr(module, "MOST_FAULTS", most)
    assert evaluate_trials(campaign, golden, range(12)) == alone
    assert [row.trial for row in alone] == list(range(12))
    rate = getattr(scenario, "rate", 1)
    assert any(row.correct != alone[0].correct for row in alone) == (rate > 0)
