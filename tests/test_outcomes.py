"""What trials end as, by hand."""

from typing import Any

import numpy as np

from codesign.engine.observables import Observables, outcomes


def test_every_sample_of_a_trial_ends_in_exactly_one_class():
    golden = np.array([[5, 1]] * 7)
    outputs = golden[None].copy()
    outputs[0, 1] = [6, 1]  # tolerated
    outputs[0, 2] = [0, 1]  # SDC
    outputs[0, 5] = [0, 1]
    flags: dict[str, Any] = {n: np.zeros((1, 7), bool) for n in ("corrected", "detected", "hang")}
    flags["corrected"][0, [3, 5]] = True  # right again; corrected and still wrong
    flags["detected"][0, 4] = True
    flags["hang"][0, 6] = True
    counted = outcomes(Observables(outputs, **flags), golden, np.zeros(7, int))
    shares = {n: int(getattr(counted, n)[0]) for n in ("masked", "tolerated", "sdc")}
    assert shares == {"masked": 1, "tolerated": 1, "sdc": 1}
    assert (counted.corrected[0], counted.detected[0], counted.hang[0]) == (1, 2, 1)
    assert counted.correct[0] == 4
