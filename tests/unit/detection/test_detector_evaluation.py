"""The evaluation of detectors: figures that a person can check, and its page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defectory.datasets.boxes import BoxProblem
from defectory.detection.detectors.card import DetectedClass, DetectorCard, InputSpec, OutputSpec
from defectory.detection.detectors.detector import Detection
from defectory.detection.evaluation.evaluate import Problems, evaluate_detector
from defectory.detection.evaluation.report import write_report
from defectory.detection.evaluation.results import DetectionEvaluation
from defectory.detection.labelled import open_labelled
from defectory.errors import InputError

NAMES = ("cone", "pallet")
SIZE = 200


@dataclass
class Scripted:
    """A detector that says of each image what it is told to; an image's first pixel is its number."""

    answers: dict[int, Sequence[tuple[str, float, tuple[float, float, float, float]]]]
    threshold: float = 0.5

    @property
    def card(self) -> DetectorCard:
        return DetectorCard(
            version="v1", created="", kind="onnx", input=InputSpec(name="x", height=8, width=8),
            classes=tuple(DetectedClass(name=name, threshold=self.threshold) for name in NAMES),
            output=OutputSpec(decoding="queries", scores="s", boxes="b", slots=NAMES),
        )  # fmt: skip

    def detect(self, image: np.ndarray, *, min_score: float | None = None) -> tuple[Detection, ...]:
        answers = self.answers.get(int(image[0, 0, 0]), ())
        return tuple(Detection(label=label, score=score, box=box) for label, score, box in answers)


def dataset(folder: Path, rows: Sequence[str], names: Sequence[str] = NAMES) -> Path:
    """A YOLO folder of images of 200 x 200 pixels; ``rows`` are each one's labels, in pixels: class l t w h."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "classes.txt").write_text("\n".join(names))
    for number, row in enumerate(rows):
        pixels = np.full((SIZE, SIZE, 3), 90, np.uint8)
        pixels[0, 0] = number
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
        lines = []
        for part in filter(None, row.split(";")):
            label, left, top, width, height = map(float, part.split())
            shares = (left + width / 2) / SIZE, (top + height / 2) / SIZE, width / SIZE, height / SIZE
            lines.append(f"{int(label)} " + " ".join(map(str, shares)))
        (folder / f"labels/{number}.txt").write_text("\n".join(lines))
    return folder


def evaluate(tmp_path: Path, detector: Scripted, folder: Path, **how: object) -> DetectionEvaluation:
    return evaluate_detector(detector, open_labelled(folder), tmp_path / "out", **how)  # type: ignore[arg-type]


def test_figures_at_the_operating_point_are_counted_by_hand(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set", ["0 10 10 20 20;1 100 100 50 50", "0 10 10 20 20", ""])
    detector = Scripted(
        {
            0: [("cone", 0.9, (10, 10, 20, 20)), ("pallet", 0.4, (100, 100, 50, 50))],
            1: [("cone", 0.8, (100, 100, 20, 20))],
            2: [("cone", 0.7, (10, 10, 20, 20))],
        }
    )

    evaluation = evaluate(tmp_path, detector, folder)

    assert (evaluation.origin, evaluation.images, evaluation.objects) == ("real", 3, 3)
    cone, pallet = evaluation.classes
    # One of two cones is found, with two false alarms; recall to 0.5 at precision 1.
    assert (cone.reported, cone.found, cone.precision.value, cone.recall.value) == (3, 1, pytest.approx(1 / 3), 0.5)  # type: ignore[union-attr]
    assert cone.ap50 == pytest.approx(51 / 101)
    # The pallet is found, but below its threshold.
    assert pallet.ap50 == pytest.approx(1)
    assert (pallet.reported, pallet.found, pallet.precision) == (0, 0, None)
    assert evaluation.map50 == pytest.approx((51 / 101 + 1) / 2)
    assert (evaluation.missed, evaluation.false) == (2, 2)
    groups = {(item.condition, item.group): item for item in evaluation.groups}
    assert groups["size", "small"].recall.value == 0.5  # type: ignore[union-attr]
    assert groups["size", "medium"].recall.value == 0.0  # type: ignore[union-attr]
    assert {item.condition for item in evaluation.groups} == {"size"}


@pytest.mark.parametrize(
    ("answer", "miss", "alarm"),
    [
        ([], "not seen", None),
        ([("cone", 0.3, (10, 10, 20, 20))], "below the threshold", None),
        ([("cone", 0.9, (10, 18, 20, 20))], "box off", "box off"),
        ([("pallet", 0.9, (10, 10, 20, 20))], "taken for another class", "another class"),
        ([("cone", 0.9, (10, 10, 20, 20)), ("cone", 0.8, (10, 11, 20, 20))], None, "found twice"),
        ([("cone", 0.9, (10, 10, 20, 20)), ("cone", 0.8, (90, 90, 20, 20))], None, "nothing there"),
    ],
    ids=["nothing", "low", "off", "other", "twice", "nowhere"],
)
def test_each_miss_and_false_alarm_has_its_reason(
    tmp_path: Path, answer: list[tuple[str, float, tuple[float, float, float, float]]], miss: str, alarm: str
) -> None:
    evaluation = evaluate(tmp_path, Scripted({0: answer}), dataset(tmp_path / "set", ["0 10 10 20 20"]))

    assert [item.reason for item in evaluation.misses] == ([miss] if miss else [])
    assert [item.reason for item in evaluation.false_alarms] == ([alarm] if alarm else [])


def test_a_looser_overlap_counts_at_the_operating_point_alone(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set", ["0 10 10 20 20"])

    # Overlap 1/3
    evaluation = evaluate(tmp_path, Scripted({0: [("cone", 0.9, (10, 20, 20, 20))]}), folder, iou=0.3)

    assert (evaluation.map50, evaluation.map_iou, evaluation.missed) == (0.0, pytest.approx(1), 0)


def test_classes_of_one_side_alone_are_in_no_figure(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set", ["0 10 10 20 20;1 60 60 20 20"], ("cone", "mask"))
    detector = Scripted({0: [("cone", 0.9, (10, 10, 20, 20)), ("pallet", 0.9, (60, 60, 20, 20))]})

    evaluation = evaluate(tmp_path, detector, folder)

    assert [item.name for item in evaluation.classes] == ["cone"]
    assert (evaluation.map50, evaluation.missed, evaluation.false) == (pytest.approx(1), 0, 0)
    assert evaluation.unknown_classes == {"mask": 1}
    renamed = open_labelled(folder).rename({"mask": "pallet", "cone": ""})
    again = evaluate_detector(detector, renamed, tmp_path / "again")  # type: ignore[arg-type]
    assert again.by_class() == {"pallet": pytest.approx(1)}
    with pytest.raises(InputError, match="--map"):
        evaluate_detector(detector, open_labelled(folder).rename({"cone": "x", "mask": "y"}), tmp_path / "none")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="of the classes of"):
        open_labelled(folder).rename({"Cone": "cone"})


def test_a_class_may_count_only_where_it_is_labelled(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set", ["0 10 10 20 20", "1 10 10 20 20"])
    detector = Scripted({number: [("cone", 0.9, (10, 10, 20, 20))] for number in range(2)})

    assert evaluate(tmp_path, detector, folder).false == 1
    assert evaluate(tmp_path, detector, folder, only_labelled=True).false == 0


def test_what_cannot_be_used_is_counted_and_told_of(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set", ["0 10 10 20 20;0 10 10 20 20", ""])
    broken = folder / "images/1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    problems = Problems()

    evaluation = evaluate_detector(
        Scripted({}), open_labelled(folder, on_problem=problems), tmp_path / "out", problems=problems  # type: ignore[arg-type]
    )  # fmt: skip

    assert {item.kind: item.count for item in evaluation.left_out} == {"duplicate": 1, "missing image": 1}
    assert evaluation.images == 1


def test_scenes_are_synthetic_and_have_conditions(tmp_path: Path) -> None:
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "a.png")
    item = {"label": "cone", "box": [10, 10, 20, 20], "runs": [], "area": 300, "visible": 0.5, "truncated": 0.1}
    line = {
        "image_id": "a", "file": "a.png", "width": SIZE, "height": SIZE, "split": "test", "objects": [item],
        "conditions": {"light": "dim"}, "layout": {"image_id": "a", "size": [SIZE, SIZE]},
    }  # fmt: skip
    (tmp_path / "scenes.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "classes.json").write_text('["cone"]')

    evaluation = evaluate(tmp_path, Scripted({}), tmp_path)

    assert evaluation.origin == "synthetic"
    groups = {item.condition: item.group for item in evaluation.groups}
    assert (
        groups["light"] == "dim"
        and "less than 60 %" in groups["visible share"]
        and "less than 30 %" in groups["truncation"]
    )
    assert "synthetic scenes" in write_report(evaluation, tmp_path / "out").read_text()


def test_the_page_shows_what_went_wrong_and_takes_no_orders(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "set", ["0 10 10 20 20;2 60 60 20 20"], ("cone", "pallet", "<i>mask"))
    detector = Scripted({0: [("pallet", 0.9, (100, 100, 20, 20))]})

    evaluation = evaluate(tmp_path, detector, folder)
    page = write_report(evaluation, tmp_path / "out").read_text()

    assert "real photos" in page and "not seen" in page and "nothing there" in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert "<script" not in page and "://" not in page
    assert "&lt;i&gt;mask (1)" in page and "<i>mask" not in page
    stored = DetectionEvaluation.model_validate_json((tmp_path / "out/evaluation.json").read_bytes())
    assert stored == evaluation
    (tmp_path / "out/pictures/miss-001.jpg").unlink()
    with pytest.raises(InputError, match="evaluate"):
        write_report(evaluation, tmp_path / "out")


def test_problems_keep_the_first_of_each_kind() -> None:
    problems = Problems()
    for place in ("a", "b"):
        problems(BoxProblem(place, "empty", "x"))

    [item] = problems.left_out()

    assert (item.count, item.example) == (2, "a: x")
