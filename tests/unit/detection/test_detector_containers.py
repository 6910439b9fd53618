"""The entry points of a detector's containers, as processes that have what a container has: nothing else installed."""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from defectory.detection.detectors.detector import DetectionReply, Detector, load_detector
from defectory.detection.gate import DetectorComparison
from defectory.detection.labelled import open_labelled
from defectory.errors import InputError
from defectory.inspection.gate import read_comparison
from defectory.inspection.hosting import parse_choice
from defectory.vision.images import load_image
from tests.support.constant_detector import constant_detector
from tests.support.containers import ROOT, await_model, call, link_libraries, run_endpoint, run_job, unpack_source
from tests.support.shape_scenes import write_scenes

LABELS = ("safety_cone", "trash_can")
OPTIONS = {"options": {"side": 128, "scales": [1], "most_images": 4}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_source(
        "detector", ("train.py", "evaluate.py", "inference.py"), tmp_path_factory.mktemp("opt-ml") / "source"
    )


@pytest.fixture(scope="module")
def scenes(source: Path) -> Path:
    return write_scenes(source.parent / "scenes", 5, "train", size=128, labels=LABELS)


@pytest.fixture(scope="module")
def training_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("more")
    return link_libraries(folder, "detector", "requirements.txt", "requirements-training.txt")


@pytest.fixture(scope="module")
def trained(source: Path, training_libraries: Path, scenes: Path) -> Path:
    """The model folder that a training job left."""
    # As in AWS, where the channel "source" brings the program.
    channels = {"train": scenes, "source": source}
    done = run_job(source / "train.py", training_libraries, source.parent / "model", OPTIONS, **channels)
    assert done.returncode == 0, done.stderr
    return source.parent / "model"


@pytest.fixture(scope="module")
def detector(trained: Path) -> Detector:
    return load_detector(trained)


def load_program(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An entry point as a module, as the toolkit loads it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location(name, ROOT / "models" / "detector" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


def test_a_training_job_leaves_a_detector_and_the_code_that_serves_it(trained: Path, detector: Detector) -> None:
    assert (trained / "code" / "inference.py").is_file()
    assert (trained / "code" / "defectory" / "detection" / "serving.py").is_file()
    assert not (trained / "code" / "train.py").exists()
    assert (detector.card.names, detector.card.training["images"]) == (LABELS, 4)


def test_the_endpoint_finds_what_the_library_finds(
    trained: Path, detector: Detector, scenes: Path, tmp_path: Path
) -> None:
    photo = scenes / "images" / "train-00000.png"
    image = load_image(photo)
    expected = detector.reply(image, min_score=0)
    with run_endpoint(trained, link_libraries(tmp_path, "detector", "requirements.txt")) as endpoint:
        await_model(endpoint)
        png = {"Content-Type": "image/png"}
        status, content = call(endpoint, "POST", "/invocations?min_score=0", photo.read_bytes(), png)
        refused, _ = call(endpoint, "POST", "/invocations", b"GIF89a", png)
    assert (status, refused) == (200, 400)
    assert expected.detections
    assert DetectionReply.model_validate_json(content) == expected


def test_an_evaluation_compares_both_detectors_on_the_test_set_and_leaves_their_pages(
    source: Path, training_libraries: Path, trained: Path, scenes: Path, tmp_path: Path
) -> None:
    test = write_scenes(tmp_path / "test", 3, "test", size=128, labels=LABELS)
    # Of the second channel that was learned from, every image is in the test set.
    channels = {"train": scenes, "more": test, "test": test}
    for name, detector in (("candidate", load_detector(trained)), ("current", constant_detector())):
        (tmp_path / name).mkdir()
        channels[name] = detector.save(tmp_path / name / "model.tar.gz").parent

    done = run_job(source / "evaluate.py", training_libraries, tmp_path / "model", **channels)

    assert done.returncode == 0, done.stderr
    comparison = read_comparison(DetectorComparison, (tmp_path / "model" / "evaluation.json").read_bytes())
    assert (comparison.origin, len(comparison.trained_on_test)) == ("synthetic", 3)
    # The current one knows "cone" alone, which is no class of these.
    assert comparison.current is not None
    assert (comparison.current.model_version, comparison.current.map50) == (constant_detector().card.version, None)
    page = tmp_path / "model-output" / "data" / "candidate"
    evaluation = json.loads((page / "evaluation.json").read_text())
    assert comparison.candidate.map50 == evaluation["map50"]
    assert (comparison.candidate.images, (page / "report.html").is_file()) == (3, True)


def test_images_are_known_again_by_their_content(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = load_program("evaluate", monkeypatch)
    learned = open_labelled(scenes)
    other = open_labelled(write_scenes(tmp_path / "test", 2, "test", size=128, labels=LABELS))
    assert program.shared_images([learned], other) == ()
    assert len(program.shared_images([other, learned], learned)) == 5
    assert program.digest_of(learned) == program.digest_of(open_labelled(scenes)) != program.digest_of(other)


def test_every_channel_is_learned_from_and_a_job_that_fails_leaves_its_reason(
    source: Path, training_libraries: Path, scenes: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    channels = {"train": scenes, "photos": tmp_path / "photos"}
    done = run_job(source / "train.py", training_libraries, tmp_path / "model", OPTIONS, **channels)
    reason = (tmp_path / "model-output" / "failure").read_text()
    assert done.returncode == 2
    assert "channel photos" in reason and reason in done.stderr
    assert "Traceback" not in done.stderr


def test_options_that_are_none_are_named(source: Path, training_libraries: Path, scenes: Path, tmp_path: Path) -> None:
    options = {"options": {"sides": 128}}
    done = run_job(source / "train.py", training_libraries, tmp_path / "model", options, train=scenes)
    assert done.returncode == 2
    assert "options.sides" in (tmp_path / "model-output" / "failure").read_text()


def test_an_image_goes_through_all_four_functions_of_the_toolkit(
    trained: Path, detector: Detector, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = load_program("inference", monkeypatch)
    photo = scenes / "images" / "train-00000.png"

    reply = program.predict_fn(program.input_fn(photo.read_bytes(), "image/png"), program.model_fn(str(trained)))
    content, media_type = program.output_fn(reply, "*/*")

    lines = b"\n".join(
        json.dumps({"image_id": name, "image": base64.b64encode(content).decode()}).encode()
        for name, content in (("a", photo.read_bytes()), ("b", b"none"))
    )
    read = program.input_fn(lines, "application/jsonlines")
    many, lines_type = program.output_fn(program.predict_fn(read, program.model_fn(str(trained))), "*/*")

    image = load_image(photo)
    first, second = map(json.loads, many.splitlines())
    assert lines_type == "application/jsonlines"
    assert first == {"image_id": "a", **detector.reply(image).model_dump(mode="json")}
    assert second["error"]["code"] == "BadImage"
    assert media_type == "application/json"
    assert json.loads(content) == detector.reply(image).model_dump(mode="json")


def test_a_hyperparameter_of_few_values_is_one_of_them() -> None:
    trainers = ("ridge", "dfine")
    assert parse_choice({}, "trainer", trainers) == "ridge"
    assert parse_choice({"SM_HPS": '{"trainer": "dfine"}'}, "trainer", trainers) == "dfine"
    with pytest.raises(InputError, match="trainer: must be one of ridge, dfine, got 'yolo'"):
        parse_choice({"SM_HPS": '{"trainer": "yolo"}'}, "trainer", trainers)
