"""The contract of ONNX detectors: small graphs whose answers are known, fed and read as their cards say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError

from defectory.detection.detectors.boxes import overlaps, suppress
from defectory.detection.detectors.card import DetectedClass, DetectorCard, InputSpec, OutputSpec
from defectory.detection.detectors.decoding import prepare
from defectory.detection.detectors.detector import CARD, MODEL, Detector, assemble, load_detector
from defectory.errors import InputError
from defectory.inspection.bundle import BundleError, pack

QUERIES = OutputSpec(decoding="queries", scores="logits", boxes="pred_boxes", slots=("cone", "pallet"))
LABELLED = OutputSpec(decoding="labelled", scores="scores", boxes="boxes", labels="labels", slots=("cone", "pallet"))
STRETCHED = InputSpec(name="image", height=64, width=64)


def model(outputs: Mapping[str, Any], *, sized: bool = False, dynamic: bool = False) -> bytes:
    """A graph that answers ``outputs`` whatever it sees."""
    side = None if dynamic else 64
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])]
    if sized:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
    arrays = {
        name: np.asarray(values, np.int64 if name == "labels" else np.float32)[None] for name, values in outputs.items()
    }
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}.value"], [name]) for name in arrays],
        "answers",
        inputs,
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape)
            for name, values in arrays.items()
        ],
        [numpy_helper.from_array(values, f"{name}.value") for name, values in arrays.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()  # fmt: skip


def card(output: OutputSpec = QUERIES, spec: InputSpec = STRETCHED, **changes: Any) -> DetectorCard:
    classes = tuple(DetectedClass(name=name) for name in ("cone", "pallet"))
    return DetectorCard(created="2026-11-28", kind="onnx", classes=classes, input=spec, output=output, **changes)


def found(detector: Detector, width: int = 200, height: int = 100, **how: Any) -> list[tuple[str, float, list[float]]]:
    detections = detector.detect(np.zeros((height, width, 3), np.uint8), **how)
    return [(item.label, round(item.score, 3), np.round(item.box, 2).tolist()) for item in detections]


def test_queries_are_shares_of_a_stretched_input() -> None:
    answers = {
        "logits": [[2.0, -9], [-9, 3.0], [-9, -9]],
        "pred_boxes": [[0.5, 0.5, 0.2, 0.4], [0.1, 0.2, 0.2, 0.4], [0.5] * 4],
    }

    detector = assemble(card(), model(answers))

    # sigmoid(3) and sigmoid(2); the boxes of 200 x 100 pixels
    assert found(detector) == [("pallet", 0.953, [0, 0, 40, 40]), ("cone", 0.881, [80, 30, 40, 40])]


def test_a_fitted_input_is_filled_up_and_boxes_leave_the_filling_out() -> None:
    spec = InputSpec(name="image", height=64, width=64, resize="fit", multiple=32, fill=255)
    tall = np.zeros((100, 40, 3), np.uint8)

    prepared = prepare(tall, spec)

    # 100 x 40 becomes 64 x 26, filled up to 64 x 32.
    assert prepared.tensor.shape == (1, 3, 64, 32)
    assert prepared.tensor[0, 0, :, :26].max() == 0 and prepared.tensor[0, 0, :, 26:].min() == 1
    answers = {"logits": [[9.0, -9]], "pred_boxes": [[0.5, 0.5, 0.5, 0.5]]}
    detector = assemble(card(spec=spec), model(answers, dynamic=True))
    # Of an input of 32 x 64: 8..24 x 16..48; a pixel of the image is 26 / 40 and 64 / 100 wide and high.
    expected = [8 / 0.65, 16 / 0.64, 16 / 0.65, 32 / 0.64]
    assert found(detector, 40, 100) == [("cone", 1.0, np.round(expected, 2).tolist())]


def test_pixels_are_normalised_by_the_cards_mean_and_deviation() -> None:
    spec = InputSpec(name="image", height=8, width=8, mean=(0.5, 0.0, 1.0), std=(0.5, 1.0, 2.0))

    prepared = prepare(np.full((8, 8, 3), 255, np.uint8), spec)

    assert prepared.tensor[0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]


def test_labelled_answers_of_a_model_that_is_told_the_images_size() -> None:
    spec = InputSpec(name="image", height=64, width=64, size_name="orig_target_sizes")
    answers = {
        "scores": [0.9, 0.6, 0.8],
        "labels": [1, 0, 5],
        "boxes": [[10, 20, 50, 40], [0, 0, 300, 9], [0, 0, 9, 9]],
    }

    detector = assemble(card(LABELLED, spec), model(answers, sized=True))

    # A label that is no class is none, and a box ends where the image does.
    assert found(detector) == [("pallet", 0.9, [10, 20, 40, 20]), ("cone", 0.6, [0, 0, 200, 9])]


def test_labelled_answers_in_pixels_of_the_input() -> None:
    answers = {"scores": [0.9], "labels": [0], "boxes": [[16, 16, 32, 48]]}

    assert found(assemble(card(LABELLED), model(answers))) == [("cone", 0.9, [50, 25, 50, 50])]


def test_an_image_pyramid_is_looked_at_scale_by_scale() -> None:
    spec = InputSpec(name="image", height=64, width=64, resize="fit", multiple=32)
    answers = {"logits": [[9.0, -9]], "pred_boxes": [[0.5, 0.5, 0.5, 0.5]]}

    detector = assemble(card(spec=spec, scales=(1.0, 2.0)), model(answers, dynamic=True))

    # 100 x 40 becomes 64 x 26, filled up to 64 x 32; and 128 x 51, filled up to 128 x 64.
    boxes = [item[2] for item in found(detector, 40, 100)]
    assert boxes == [
        np.round([8 / 0.65, 16 / 0.64, 16 / 0.65, 32 / 0.64], 2).tolist(),
        np.round([16 / (51 / 40), 32 / 1.28, 32 / (51 / 40), 64 / 1.28], 2).tolist(),
    ]


def test_a_slot_without_a_class_is_background() -> None:
    output = QUERIES.model_copy(update={"slots": ("pallet", "", "cone")})
    answers = {"logits": [[-9, 9, 1.0]], "pred_boxes": [[0.5, 0.5, 0.2, 0.4]]}

    assert found(assemble(card(output), model(answers))) == [("cone", 0.731, [80, 30, 40, 40])]


def test_classes_have_thresholds_and_curves_of_their_own() -> None:
    classes = (
        DetectedClass(name="cone", threshold=0.9, slope=2.0, intercept=-1.0),
        DetectedClass(name="pallet", threshold=0.5),
    )
    answers = {
        "logits": [[1.0, -9], [2.0, -9], [-9, 0.1]],
        "pred_boxes": [[0.2, 0.5, 0.1, 0.1], [0.5, 0.5, 0.1, 0.1], [0.8, 0.5, 0.1, 0.1]],
    }

    detector = assemble(card().model_copy(update={"classes": classes}), model(answers))

    # sigmoid(2 * 1 - 1) = 0.731 is below 0.9, sigmoid(2 * 2 - 1) = 0.953 is not.
    assert [item[:2] for item in found(detector)] == [("cone", 0.953), ("pallet", 0.525)]
    assert [item[:2] for item in found(detector, min_score=0.6)] == [("cone", 0.953), ("cone", 0.731)]


def test_of_boxes_that_overlap_the_best_of_a_class_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 5], [20, 0, 30, 10]], np.float32)
    scores = np.array([0.5, 0.9, 0.8, 0.1], np.float32)

    assert overlaps(boxes[:1], boxes)[0].tolist() == pytest.approx([1, 0.9, 0.5, 0])
    assert suppress(boxes, scores, 0.6).tolist() == [1, 2, 3]
    assert suppress(boxes, scores, 0.5).tolist() == [1, 3]
    assert suppress(boxes, scores, 1.0).tolist() == [1, 2, 0, 3]
    answers = {"logits": [[1.0, -9], [2.0, -9], [-9, 1.5]], "pred_boxes": [[0.5, 0.5, 0.2, 0.4]] * 3}
    labels = [item[0] for item in found(assemble(card(nms_iou=0.5), model(answers)))]
    assert labels == ["cone", "pallet"]


def test_no_more_is_reported_than_the_card_says() -> None:
    answers = {"logits": [[1.0, 1.0]] * 9, "pred_boxes": [[0.1 * place, 0.5, 0.05, 0.1] for place in range(1, 10)]}

    assert len(found(assemble(card(most_detections=5), model(answers)))) == 5


def test_boxes_that_are_none_are_not_reported() -> None:
    answers = {
        "logits": [[9.0, -9]] * 4,
        "pred_boxes": [[0.5, 0.5, 0, 0.1], [0.5, 0.5, -0.2, 0.1], [2, 2, 0.1, 0.1], [np.nan] * 4],
    }

    assert found(assemble(card(), model(answers))) == []


def test_a_bundle_comes_back_as_it_was(tmp_path) -> None:
    answers = {"logits": [[2.0, -9]], "pred_boxes": [[0.5, 0.5, 0.2, 0.4]]}
    detector = assemble(card(), model(answers))

    path = detector.save(tmp_path / "detector.tar.gz")

    assert load_detector(path).card == detector.card
    assert found(load_detector(path)) == found(detector)
    assert path.read_bytes() == load_detector(path).to_bytes()


def test_a_bundle_made_before_cards_had_sketches_is_still_itself() -> None:
    detector = assemble(card(), model({"logits": [[2.0, -9]], "pred_boxes": [[0.5, 0.5, 0.2, 0.4]]}))
    assert "sketch" not in json.loads(detector.files()[CARD])
    again = load_detector(detector.to_bytes())
    assert (again.card.sketch, again.to_bytes()) == ("", detector.to_bytes())


def changed_card(detector: Detector, **changes: Any) -> bytes:
    files = detector.files()
    return pack({**files, CARD: json.dumps(json.loads(files[CARD]) | changes).encode()})


def test_an_altered_or_foreign_bundle_is_refused() -> None:
    answers = {"logits": [[2.0, -9]], "pred_boxes": [[0.5, 0.5, 0.2, 0.4]]}
    detector = assemble(card(), model(answers))
    other = model({"logits": [[1.0, -9]], "pred_boxes": [[0.5, 0.5, 0.2, 0.4]]})

    for content, message in (
        (changed_card(detector, nms_iou=0.4), "unaltered"),
        (changed_card(detector, nms_iou=4), "valid detector.json"),
        (changed_card(detector, format=9), "format 1"),
        (pack({**detector.files(), MODEL: other}), "unaltered"),
        (pack({CARD: detector.files()[CARD]}), "holds detector.onnx"),
        (pack({"model.json": b"{}"}), "own files"),
        (b"none", "model"),
    ):
        with pytest.raises(BundleError, match=message):
            load_detector(content)


@pytest.mark.parametrize(
    ("output", "spec", "message"),
    [
        (QUERIES.model_copy(update={"boxes": "boxes"}), STRETCHED, "outputs"),
        (QUERIES, STRETCHED.model_copy(update={"name": "images"}), "inputs"),
        (QUERIES, STRETCHED.model_copy(update={"size_name": "orig_target_sizes"}), "inputs"),
    ],
    ids=["output", "input", "size"],
)
def test_a_model_that_is_not_as_its_card_says_is_refused(output: OutputSpec, spec: InputSpec, message: str) -> None:
    answers = {"logits": [[2.0, -9]], "pred_boxes": [[0.5, 0.5, 0.2, 0.4]]}

    with pytest.raises(BundleError, match=message):
        assemble(card(output, spec), model(answers))


def test_a_model_that_answers_other_than_its_card_says_is_told_of() -> None:
    detector = assemble(card(), model({"logits": [[2.0, -9, 1]], "pred_boxes": [[0.5, 0.5, 0.2, 0.4]]}))

    with pytest.raises(InputError, match=r"output logits has the shape \(1, n, 2\)"):
        found(detector)


def test_a_model_whose_weights_are_elsewhere_is_refused() -> None:
    graph = onnx.load_from_string(model({"logits": [[2.0, -9]], "pred_boxes": [[0.5, 0.5, 0.2, 0.4]]}))
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")

    with pytest.raises(BundleError, match="weights inside"):
        assemble(card(), graph.SerializeToString())


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_only_rgb_images_are_looked_at(image: np.ndarray) -> None:
    detector = assemble(card(), model({"logits": [[2.0, -9]], "pred_boxes": [[0.5, 0.5, 0.2, 0.4]]}))

    with pytest.raises(InputError, match="uint8 RGB"):
        detector.detect(image)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": (DetectedClass(name="cone"), DetectedClass(name="cone"))}, "named once"),
        ({"classes": (DetectedClass(name="cone"),)}, "one slot"),
        ({"output": {**QUERIES.model_dump(), "labels": "labels"}}, "labels named"),
        ({"input": {**STRETCHED.model_dump(), "std": (1, 0, 1)}}, "std above 0"),
        ({"scales": (1, 2)}, "fit"),
    ],
    ids=["twice", "slots", "labels", "std", "scales"],
)
def test_a_card_that_contradicts_itself_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DetectorCard.model_validate({**card().model_dump(), **changes})
