"""`codesign map` trains nothing: stored weights, those of a file, fresh ones; data or none."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from codesign.cli import main
from codesign.errors import DataError, StudyError
from codesign.learning import training
from codesign.study.building import build
from codesign.study.loading import LoadedStudy, load_study
from codesign.study.mapped import mapped_designs

STUDY = """title: A small net
data: {use: networks:digits}
networks:
  cnn: {use: networks:SmallCnn, channels: [2, 3]}
training: {epochs: 1, qat_epochs: 0, samples: 64}
accelerators: {array: {datasheet: generic8_ws}}
designs: {cnn: {network: cnn, accelerator: array}}
effort: {samples: 10}
"""
STRANGER = "def data():\n    raise __import__('codesign.errors').errors.DataError('no files')\n"


def unheard(_: str) -> None:
    """Takes a line."""


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., LoadedStudy]:
    """Loads the study with changes; results go beside it."""
    torch.set_num_threads(1)

    def load(*changes: str, text: str = STUDY, allow: tuple[str, ...] = ()) -> LoadedStudy:
        file = tmp_path / "study.yaml"
        file.write_text(text, encoding="utf-8")
        folder = f"outputs.folder={tmp_path / 'out'}"
        return load_study(str(file), (folder, *changes), allow)

    return load


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever learns fails."""

    def refuse(*_: object) -> float:
        raise AssertionError("something is trained")

    monkeypatch.setattr(training, "_learn", refuse)


@pytest.mark.usefixtures("no_training")
def test_without_a_run_fresh_weights_are_mapped_and_said_to_be_so(written, tmp_path):
    said: list[str] = []
    (mapped,) = mapped_designs(written(), said.append)
    assert mapped.notes == (
        "cnn has untrained weights: no run of this study has stored trained ones. Spikes, zeros "
        "and what depends on them are those of an untrained network.",
    )
    assert said == [f"network   {mapped.notes[0]}"]
    assert not (tmp_path / "out").exists()
    # On 8 x 8 a fold takes 22 cycles and one a position: 9 terms in 2 folds of 64 positions, 18
    # in 3 of 16, 12 for 10 channels in 2 x 2 of one.
    assert mapped.cost.cycles == 2 * (22 + 64) + 3 * (22 + 16) + 4 * (22 + 1)
    (again,) = mapped_designs(written(), said.append)
    assert again.design.digest == mapped.design.digest


def test_what_a_run_has_stored_is_mapped(written):
    study = written()
    folder = study.spec.outputs.folder
    assert folder is not None
    built = build(study, folder, unheard)
    (mapped,) = mapped_designs(study, unheard)
    assert mapped.notes == ()
    assert mapped.design.digest == built.designs["cnn"].digest
    (other,) = mapped_designs(written("training.epochs=2"), unheard)
    assert "untrained weights" in other.notes[0]
    assert other.design.digest != mapped.design.digest


@pytest.mark.usefixtures("no_training")
def test_weights_of_a_file_are_mapped_without_the_training_on_codes(written, tmp_path):
    from networks import SmallCnn

    torch.manual_seed(5)
    torch.save(SmallCnn(channels=(2, 3)).state_dict(), tmp_path / "w.pt")
    change = f"networks.cnn.weights={tmp_path / 'w.pt'}"
    (mapped,) = mapped_designs(written(change), unheard)
    assert mapped.notes == ("cnn has the weights of w.pt, quantised after training.",)
    (asked,) = mapped_designs(written(change, "training.qat_epochs=2"), unheard)
    assert asked.notes[0].endswith("after training, not trained on codes as the study asks.")


@pytest.mark.usefixtures("no_training")
def test_without_the_data_noise_of_its_shape_stands_in(written):
    text = STUDY.replace("networks:digits", "networks:mnist, folder: nowhere").replace(
        "[2, 3]", "[2, 3], image: 28"
    )
    (mapped,) = mapped_designs(written(text=text), unheard)
    assert mapped.notes[0].startswith("The data set was not read (mnist: there is no folder ")
    assert "noise of shape 1 × 28 × 28 stands in" in mapped.notes[0]
    assert mapped.design.network.shapes["input"] == (1, 28, 28)


def test_data_that_do_not_say_their_shape_are_asked_for(written, tmp_path, monkeypatch):
    (tmp_path / "strange_data.py").write_text(STRANGER, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    study = written(
        text=STUDY.replace("networks:digits", "'strange_data:data'"), allow=("strange_data",)
    )
    with pytest.raises(DataError, match=r"no files; a mapping needs at least the shape .*of_shape"):
        mapped_designs(study, unheard)


def test_a_network_that_does_not_fit_is_refused_with_its_place(written):
    study = written(text=STUDY.replace("generic8_ws}", "generic8_ws, change: {dram.bytes: 64}}"))
    with pytest.raises(StudyError, match=r"study.yaml:\d+:\d+: designs.cnn: dram: .* larger dram"):
        mapped_designs(study, unheard)


def test_the_page_says_what_the_weights_are(written, tmp_path, capsys):
    written()
    out = tmp_path / "map"
    arguments = ["map", str(tmp_path / "study.yaml"), f"outputs.folder={tmp_path / 'out'}"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "mapping.html")
    page = (out / "mapping.html").read_text(encoding="utf-8")
    assert "cnn has untrained weights" in page
    assert "No campaign of this design" in page


def test_losses_of_a_run_of_the_same_design_stand_in_the_unit_table(written, tmp_path):
    faults = """faults:
  one: {use: scenarios:SingleFaults, components: [array.psum_register], model: stuck, trials: 4}
"""
    file = tmp_path / "study.yaml"
    written(text=STUDY + faults)
    arguments = [str(file), f"outputs.folder={tmp_path / 'out'}"]
    assert main(["run", *arguments]) == 0
    assert main(["map", *arguments, "--out", str(tmp_path / "map")]) == 0
    with (tmp_path / "map" / "units.csv").open(encoding="utf-8") as stream:
        rows = {row["unit"]: row for row in csv.DictReader(stream)}
    assert rows["array"]["vulnerability_n"] == "4"
    assert rows["dram"]["vulnerability"] == ""
    page = (tmp_path / "map" / "mapping.html").read_text(encoding="utf-8")
    assert "lost to one fault, points" in page


def test_mitigations_that_are_left_out_are_named_once(written):
    ecc = "mitigations: {ecc: {use: mitigation:ErrorCorrection, places: [weight]}}\n"
    (mapped,) = mapped_designs(written(text=STUDY + ecc), unheard)
    assert mapped.design.guards == ()
    assert mapped.notes[-1] == "Designs stand here unprotected, without ecc."
