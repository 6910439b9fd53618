"""Acceptance of painted scenes: a scripted detector, boxes whose overlaps a person can work out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from defectory.detection.detectors.detector import Detection
from defectory.detection.generative.acceptance import CheckedRenderer, accept
from defectory.detection.layouts.records import Layout, LayoutObject
from defectory.detection.scenes.acceptance import (
    ACCEPTANCE_FILE,
    JOURNAL_FILE,
    AcceptanceJournal,
    AcceptanceReport,
    CheckRecord,
    SceneRejectedError,
    publish_acceptance,
    read_checks,
    report_acceptance,
)
from defectory.errors import ContentFilteredError, InputError
from defectory.vision.images import is_blank

PICTURE = np.arange(100 * 200 * 3, dtype=np.uint32).astype(np.uint8).reshape(100, 200, 3)


class Sees:
    """A detector that sees what it was told, by falling score."""

    def __init__(self, *detections: tuple[str, float, tuple[float, ...]], classes=("cone", "person", "hat")) -> None:
        self.card = SimpleNamespace(version="v1", classes=tuple(SimpleNamespace(name=name) for name in classes))
        self.detections = tuple(Detection(label=label, score=score, box=box) for label, score, box in detections)

    def detect(self, image, *, min_score=None):
        return self.detections


def layout(*objects: LayoutObject, **changes) -> Layout:
    return Layout(**{"image_id": "a", "size": (200, 100), "objects": objects, **changes})


def cone(*box: float, label: str = "cone", **changes) -> LayoutObject:
    return LayoutObject(label=label, box=box, **changes)


def test_a_scene_is_accepted_with_the_boxes_that_the_detector_sees():
    # 20 x 40 asked, 20 x 30 of it seen: IoU 0.75; the second one is hit exactly.
    asked = layout(cone(10, 10, 20, 40), cone(100, 20, 30, 30))
    accepted = accept(PICTURE, asked, Sees(("cone", 0.9, (10, 20, 20, 30)), ("cone", 0.8, (100, 20, 30, 30))))

    assert accepted.is_usable
    assert [(item.label, item.box, item.area) for item in accepted.scene.objects] == [
        ("cone", (10, 20, 20, 30), 600),
        ("cone", (100, 20, 30, 30), 900),
    ]
    assert [item.iou for item in accepted.objects] == [0.75, 1.0]
    assert accepted.by_overlap == {("0", True): 2}


@pytest.mark.parametrize(
    ("top", "is_usable"),
    # Two boxes of 20 x 30, one moved down by d: IoU (30 - d) / (30 + d), which is 0.5 at d = 10.
    [(20, True), (20.5, False)],
)
def test_an_object_counts_from_the_least_iou_on(top, is_usable):
    accepted = accept(PICTURE, layout(cone(10, 10, 20, 30)), Sees(("cone", 0.9, (10, top, 20, 30))))

    assert accepted.is_usable is is_usable
    assert accepted.reason() == ("" if is_usable else "not painted as asked: 1 cone; painted unasked: 1 cone")


def test_one_detection_answers_for_one_object_and_the_surer_one_chooses_first():
    # The second detection overlaps both, but the first cone is taken by the surer one.
    asked = layout(cone(10, 10, 40, 40), cone(20, 10, 40, 40))
    both = accept(PICTURE, asked, Sees(("cone", 0.9, (10, 10, 40, 40)), ("cone", 0.8, (14, 10, 40, 40))))
    one = accept(PICTURE, asked, Sees(("cone", 0.9, (15, 10, 40, 40))))

    assert [item.accepted for item in both.objects] == [True, True]
    assert [item.accepted for item in one.objects] == [True, False]
    assert one.reason() == "not painted as asked: 1 cone"


def test_another_class_in_the_same_place_is_not_what_was_asked_for():
    accepted = accept(PICTURE, layout(cone(10, 10, 20, 30)), Sees(("person", 0.9, (10, 10, 20, 30))))

    assert accepted.outcome == "rejected"
    assert accepted.reason() == "not painted as asked: 1 cone; painted unasked: 1 person"


@pytest.mark.parametrize(
    ("box", "is_usable"),
    # A second sight of the accepted cone at 10..50: half of it within is another sight of it, less is another cone.
    [((30, 10, 40, 40), True), ((31, 10, 40, 40), False), ((15, 30, 10, 10), True)],
)
def test_what_is_seen_besides_was_not_asked_for_unless_it_is_another_sight_of_what_was(box, is_usable):
    accepted = accept(PICTURE, layout(cone(10, 10, 40, 40)), Sees(("cone", 0.9, (10, 10, 40, 40)), ("cone", 0.6, box)))

    assert accepted.is_usable is is_usable
    assert [item.box for item in accepted.scene.objects] == [(10, 10, 40, 40)]


def test_classes_that_are_not_labelled_do_not_matter():
    asked = layout(cone(10, 10, 40, 40), cone(100, 10, 40, 40, label="pallet"))
    sees = Sees(("cone", 0.9, (10, 10, 40, 40)), ("person", 0.9, (60, 10, 20, 60)))

    assert accept(PICTURE, asked, sees, classes=("cone",)).is_usable
    with pytest.raises(InputError, match="knows pallet"):
        accept(PICTURE, asked, sees)


def test_what_was_not_asked_for_by_the_transform_is_dropped_and_may_not_be_there():
    asked = layout(cone(10, 10, 40, 40), cone(100, 10, 40, 40))
    first, second = ("cone", 0.9, (10, 10, 40, 40)), ("cone", 0.8, (100, 10, 40, 40))
    accepted = accept(PICTURE, asked, Sees(first), dropped=(1,))

    assert accepted.is_usable
    assert accepted.scene.dropped == {"cone": 1}
    assert accepted.scene.layout is asked
    assert not accept(PICTURE, asked, Sees(first, second), dropped=(1,)).is_usable


def test_a_scene_without_objects_has_to_be_empty():
    assert accept(PICTURE, layout(), Sees()).is_usable
    assert not accept(PICTURE, layout(), Sees(("cone", 0.5, (10, 10, 40, 40)))).is_usable


@pytest.mark.parametrize("colour", [0, 128])
def test_a_blank_picture_is_no_empty_scene(colour):
    blank = np.full((100, 200, 3), colour, np.uint8)

    assert is_blank(blank)
    assert accept(blank, layout(), Sees()).outcome == "blank"
    assert accept(blank, layout(cone(10, 10, 40, 40)), Sees(("cone", 0.9, (10, 10, 40, 40)))).objects == ()


def test_a_dark_picture_that_shows_something_is_not_blank():
    dark = np.zeros((100, 200, 3), np.uint8)
    dark[50, 50, 2] = 9

    assert not is_blank(dark)


def test_boxes_are_cut_to_the_canvas_before_they_are_compared():
    # Half of 40 x 40 lies beyond the left edge; the detector sees the other half.
    accepted = accept(PICTURE, layout(cone(-20, 10, 40, 40)), Sees(("cone", 0.9, (0, 10, 20, 40))))

    assert accepted.is_usable
    item = accepted.scene.objects[0]
    assert (item.box, item.truncated, item.visible) == ((0, 10, 20, 40), 0.5, 0.5)


def test_what_is_worn_is_looked_for_with_its_own_box_or_within_its_wearer():
    worker = cone(10, 10, 40, 80, label="person", wears=("hat",))
    boxed = layout(worker, cone(20, 10, 20, 10, label="hat", worn_by=0))
    bare = layout(worker)
    person, hat = ("person", 0.9, (10, 10, 40, 80)), ("hat", 0.8, (20, 10, 20, 10))

    for asked in (boxed, bare):
        accepted = accept(PICTURE, asked, Sees(person, hat))
        assert accepted.is_usable
        assert [(item.label, item.worn_by) for item in accepted.scene.objects] == [("person", None), ("hat", 0)]
        assert not accept(PICTURE, asked, Sees(person)).is_usable
        assert not accept(PICTURE, asked, Sees(person, ("hat", 0.8, (120, 10, 20, 10)))).is_usable
    # A hat of its own box shares 200 of 3,200 pixels with its wearer: IoU 0.0625.
    assert accept(PICTURE, boxed, Sees(person, hat)).by_overlap == {("0-0.1", True): 2}
    assert accept(PICTURE, bare, Sees(person, hat)).by_overlap == {("0", True): 1}


def test_the_band_is_that_of_the_largest_overlap_with_any_other_box():
    # 40 x 40 moved right by d: IoU (40 - d) / (40 + d): 1/3 at 20, 3/5 at 10.
    asked = layout(cone(0, 0, 40, 40), cone(20, 0, 40, 40), cone(30, 0, 40, 40), cone(120, 0, 40, 40))
    accepted = accept(PICTURE, asked, Sees())

    assert [item.overlap for item in accepted.objects] == pytest.approx([1 / 3, 3 / 5, 3 / 5, 0], abs=1e-4)
    assert accepted.by_overlap == {("0.3-0.5", False): 1, (">0.5", False): 2, ("0", False): 1}


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(InputError, match="200 x 100"):
        accept(PICTURE[:50], layout(), Sees())


def record(name: str, outcome: str, *objects: tuple[str, float, bool], unasked=()) -> CheckRecord:
    return CheckRecord.model_validate(
        {
            "image_id": name,
            "layout": 1,
            "check": "painter; detector",
            "outcome": outcome,
            "objects": [
                {"label": label, "overlap": overlap, "iou": 0.9 if accepted else 0, "accepted": accepted}
                for label, overlap, accepted in objects
            ],
            "unasked": unasked,
        }
    )


def test_rates_come_by_overlap_and_class_with_wilsons_intervals():
    report = report_acceptance(
        [
            record("a", "accepted", *[("cone", 0.0, True)] * 8),
            record(
                "b", "rejected", ("cone", 0.0, False), ("cone", 0.0, False), ("hat", 0.2, False), unasked=["person"]
            ),
            record("c", "withheld"),
            record("d", "rejected", ("hat", 0.9, False)),
            record("d", "accepted", ("hat", 0.9, True)),
        ]
    )

    assert report.scenes == {"accepted": 2, "rejected": 1, "blank": 0, "withheld": 1}
    assert report.unasked == {"person": 1}
    rates = {rate.group: rate for rate in report.by_overlap}
    assert {group: (rate.accepted, rate.asked) for group, rate in rates.items()} == {
        "0": (8, 10), "0-0.1": (0, 0), "0.1-0.3": (0, 1), "0.3-0.5": (0, 0), ">0.5": (1, 1),
    }  # fmt: skip
    # Wilson's interval of 8 of 10 is 0.490 to 0.943.
    assert rates["0"].rate is not None
    assert (rates["0"].rate.low, rates["0"].rate.high) == pytest.approx((0.490, 0.943), abs=5e-4)
    assert rates["0-0.1"].rate is None
    assert [(rate.group, rate.accepted, rate.asked) for rate in report.by_class] == [("cone", 8, 10), ("hat", 1, 2)]


class Painter:
    """Counts what it paints; withholds the layouts that it was told to."""

    name = "painter"
    settings = "model m"

    def __init__(self, *withheld: str) -> None:
        self.withheld, self.painted = withheld, []

    def paint(self, layout: Layout):
        self.painted.append(layout.image_id)
        if layout.image_id in self.withheld:
            raise ContentFilteredError("The filter withheld it.")
        return PICTURE


def renderer(painter: Painter, detector: Sees, folder) -> CheckedRenderer:
    return CheckedRenderer(painter, detector, ("cone",), AcceptanceJournal(folder))


def test_a_rejected_or_withheld_scene_is_counted_and_not_paid_for_again(tmp_path):
    painter, sees = Painter("held"), Sees(("cone", 0.9, (10, 10, 40, 40)))
    good = layout(cone(10, 10, 40, 40), image_id="good")
    bad, held = layout(cone(100, 10, 40, 40), image_id="bad"), layout(image_id="held")
    for _ in range(2):
        # As another process finds it.
        scenes = renderer(painter, sees, tmp_path)
        assert scenes.render(good).objects[0].box == (10, 10, 40, 40)
        for refused, outcome in ((bad, "rejected"), (held, "withheld")):
            with pytest.raises(SceneRejectedError) as caught:
                scenes.render(refused)
            assert caught.value.outcome == outcome

    assert painter.painted == ["good", "bad", "held", "good"]
    report = publish_acceptance(tmp_path)
    assert report is not None
    assert report.scenes == {"accepted": 1, "rejected": 1, "blank": 0, "withheld": 1}
    assert AcceptanceReport.model_validate_json((tmp_path / ACCEPTANCE_FILE).read_bytes()) == report


def test_another_seed_detector_or_limit_is_another_check(tmp_path):
    painter, bad = Painter(), layout(cone(100, 10, 40, 40))
    for refused in (bad, bad.model_copy(update={"seed": 7})):
        with pytest.raises(SceneRejectedError, match="not painted as asked: 1 cone"):
            renderer(painter, Sees(), tmp_path).render(refused)
    seeing = Sees(("cone", 0.9, (100, 10, 40, 40)))
    seeing.card.version = "v2"
    renderer(painter, seeing, tmp_path).render(bad)

    assert len(painter.painted) == 3


def test_a_line_that_was_not_finished_is_passed_by_and_others_are_not_lost(tmp_path):
    journal = AcceptanceJournal(tmp_path)
    journal.add(record("a", "accepted"))
    with (tmp_path / JOURNAL_FILE).open("ab") as stream:
        stream.write(b'{"image_id": "b", "lay')
    AcceptanceJournal(tmp_path).add(record("c", "blank"))

    assert [entry.image_id for entry in read_checks(tmp_path)] == ["a", "c"]


def test_a_line_of_something_else_is_refused_by_its_number(tmp_path):
    (tmp_path / JOURNAL_FILE).write_text('{"image_id": "b"}\n')

    with pytest.raises(InputError, match=r"acceptance\.jsonl:1: layout"):
        AcceptanceJournal(tmp_path)


def test_a_folder_without_checks_gets_no_report(tmp_path):
    assert publish_acceptance(tmp_path) is None
    assert not (tmp_path / ACCEPTANCE_FILE).exists()
