"""What holds for every test: one thread a worker, the same hypothesis examples at every run."""

import os

from hypothesis import settings

# Two workers share two cores. Torch reads this when it is first imported, which is later.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("deep", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
