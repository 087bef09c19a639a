"""Every weight bit of a network, flipped: ``python -m benchmarks.exhaustive``; docs/exhaustive.md.

Chunks are stored as they come, so a run that was killed goes on where it was, and says how often
that happened.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from benchmarks.exhaustive_page import write_page
from benchmarks.networks import Absent, Subject, make
from codesign.engine.kernels import kernel_name
from codesign.study.exhaustive import Truth, flip_every_bit
from codesign.study.exhaustive_maps import by_channel, by_layer_and_bit, sample_of
from codesign.study.progress import Progress

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).resolve().parent
NETWORKS = ("lenet", "fc_snn", "resnet20")
SHARE, CAMPAIGNS = 0.01, 200
NOTED_SECONDS = 5.0


class Clock(Progress):
    """Progress that notes how long all runs took together, also those that were killed."""

    def __init__(self, path: Path) -> None:
        super().__init__("bits")
        self.path = path
        self.log = {"seconds": 0.0, "runs": 0, "peak_mb": 0.0}
        if path.is_file():
            self.log = json.loads(path.read_text(encoding="utf-8"))
        self.before = self.log["seconds"]

    def start(self, done: int, left: int) -> None:
        """See `Progress.start`."""
        if left:
            self.log["runs"] += 1
        self.begun = self.noted = time.monotonic()
        super().start(done, left)

    def advance(self, new: int, left: int) -> None:
        """See `Progress.advance`."""
        super().advance(new, left)
        if time.monotonic() - self.noted > NOTED_SECONDS or not left:
            self.note()

    def note(self) -> None:
        """Write down what is known."""
        self.noted = time.monotonic()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.log["seconds"] = self.before + self.noted - self.begun
        self.log["peak_mb"] = max(self.log["peak_mb"], peak)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.log), encoding="utf-8")
        part.replace(self.path)


def main(words: list[str] | None = None) -> int:
    """Run what is missing and write the page; 0, or 2 where a user has to act."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exhaustive", description=__doc__)
    parser.add_argument("--only", action="append", help="a network; more than once for several")
    parser.add_argument("--workers", type=int, default=None, help="threads (one a processor)")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=FOLDER / ".cache", help="weights and chunks")
    parser.add_argument("--out", type=Path, default=FOLDER / "exhaustive.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "exhaustive.md")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    known = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.is_file() else {}
    for name in asked.only or NETWORKS:
        try:
            subject = make(name, asked.data if asked.data.is_dir() else None, asked.cache)
        except (Absent, KeyError) as error:
            print(f"{name}: left out: {error}", file=sys.stderr)
            continue
        known[name] = _told(subject, asked)
        asked.out.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    if not known:
        return 2
    write_page(known, asked.page)
    print(f"page: {asked.page}")
    return 0


def _told(subject: Subject, asked: argparse.Namespace) -> dict[str, object]:
    """All that the page says of a network."""
    folder = asked.cache / "exhaustive" / subject.name
    folder.mkdir(parents=True, exist_ok=True)
    clock = Clock(folder / "clock.json")
    truth = flip_every_bit(
        subject.program, subject.samples, folder, workers=asked.workers, progress=clock
    )
    clock.stop()
    loss = truth.loss
    return {
        "origin": subject.origin,
        "kernel": kernel_name(),
        "bits": len(truth.bits),
        "samples": truth.samples,
        "golden": truth.golden_correct / truth.samples,
        "log": clock.log,
        "masked": float((truth.masked == truth.samples).mean()),
        "sdc": float(truth.sdc.mean() / truth.samples),
        "harmless": float((truth.sdc == 0).mean()),
        "loss": float(loss.mean()),
        "over_1_point": float((loss > 0.01).mean()),
        "worst": _worst(truth),
        "layers": [layer.name for layer in truth.bits.layers],
        "by_bit": _plain(by_layer_and_bit(truth, loss)),
        "by_channel": [_plain(one) for one in by_channel(truth, loss)],
        "sampled": asdict(sample_of(truth, SHARE, CAMPAIGNS, seed=1)),
    }


def _worst(truth: Truth) -> list[dict[str, object]]:
    """The ten bits that cost most accuracy."""
    order = np.argsort(-truth.loss, kind="stable")[:10]
    where, channel, term, bit = truth.bits.places(order)
    return [
        {
            "layer": truth.bits.layers[where[i]].name,
            "channel": int(channel[i]),
            "term": int(term[i]),
            "bit": int(bit[i]),
            "loss": float(truth.loss[order[i]]),
        }
        for i in range(len(order))
    ]


def _plain(values: np.ndarray) -> list[object]:
    """Numbers for JSON, with null where there is none."""
    return [
        _plain(row) if isinstance(row, np.ndarray) else None if np.isnan(row) else round(row, 6)
        for row in values.astype(object if values.ndim == 1 else float)
    ]


if __name__ == "__main__":
    sys.exit(main())
