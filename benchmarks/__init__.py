"""Speed against peers, in one run, as ratios to a forward pass; `run.py` is the entry."""
