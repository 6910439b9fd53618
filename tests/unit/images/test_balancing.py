"""Balance: what the gate says decides what is trained on, and all is written down."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from defectory.datasets import Dataset, exports, load_dataset
from defectory.errors import InputError, ServiceError
from defectory.images.balancing import Balanced, balance, part_to_learn_from
from defectory.images.gate import GateResult
from defectory.images.plan import plan_balance
from defectory.vision.images import encode_png
from tests.unit.images.conftest import Scripted, part
from tests.unit.images.test_synthesis import raising


@pytest.fixture
def parts(tmp_path: Path) -> Dataset:
    """Eight good parts and two scratched ones with masks."""
    mask = np.zeros((72, 96), np.uint8)
    mask[20:30, 20:60] = 255
    for number in range(10):
        name = f"good/{number}.png" if number < 8 else f"Scratch/{number}.png"
        (tmp_path / "parts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "parts" / name).write_bytes(encode_png(part(number)))
    for number in (8, 9):
        (tmp_path / "parts/masks/Scratch").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"parts/masks/Scratch/{number}.png").write_bytes(encode_png(mask))
    return load_dataset(tmp_path / "parts")


def gate_of(decision: str):
    def gate(real: Dataset, synthetic: Dataset) -> GateResult:
        assert all(record.synthetic and record.made_from for record in synthetic.records)
        return GateResult(
            decision=decision,
            reason="as the test says",
            real_good=len(real.normal),
            real_defects=len(real.anomalous),
            synthetic=len(synthetic.records),
        )

    return gate


@pytest.fixture
def run(parts, tmp_path):
    def run_(renderer: Scripted | None = None, *, real: Dataset = parts, gate=None, **more) -> Balanced:
        options = {name: more[name] for name in ("validation", "skip_unmasked") if name in more}
        plan = plan_balance(part_to_learn_from(real, more.get("form", "manifest"), **options), 6, renderer="procedural")
        return balance(real, plan, {"procedural": renderer or Scripted()}, tmp_path / "out", gate=gate, **more)

    return run_


def notes(out: Path) -> dict:
    return json.loads((out / "dataset.json").read_text())["notes"]


def test_images_that_help_are_in_the_dataset_under_its_own_class_names(run, parts, tmp_path):
    done = run(gate=gate_of("kept"))
    ready = load_dataset(tmp_path / "out/dataset")
    assert done.kept
    assert (len(ready.normal), len(ready.anomalous), ready.classes) == (8, 6, ("Scratch",))
    assert sum(record.synthetic for record in ready.records) == 4
    assert ready.parent == parts.version
    assert ready.changes == ("added: 4 synthetic images of defects",)
    assert ready.notes["gate"]["decision"] == "kept"
    assert ready.notes["synthesis"]["outcomes"] == {"scratch": {"made": 4}}
    assert load_dataset(tmp_path / "out/dataset/dataset.manifest").classes == ("Scratch",)


@pytest.mark.parametrize("decision", ["dropped", "unmeasured"])
def test_images_that_do_not_help_are_not_and_both_folders_say_so(run, parts, tmp_path, decision):
    done = run(gate=gate_of(decision))
    ready = load_dataset(tmp_path / "out/dataset")
    assert not done.kept
    assert not any(record.synthetic for record in ready.records)
    assert len(ready.records) == len(parts.records)
    assert notes(tmp_path / "out/dataset")["gate"]["decision"] == decision
    assert notes(tmp_path / "out/synthetic")["gate"]["decision"] == decision
    assert "as the test says" in (tmp_path / "out/synthetic/contact-sheet.html").read_text()


def test_images_can_be_kept_unasked_and_the_dataset_says_so(run, tmp_path):
    assert run().kept
    assert notes(tmp_path / "out/dataset")["gate"]["decision"] == "not asked"


def test_a_detector_validates_on_real_images_that_no_synthetic_one_was_made_from(run, parts, tmp_path):
    done = run(form="yolo", validation=0.3)
    trained = load_dataset(tmp_path / "out/dataset")
    validated = [record for record in trained.records if record.path.parent.name == "val"]
    digests = {trained.digest(record.path) for record in validated}
    assert len(validated) >= 2
    assert not any(record.synthetic for record in validated)
    assert all(digests.isdisjoint(record.made_from) for record in trained.records)
    # Nothing was made in vain, and what is trained on is balanced
    learnt = [record for record in trained.anomalous if record not in validated]
    assert (len(learnt), done.left_out) == (6, ())
    assert sum(record.synthetic for record in learnt) == done.summary.made


def test_what_the_form_cannot_say_is_refused_before_any_work(run, parts, tmp_path):
    unmasked = parts.select([replace(record, mask=None) for record in parts.records])
    renderer = Scripted()
    with pytest.raises(InputError, match="all defects a mask"):
        run(renderer, real=unmasked, form="coco")
    assert renderer.requests == []
    assert len(run(real=unmasked, form="coco", skip_unmasked=True).left_out) == 2


def test_a_failing_service_stops_it_and_the_same_command_goes_on(run, tmp_path):
    with pytest.raises(ServiceError, match="1 of 4 pictures are still to be made"):
        run(Scripted(script=raising(ServiceError("no access"))), gate=gate_of("kept"))
    assert not (tmp_path / "out/dataset").exists()
    assert run(gate=gate_of("kept")).summary.made == 4


def test_a_finished_dataset_is_not_overwritten(run):
    run()
    renderer = Scripted()
    with pytest.raises(InputError, match="without a finished dataset"):
        run(renderer)
    assert renderer.requests == []


def test_a_plan_of_another_dataset_is_refused(parts, tmp_path):
    plan = plan_balance(parts.select(parts.records[1:]), 6)
    with pytest.raises(InputError, match="Plan again"):
        balance(parts, plan, {}, tmp_path / "out", gate=None)


def test_an_interrupted_export_is_no_finished_dataset(run, tmp_path, monkeypatch):
    copy = exports.shutil.copyfile

    def full(source, target):
        if "5" in target.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return copy(source, target)

    monkeypatch.setattr(exports.shutil, "copyfile", full)
    with pytest.raises(InputError, match="No space left"):
        run()
    assert not (tmp_path / "out/dataset").exists()
    monkeypatch.setattr(exports.shutil, "copyfile", copy)
    assert len(load_dataset(run().file).records) == 14
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"dataset", "synthetic"}


def test_pictures_without_masks_are_not_made_for_a_form_that_needs_them(parts, tmp_path):
    plan = plan_balance(parts, 6, renderer="bedrock-zero-shot")
    renderer = Scripted("bedrock-zero-shot", needs_photo=False)
    with pytest.raises(InputError, match="takes defects without a mask"):
        balance(parts, plan, {"bedrock-zero-shot": renderer}, tmp_path / "out", gate=None, form="coco")
    assert renderer.requests == []
