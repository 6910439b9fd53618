"""Evaluation: what is counted, what is left out, and the files that say so."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from defectory.datasets import Dataset, ImageRecord, load_dataset
from defectory.errors import InputError
from defectory.inspection.evaluation.evaluate import evaluate
from defectory.inspection.evaluation.results import read_evaluation
from defectory.vision.images import load_image
from tests.support.scripted_inspection import (
    HEIGHT,
    HOSTILE,
    WIDTH,
    ScriptedModel,
    write_dataset,
    write_image,
    write_mask,
)


def test_verdicts_are_counted_against_the_truth(evaluated):
    metrics = evaluated.evaluation.metrics
    assert (metrics.normal.passed, metrics.normal.review, metrics.normal.failed) == (2, 1, 1)
    assert (metrics.anomaly.passed, metrics.anomaly.review, metrics.anomaly.failed) == (2, 1, 3)
    assert metrics.precision.value == metrics.recall.value + 0.25 == 0.75
    assert metrics.f1.value == pytest.approx(0.6)
    assert metrics.escapes.value == pytest.approx(2 / 6)
    assert metrics.overkill.value == metrics.overkill.n / 16 == 0.25
    assert metrics.review.value == 0.2
    # Of the 24 pairs of good and bad, those in the wrong order: 0.65 > 0.45 0.58 0.2, 0.55 > 0.45 0.2, 0.3 > 0.2.
    assert metrics.auroc.value == pytest.approx(18 / 24)


def test_recall_by_defect_shows_the_most_missed_first(evaluated):
    dent, scratch = sorted(evaluated.evaluation.defects, key=lambda each: each.name == "scratch")
    assert (dent.name, scratch.name) == (HOSTILE, "scratch")
    assert (dent.recall.value, dent.caught.value) == pytest.approx((1 / 3, 2 / 3))
    assert (scratch.recall.value, scratch.caught.value) == pytest.approx((2 / 3, 2 / 3))
    assert evaluated.evaluation.defects[0].outcomes.passed == 1


def test_masks_are_compared_pixel_by_pixel(evaluated):
    pixels = evaluated.evaluation.pixels
    assert pixels.masks == 3
    assert pixels.iou.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert (pixels.precision, pixels.recall) == pytest.approx((1, 300 / 600))
    # Pixels found rank above all others; of the missed ones, half the pairs with the rest count.
    assert pixels.auroc.value == pytest.approx(0.75)
    (scratch,) = pixels.classes
    assert (scratch.name, scratch.iou, scratch.f1) == ("scratch", pytest.approx(0.5), pytest.approx(2 / 3))
    overlaps = {image.name: image.iou for image in evaluated.evaluation.images}
    assert overlaps["anomaly/scratch-2.png"] == 0.5
    assert overlaps["anomaly/dent-1.png"] is overlaps["normal/plain.png"] is None


def test_a_model_without_class_names_is_measured_on_any_defect(tmp_path):
    dataset = write_dataset(tmp_path)
    renamed = Dataset(
        tuple(replace(record, classes=("crack",)) if record.mask else record for record in dataset.records), tmp_path
    )
    pixels = evaluate(ScriptedModel(), renamed, tmp_path / "out").pixels
    assert [each.name for each in pixels.classes] == ["anomaly"]
    assert pixels.classes[0].iou == pytest.approx(0.5)


def test_evaluation_survives_its_file(evaluated):
    assert read_evaluation(evaluated.folder) == evaluated.evaluation


def test_an_evaluation_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="defectory inspect evaluate"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"version": 1}')
    with pytest.raises(InputError, match="created"):
        read_evaluation(tmp_path)


def test_what_cannot_be_measured_is_named(tmp_path):
    good, bad = write_image(tmp_path / "good.png", 0.1), write_image(tmp_path / "bad.png", 0.9)
    (tmp_path / "broken.png").write_bytes(good.read_bytes()[:80])
    turned = write_mask(tmp_path / "turned.png", slice(5, 20), (WIDTH, HEIGHT))
    records = (
        ImageRecord(good, "normal"),
        ImageRecord(bad, "anomaly", mask=turned),
        ImageRecord(good, "normal", synthetic=True),
        ImageRecord(bad),
        ImageRecord(tmp_path / "broken.png", "anomaly"),
        ImageRecord(tmp_path / "gone.png", "normal"),
    )
    steps = []
    evaluation = evaluate(
        ScriptedModel(),
        Dataset(records, tmp_path),
        tmp_path / "out",
        on_progress=lambda progress: steps.append((progress.done, progress.total)),
    )
    left_out = [(each.name, each.kind) for each in evaluation.left_out]
    assert left_out == [
        ("good.png", "synthetic"),
        ("bad.png", "unlabelled"),
        ("bad.png", "mask"),
        ("broken.png", "unreadable"),
        ("gone.png", "unreadable"),
    ]
    assert "48 x 64 for an image of 64 x 48" in evaluation.left_out[2].reason
    assert evaluation.is_partial
    assert evaluation.pixels is None
    assert [image.name for image in evaluation.images] == ["good.png", "bad.png"]
    assert evaluation.dataset_version == Dataset(records[:2], tmp_path).version
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_dataset_without_a_usable_image_is_refused(tmp_path):
    image = write_image(tmp_path / "new.png", 0.1)
    with pytest.raises(InputError, match=r"new.png has no label.*datasets check"):
        evaluate(ScriptedModel(), Dataset((ImageRecord(image),), tmp_path), tmp_path / "out")


def test_good_images_alone_give_overkill_and_nothing_more(tmp_path):
    records = [ImageRecord(write_image(tmp_path / f"{n}.png", n / 10), "normal") for n in range(10)]
    metrics = evaluate(ScriptedModel(), Dataset(tuple(records), tmp_path), tmp_path / "out").metrics
    assert metrics.overkill.value == 0.4
    assert metrics.auroc is metrics.average_precision is metrics.recall is metrics.f1 is metrics.escapes is None


def test_lookouts_result_has_its_shape_and_our_figures(evaluated):
    result = json.loads((evaluated.folder / "EvaluationResult.json").read_text())
    details = result["EvaluationDetails"]
    assert (details["NumberOfTrainingImages"], details["NumberOfTestingImages"]) == (12, 10)
    assert set(details) == {"ModelArn", "EvaluationEndTimestamp", "NumberOfTrainingImages", "NumberOfTestingImages"}
    metrics = result["AggregatedEvaluationResults"]["Metrics"]
    classes = metrics.pop("PixelAnomalyClassMetrics")
    assert metrics == pytest.approx(
        {
            "ROCAUC": 0.75,
            "AveragePrecision": evaluated.evaluation.metrics.average_precision.value,
            "Precision": 0.75,
            "Recall": 0.5,
            "F1Score": 0.6,
        }
    )
    assert classes == [
        {
            "Precision": 1.0,
            "Recall": 0.5,
            "F1Score": pytest.approx(2 / 3),
            "AIOU": pytest.approx(0.5),
            "ClassName": "scratch",
        }
    ]
    assert isinstance(result["Version"], str)


def test_lookouts_manifest_is_the_truth_with_what_was_detected(evaluated):
    lines = [json.loads(line) for line in (evaluated.folder / "EvaluationManifest.json").read_text().splitlines()]
    assert len(lines) == 10
    by_source = {line["source-ref"]: line for line in lines}
    escaped = by_source["s3://b/dent-3.png"]
    assert (escaped["anomaly-label"], escaped["anomaly-label-metadata"]["class-name"]) == (1, "anomaly")
    assert escaped["anomaly-label-detected"] == 0
    detected = escaped["anomaly-label-detected-metadata"]
    assert set(detected) == {
        "class-name",
        "confidence",
        "type",
        "human-annotated",
        "creation-date",
        "job-name",
        "model-arn",
        "project-name",
        "model-version",
    }
    assert (detected["class-name"], detected["confidence"], detected["human-annotated"]) == (
        "normal",
        pytest.approx(0.9),
        "no",
    )
    assert (detected["project-name"], detected["model-version"]) == ("flange", "0123456789abcdef")
    colours = by_source["anomaly/scratch-1.png"]["anomaly-mask-ref-metadata"]["internal-color-map"].values()
    assert {colour["class-name"]: colour["hex-color"] for colour in colours} == {
        "BACKGROUND": "#000000",
        "scratch": "#ffffff",
    }


def test_the_manifest_is_a_dataset_again(evaluated, tmp_path):
    manifest = tmp_path / "again.manifest"
    manifest.write_bytes((evaluated.folder / "EvaluationManifest.json").read_bytes())
    again = load_dataset(manifest, images=evaluated.dataset.root)
    assert [record.label for record in again.records] == [record.label for record in evaluated.dataset.records]
    assert again.records[4].mask == evaluated.dataset.records[4].mask


def test_pictures_are_small_and_show_thin_scratches(tmp_path):
    photo = np.full((1000, 2000, 3), 120, np.uint8)
    Image.fromarray(photo).save(tmp_path / "big.png")
    mask = np.zeros((1000, 2000), np.uint8)
    mask[500:502, 100:1900] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    dataset = Dataset((ImageRecord(tmp_path / "big.png", "anomaly", mask=tmp_path / "mask.png"),), tmp_path)
    evaluate(ScriptedModel(), dataset, tmp_path / "out")
    assert load_image(tmp_path / "out" / "pictures" / "0001.jpg").shape == (200, 400, 3)
    shown = load_image(tmp_path / "out" / "pictures" / "0001-truth.png")[..., 0] > 0
    assert shown[100, 30:370].all()
    assert not shown[:98].any()
