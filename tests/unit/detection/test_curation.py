"""Weak spots that a person can check, plans that move to them, and the comparison of plans."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from defectory.detection.curation import compare
from defectory.detection.curation.compare import PlanFigures, SceneSettings, compare_plans
from defectory.detection.curation.plan import LayoutPlan, preset_of, seen_objects, shows, write_plan
from defectory.detection.curation.report import write_weak_spots_report
from defectory.detection.curation.results import Example, WeakSpot, read_weak_spots, write_weak_spots
from defectory.detection.curation.weak_spots import FEWEST, Trial, find_weak_spots, weak_spots_of
from defectory.detection.fingerprints import image_digest, share_seen, sketch
from defectory.detection.labelled import LabelledImage, LabelledObject, open_labelled
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.records import Layout
from defectory.detection.scenes.plans import plan_file
from defectory.errors import InputError
from defectory.metrics.estimates import Difference, proportion
from tests.support.shape_cutouts import write_cutouts
from tests.support.shape_scenes import write_scenes
from tests.unit.detection.test_detector_evaluation import Scripted, dataset

BOX = (0.0, 0.0, 9.0, 9.0)


def trials(failures: int, cases: int, label: str = "cone", first: int = 0, each: int = 1, **groups: str) -> list[Trial]:
    """``cases`` of which the first ones fail, ``each`` so many on an image."""
    example = Example(image="a", label=label, box=BOX)
    return [Trial(first + place // each, label, groups, place < failures, example) for place in range(cases)]


def spots_of(cases: list[Trial], classes: tuple[str, ...] = ("cone",)) -> tuple[WeakSpot, ...]:
    return weak_spots_of({"missed": cases}, classes=classes)[0]


def spot(kind: str = "missed", low: float = 0.3, **where: str) -> WeakSpot:
    rate, rest = proportion(9, 10), proportion(1, 10)
    assert rate and rest
    return WeakSpot.model_validate(
        {"kind": kind, "count": 9, "cases": 10, "rate": rate, "rest": rest, **where}
        | {"difference": Difference(value=0.8, low=low, high=0.9)}
    )


def test_a_condition_that_fails_more_often_than_the_rest_is_a_weak_spot():
    cases = trials(30, 60, light="dim") + trials(10, 100, first=60, light="even")

    (found,) = spots_of(cases)

    assert (found.condition, found.group, found.count, found.cases) == ("light", "dim", 30, 60)
    assert (found.rate.value, found.rest.value) == (0.5, 0.1)
    # By hand, at z = 2.2414 of 2 comparisons (the one class has no rest): Wilson's intervals are .361 to .639 and .0508
    # to .1875, and Newcombe's .4 - hypot(.139, .0875) to .4 + hypot(.139, .0492).
    assert (found.difference.low, found.difference.high) == (
        pytest.approx(0.2358, abs=1e-3),
        pytest.approx(0.5474, abs=1e-3),
    )


@pytest.mark.parametrize(
    "weak",
    [
        trials(14, 60, light="dim"),
        trials(FEWEST - 1, FEWEST - 1, light="dim"),
        # Half of them again, but five images failed as a whole: five cases, not thirty.
        trials(30, 60, each=6, light="dim"),
    ],
    ids=["a little more", "all of a few", "on few images"],
)
def test_chance_is_no_weak_spot(weak: list[Trial]):
    rest = trials(15, 100, first=100, each=1, light="even")
    clustered = trials(18, 100, first=100, each=6, light="even") if len({item.image for item in weak}) == 10 else rest

    assert spots_of(weak + clustered) == ()


def test_more_comparisons_ask_for_more():
    weak = trials(15, 40, light="dim") + trials(15, 100, first=40, light="even")
    assert [item.group for item in spots_of(weak)] == ["dim"]

    many = [replace(item, groups={**item.groups, "place": str(item.image % 10)}) for item in weak]

    assert spots_of(many) == ()


@pytest.mark.parametrize("rate", [0.3, 0.02])
def test_false_weak_spots_are_rare_where_there_is_none(rate: float):
    rng = np.random.default_rng(0)
    example = Example(image="a", label="cone", box=BOX)
    alarmed = 0
    for _ in range(40):
        groups = [{"light": str(rng.integers(4)), "size": str(rng.integers(3))} for _ in range(150)]
        cases = [Trial(place, "cone", group, rng.random() < rate, example) for place, group in enumerate(groups)]
        alarmed += bool(spots_of(cases))

    assert alarmed <= 3


def test_within_a_class_a_condition_is_compared_with_the_same_class():
    # Hats fail everywhere and are all small; cones fail where it is dim.
    hats = trials(40, 50, "hat", size="small", light="even")
    cones = trials(30, 40, first=50, size="large", light="dim") + trials(2, 60, first=90, size="large", light="even")

    names = {(item.label, item.group) for item in spots_of(hats + cones, ("hat", "cone"))}

    assert {("hat", ""), ("cone", "dim"), ("", "small")} <= names
    assert ("hat", "small") not in names


BOXES = [(20.0 * (place % 8), 20.0 * (place // 8), 16.0, 16.0) for place in range(24)]


def rows(*labels: int) -> str:
    return ";".join(f"{label} {' '.join(map(str, box))}" for label, box in zip(labels, BOXES, strict=False))


def test_misses_confusions_false_alarms_and_doubtful_labels_are_told(tmp_path: Path):
    # Of 12 cones on each image one is missed, of 12 pallets ten are taken for cones; beside them a cone is reported.
    labels = [0] * 12 + [1] * 12
    answers = [("cone", 0.8, box) for box in BOXES[1:12]] + [("pallet", 0.6, box) for box in BOXES[12:14]]
    answers += [("cone", 0.7, box) for box in BOXES[14:]] + [("cone", 0.95, (170.0, 170.0, 25.0, 25.0))]
    folder = dataset(tmp_path / "set", [rows(*labels)] * 10)

    weak, examination = find_weak_spots(Scripted(dict.fromkeys(range(10), answers)), open_labelled(folder))  # type: ignore[arg-type]

    told = {(item.kind, item.label, item.other, item.condition): (item.count, item.cases) for item in weak.spots}
    assert told["missed", "pallet", "", ""] == (100, 120)
    assert told["confused", "pallet", "cone", ""] == (100, 120)
    assert ("missed", "cone", "", "") not in told and ("confused", "cone", "pallet", "") not in told
    assert told["false alarm", "cone", "", ""] == (110, 220)
    reasons = Counter(item.reason for item in weak.suspects)
    assert reasons == {"detected without a label": 10, "labelled and never found": 10}
    assert read_weak_spots(write_weak_spots(weak, tmp_path / "out")) == weak
    page = write_weak_spots_report(weak, examination.paths(), tmp_path / "out").read_text()
    assert "pallet, taken for cone" in page and "Labels in doubt: 20" in page and 'src="data:image/jpeg' in page


def test_low_scores_of_what_is_found_are_a_weak_spot(tmp_path: Path):
    answers = [("cone", 0.9, box) for box in BOXES[:12]] + [("pallet", 0.55, box) for box in BOXES[12:15]]
    answers += [("pallet", 0.9, box) for box in BOXES[15:]]
    folder = dataset(tmp_path / "set", [rows(*[0] * 12, *[1] * 12)] * 10)

    weak, _ = find_weak_spots(Scripted(dict.fromkeys(range(10), answers)), open_labelled(folder))  # type: ignore[arg-type]

    (found,) = [item for item in weak.spots if item.kind == "low confidence"]
    assert (found.label, found.count, found.cases) == ("pallet", 30, 120)


def test_images_that_were_learned_from_are_known_again_after_a_move():
    def image(number: int, name: str) -> LabelledImage:
        item = LabelledObject(name, (number, 2.2, 30, 40), 1200)
        return LabelledImage(f"{name}/{number}.png", Path(), 100, 80, (item,))

    kept = sketch(image_digest(image(number, "a")) for number in range(1000))

    assert share_seen(kept, [image(number, "b") for number in range(1500)]) == 1
    assert 0.3 < share_seen(kept, [image(number, "b") for number in range(500)]) < 0.7
    assert share_seen(kept, [image(number, "b") for number in range(1000, 2000)]) == 0
    assert share_seen("", [image(0, "a")]) == 0


# What plans choose


def plan(*spots: WeakSpot, preset: str = "ppe", count: int = 150) -> list[dict]:
    return [json.loads(line) for line in LayoutPlan(load_preset(preset), count, spots, seed=3).lines()]


@pytest.mark.parametrize(
    "weakness",
    [
        spot(label="hard_hat"),
        spot(condition="light", group="backlit"),
        spot("low confidence", condition="camera", group="motion"),
        spot("false alarm", label="hard_hat", condition="background", group="corridor"),
        spot(condition="event", group="far-away"),
        spot(condition="occlusion", group="heavy"),
        spot(label="person", condition="size", group="small"),
        spot(condition="visible share", group="seen by less than 60 %"),
        spot(condition="truncation", group="cut off by 30 % or more"),
        spot("false alarm", label="safety_vest"),
    ],
    ids=lambda item: f"{item.kind}, {item.name}",
)
def test_a_plan_shows_more_of_what_is_weak(weakness: WeakSpot):
    targeted, random = (
        np.mean([shows([weakness], layout)[0] for layout in layouts]) for layouts in (plan(weakness), plan())
    )

    # A share p of the pool is preferred 7 to 1.
    assert targeted > random + 0.3 * (7 * random / (1 + 6 * random) - random)
    assert 0 < random < targeted


def test_plans_of_one_seed_are_of_one_pool_and_files_that_compose_takes(tmp_path: Path):
    weak = LayoutPlan(load_preset("floor"), 20, (spot(label="debris"),), seed=3)
    file = write_plan(weak, tmp_path / "layouts.jsonl")

    taken = plan_file(file)
    layouts = [Layout.model_validate_json(line) for _, line in taken.lines()]

    assert taken.count == len({layout.image_id for layout in layouts}) == 20
    assert list(weak.lines()) == list(weak.lines()) == file.read_bytes().splitlines(keepends=True)
    assert list(replace(weak, seed=4).lines()) != list(weak.lines())


def test_what_is_seen_of_a_layout_is_judged_by_its_boxes():
    far = {"label": "cone", "box": [10, 10, 40, 40], "worn_by": None}
    before = {"label": "pallet", "box": [30, 10, 40, 40], "worn_by": None}
    beyond = {"label": "tote", "box": [-20, 100, 40, 40], "worn_by": None}
    hidden = {"label": "debris", "box": [200, 200, 4, 4], "worn_by": None}
    cover = {"label": "pallet", "box": [150, 150, 90, 90], "worn_by": None}
    layout = {"size": [256, 256], "objects": [far, hidden, before, beyond, cover]}

    cone, *others = seen_objects({**layout, "objects": [far, before, beyond, hidden]})

    assert cone.visible == pytest.approx(0.7) and cone.truncated == 0
    assert (others[1].box, others[1].truncated) == ((0, 100, 20, 40), 0.5)
    assert all(item.visible is not None and 0.25 <= item.visible <= 1 for item in seen_objects(layout))


def test_the_preset_is_that_of_the_classes():
    assert preset_of(["spill"]).name == "floor"
    assert preset_of(["safety_cone"], "housekeeping").name == "housekeeping"
    with pytest.raises(InputError, match="all in one of the presets"):
        preset_of(["spill", "person"])
    with pytest.raises(InputError, match="shows classes of the detector"):
        preset_of(["forklift"], "ppe")


# Whether it helped


@pytest.fixture
def weak(tmp_path: Path):
    folder = dataset(tmp_path / "set", [rows(0, 1)])
    found, _ = find_weak_spots(Scripted({}), open_labelled(folder))  # type: ignore[arg-type]
    return found.model_copy(update={"spots": (spot(label="safety_cone"),)})


def settings(tmp_path: Path) -> SceneSettings:
    preset = load_preset("housekeeping")
    return SceneSettings(preset, (128, 128), write_cutouts(tmp_path / "cutouts"), embedded=False)


def test_plans_are_compared_at_equal_numbers_over_seeds(tmp_path: Path, weak, monkeypatch):
    trained: list[tuple[int, list[int]]] = []

    def train(sets, options=None, **how):
        """Stands in for a training of seconds: it knows more cones the more of them it is shown."""
        images = [list(labelled) for labelled in sets]
        trained.append((options.seed, [len(each) for each in images]))
        return sum(item.label == "safety_cone" for each in images for image in each for item in image.objects)

    def measure(detector, frozen, spots):
        return PlanFigures(map50=detector / 1000, weak_recall=detector / 1000)

    monkeypatch.setattr(compare, "train_ridge", train)
    monkeypatch.setattr(compare, "_measure", measure)
    base = write_scenes(tmp_path / "base", 2, "train", size=64)

    result = compare_plans(weak, base, tmp_path / "frozen", tmp_path / "work", settings(tmp_path), count=8)

    assert trained == [(0, [2]), *((seed, [2, 8]) for seed in (0, 0, 1, 1, 2, 2))]
    assert [run.seed for run in result.runs] == [0, 1, 2]
    assert all(run.targeted.map50 > run.random.map50 > result.base.map50 for run in result.runs)
    assert all(run.targeted_objects > 0 < run.random_objects for run in result.runs)
    mean = np.mean([run.targeted.map50 - run.random.map50 for run in result.runs])
    assert result.map50.value == pytest.approx(mean)
    assert result.map50.low < mean < result.map50.high


def test_figures_of_a_plan_are_of_the_frozen_set(tmp_path: Path):
    folder = dataset(tmp_path / "set", [rows(0, 0, 1)])
    detector = Scripted({0: [("cone", 0.9, BOXES[0]), ("pallet", 0.9, BOXES[2])]})

    figures = compare._measure(detector, folder, [spot(label="cone")])  # type: ignore[arg-type]

    assert (figures.weak_recall, figures.map50) == (0.5, pytest.approx((51 / 101 + 1) / 2))


@pytest.mark.parametrize("seeds", [(0, 1), (0, 1, 1)])
def test_too_few_seeds_are_refused(tmp_path: Path, weak, seeds):
    with pytest.raises(InputError, match="3 different ones"):
        compare_plans(weak, tmp_path, tmp_path, tmp_path, settings(tmp_path), count=1, seeds=seeds)
    with pytest.raises(InputError, match="at least one, for the two plans"):
        compare_plans(weak.model_copy(update={"spots": ()}), tmp_path, tmp_path, tmp_path, settings(tmp_path), count=1)
