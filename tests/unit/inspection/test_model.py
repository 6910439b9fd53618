"""Training and inspecting, end to end, on small rendered parts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defectory.errors import InputError
from defectory.inspection.model import load_model, retune
from defectory.inspection.preparation import Region
from defectory.inspection.rules import Rule, RuleSet
from defectory.inspection.thresholds import Costs
from defectory.inspection.training import train
from defectory.inspection.verdicts import InspectionReply, Thresholds
from defectory.progress import Progress
from tests.unit.inspection.conftest import SMALL, render_part, write_images

QUICK = SMALL.model_copy(update={"detector": "patchcore"})


def test_parts_not_seen_before_are_told_apart(model):
    good = [model.inspect(render_part(seed)).score for seed in range(100, 110)]
    bad = [model.inspect(render_part(seed, blot=(70, 40))).score for seed in range(200, 206)]

    assert max(good) < min(bad)


def test_a_defective_part_fails_and_the_heatmap_points_at_the_defect(model):
    inspection = model.inspect(render_part(300, blot=(70, 40)))

    y, x = np.unravel_index(inspection.heatmap.argmax(), inspection.heatmap.shape)
    assert inspection.verdict == "FAIL"
    assert abs(x - 70) < 14 and abs(y - 40) < 14
    assert inspection.mask[y, x] == 255
    assert inspection.mask[5, 5] == 0


@pytest.mark.parametrize("shape", [(96, 96), (200, 130), (1200, 900), (17, 640)])
def test_any_size_is_inspected_and_the_heatmap_keeps_its_aspect(model, shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)

    inspection = model.inspect(image)

    height, width = inspection.heatmap.shape
    assert (inspection.height, inspection.width) == shape
    assert height <= shape[0] and width <= shape[1]
    assert abs(height / width / (shape[0] / shape[1]) - 1) < 0.05
    assert inspection.mask.shape == inspection.classes.shape == inspection.heatmap.shape
    assert inspection.heatmap.dtype == np.float32
    assert 0 <= inspection.heatmap.min() <= inspection.heatmap.max() <= 1
    assert set(np.unique(inspection.mask)) <= {0, 255}
    assert np.array_equal(inspection.mask == 255, inspection.classes > 0)


@pytest.mark.parametrize("seed", range(4))
def test_the_hottest_place_agrees_with_the_verdict(model, seed):
    for image in (render_part(seed + 400), render_part(seed + 400, blot=(60, 66))):
        inspection = model.inspect(image)
        assert (inspection.score >= inspection.thresholds.fail) <= (inspection.heatmap.max() >= 0.49)


def test_an_inspection_goes_over_the_wire(model):
    reply = InspectionReply.of(model.inspect(render_part(1, blot=(70, 40))))

    assert reply.verdict == "FAIL"
    assert reply.model_version == model.card.version
    assert reply.defects[0].regions >= 1


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)])
def test_what_is_no_rgb_array_is_refused(model, image):
    with pytest.raises(InputError, match="uint8 RGB"):
        model.inspect(image)


def test_the_same_photos_and_seed_give_the_same_bundle(model, good_parts):
    again = train(good_parts, options=SMALL)

    assert again.card.version == model.card.version
    assert again.to_bytes()[:0] == b""
    assert again.card.model_copy(update={"created": ""}) == model.card.model_copy(update={"created": ""})


def test_a_bundle_gives_the_same_numbers_in_another_process(model, tmp_path):
    image = render_part(7, blot=(70, 40))
    path = model.save(tmp_path / "with space" / "model.tar.gz")
    np.save(tmp_path / "image.npy", image)
    program = (
        "import sys, pathlib, numpy; from defectory.inspection.model import load_model;"
        "said = load_model(pathlib.Path(sys.argv[1])).inspect(numpy.load(sys.argv[2]));"
        "print(repr([said.score, said.confidence, float(said.heatmap.sum())]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, path, tmp_path / "image.npy"], capture_output=True, text=True, check=True
    ).stdout

    said = model.inspect(image)
    assert np.allclose(eval(told), [said.score, said.confidence, said.heatmap.sum()], rtol=0, atol=1e-5)


def test_many_images_are_inspected_as_they_come(model):
    images = (render_part(seed) for seed in (1, 2))

    assert [each.score for each in model.inspect_many(images)] == [model.inspect(render_part(n)).score for n in (1, 2)]


# ------------------------------------------------------------------ the card


def test_the_card_says_where_the_model_comes_from(model):
    card = model.card

    assert card.good_images == 12
    assert (card.backbone, card.backbone_license) == ("efficientnet_lite0", "Apache-2.0")
    assert sum(entry.chosen for entry in card.leaderboard) == 1
    assert {"patchcore", "padim", "patchcore + signature"} <= {entry.name for entry in card.leaderboard}
    assert "synthetic" in card.leaderboard_basis
    assert "held-out good" in card.confidence_basis
    assert 0 < card.thresholds.review <= card.thresholds.fail


def test_other_photos_are_another_training(model, good_parts):
    other = train(good_parts[1:], options=SMALL)

    assert other.card.training_manifest_sha256 != model.card.training_manifest_sha256
    assert other.card.version != model.card.version


def test_progress_is_told_to_its_end(good_parts):
    told: list[Progress] = []

    train(good_parts[:6], options=SMALL, on_progress=told.append)

    assert {each.stage for each in told} >= {"good parts", "perturbations", "patchcore", "padim"}
    assert all(
        max(each.done for each in told if each.stage == stage) == next(e.total for e in told if e.stage == stage)
        for stage in {each.stage for each in told}
    )


def test_retuning_changes_verdicts_and_the_version_but_no_score(model):
    image = render_part(3)
    score = model.inspect(image).score

    strict = retune(model, Thresholds(score / 4, score / 2))

    assert strict.inspect(image).score == score
    assert strict.inspect(image).verdict == "FAIL"
    assert strict.inspect(image).heatmap.max() >= 0.49
    assert strict.card.version != model.card.version
    assert load_model(strict.to_bytes()).card == strict.card


@pytest.mark.parametrize("thresholds", [Thresholds(2, 1), Thresholds(-1, 1), Thresholds(0.1, float("nan"))])
def test_thresholds_out_of_order_are_refused(model, thresholds):
    with pytest.raises(InputError, match="review <= fail"):
        retune(model, thresholds)


def test_a_rule_decides_over_the_score(model):
    lenient = RuleSet(rules=(Rule(verdict="REVIEW", max_area=0.5, of_verdicts=("FAIL",)),))
    ruled = retune(model, model.card.thresholds, lenient)

    inspection = ruled.inspect(render_part(3, blot=(70, 40)))

    assert inspection.verdict == "REVIEW"
    assert "area <= 0.5" in inspection.reasons[0]


# ------------------------------------------------------------------ what is inspected


def test_a_defect_outside_the_region_of_interest_does_not_count(good_parts):
    options = QUICK.model_copy(update={"region": Region(left=0, top=0, right=0.5, bottom=1)})
    model = train(good_parts, options=options)

    outside, inside = model.inspect(render_part(3, blot=(74, 48))), model.inspect(render_part(3, blot=(24, 48)))

    assert inside.score > 1.5 * outside.score
    assert outside.heatmap.shape == (96, 96)
    assert not outside.heatmap[:, 48:].any()


def test_a_defect_in_an_ignored_area_does_not_count(good_parts, tmp_path):
    ignore = np.zeros((48, 48), np.uint8)
    ignore[:, 24:] = 255
    Image.fromarray(ignore).save(tmp_path / "ignore.png")
    model = train(good_parts, options=QUICK.model_copy(update={"ignore": tmp_path / "ignore.png"}))

    outside, inside = model.inspect(render_part(3, blot=(78, 48))), model.inspect(render_part(3, blot=(20, 48)))

    assert inside.score > 1.5 * outside.score
    assert not outside.heatmap[:, 50:].any()
    assert load_model(model.to_bytes()).inspect(render_part(3)).score == model.inspect(render_part(3)).score


def test_ignoring_everything_is_refused(good_parts, tmp_path):
    Image.fromarray(np.full((9, 9), 255, np.uint8)).save(tmp_path / "all.png")

    with pytest.raises(InputError, match="leaves something"):
        train(good_parts, options=QUICK.model_copy(update={"ignore": tmp_path / "all.png"}))


def test_tiles_see_a_small_defect_where_it_is(good_parts):
    model = train(good_parts, options=QUICK.model_copy(update={"resolution": 64, "tiles": (2, 2)}))

    inspection = model.inspect(render_part(3, blot=(70, 40)))
    y, x = np.unravel_index(inspection.heatmap.argmax(), inspection.heatmap.shape)

    assert inspection.verdict == "FAIL"
    assert abs(x - 70) < 14 and abs(y - 40) < 14


# ------------------------------------------------------------------ labelled defects


@pytest.fixture(scope="module")
def labelled(good_parts, tmp_path_factory):
    """A model that knows blots and scratches from masks, and a scratch in other colours."""
    folder = tmp_path_factory.mktemp("defects")
    places = [(70, 40), (48, 74), (26, 44), (60, 66)]
    blots = write_images(folder / "blot", [render_part(n, blot=place) for n, place in enumerate(places, 500)])
    scratches = write_images(folder / "scratch", [render_part(n, scratch=place) for n, place in enumerate(places, 600)])
    masks, classes = {}, {}
    for name, paths in (("blot", blots), ("scratch", scratches)):
        for path, (x, y) in zip(paths, places, strict=True):
            mask = np.zeros((96, 96), np.uint8)
            mask[y - 6 : y + 7, x - 8 : x + 9] = 255
            masks[path], classes[path] = mask, (name,)
    options = QUICK.model_copy(update={"colors": {"scratch": "#123456"}})
    return train(good_parts, defects=blots + scratches, masks=masks, classes=classes, options=options)


@pytest.mark.parametrize("kind", ["blot", "scratch"])
def test_defects_get_their_class_and_its_colour(labelled, kind):
    inspection = labelled.inspect(render_part(700, **{kind: (66, 58)}))

    largest = max(inspection.defects, key=lambda defect: defect.area)
    assert inspection.verdict == "FAIL"
    assert largest.name == kind
    assert largest.color == {kind.name: kind.color for kind in labelled.card.classes}[kind]
    number = inspection.defects.index(largest) + 1
    assert float((inspection.classes == number).mean()) == pytest.approx(largest.area)


def test_chosen_colours_are_kept_and_no_two_are_the_same(labelled):
    colors = {kind.name: kind.color for kind in labelled.card.classes}

    assert colors["scratch"] == "#123456"
    assert len(set(colors.values())) == 2


def test_labelled_defects_decide_between_the_candidates(labelled):
    assert "8 labelled defects" in labelled.card.leaderboard_basis
    assert "8 defective" in labelled.card.confidence_basis
    assert any("patch head" in entry.name for entry in labelled.card.leaderboard)
    assert labelled.card.masked_images == 8


def test_a_model_with_classes_survives_its_bundle(labelled):
    image = render_part(700, scratch=(66, 58))
    again = load_model(labelled.to_bytes())

    assert again.inspect(image).defects == labelled.inspect(image).defects
    assert again.inspect(image).score == labelled.inspect(image).score


def test_defects_without_masks_are_named_too(good_parts, tmp_path):
    blots = write_images(tmp_path / "blot", [render_part(n, blot=(70, 40)) for n in range(4)])
    scratches = write_images(tmp_path / "scratch", [render_part(n, scratch=(30, 60)) for n in range(4)])
    classes = {**dict.fromkeys(blots, ("blot",)), **dict.fromkeys(scratches, ("scratch",))}
    model = train(good_parts, defects=[*blots, *scratches], classes=classes, options=QUICK)

    found = model.inspect(render_part(50, scratch=(30, 60))).defects

    assert max(found, key=lambda defect: defect.area).name == "scratch"


def test_a_class_named_by_no_image_is_refused_in_a_mask(good_parts, tmp_path):
    [path] = write_images(tmp_path, [render_part(1, blot=(70, 40))])

    with pytest.raises(InputError, match="of the classes blot"):
        train(
            good_parts,
            defects=[path],
            classes={path: ("blot",)},
            masks={path: {"dent": np.ones((96, 96))}},
            options=QUICK,
        )


def test_costs_need_labelled_defects(good_parts):
    with pytest.raises(InputError, match="at least 5 labelled defects"):
        train(good_parts, options=QUICK.model_copy(update={"costs": Costs(escape=100, false_reject=1)}))


# ------------------------------------------------------------------ bad luck


def test_one_image_is_not_enough(good_parts):
    with pytest.raises(InputError, match="at least 2 different images"):
        train(good_parts[:1], options=QUICK)


def test_no_image_is_not_enough():
    with pytest.raises(InputError, match="at least 2 images"):
        train([], options=QUICK)


def test_equal_images_count_once(good_parts, tmp_path):
    paths = write_images(tmp_path, [render_part(1)] * 20)

    with pytest.raises(InputError, match=r"1 different of 20"):
        train(paths, options=QUICK)


def test_nearly_equal_images_still_give_a_model(tmp_path):
    images = []
    for number in range(6):
        images.append(np.full((64, 64, 3), 90, np.uint8))
        images[-1][0, 0, 0] += number
    model = train(write_images(tmp_path, images), options=QUICK)

    assert model.inspect(images[0]).verdict == "PASS"
    assert model.inspect(render_part(1)).verdict == "FAIL"


def test_a_defect_among_the_good_parts_is_named_and_moves_no_threshold(model, good_parts, tmp_path):
    stray = write_images(tmp_path, [render_part(77, blot=(70, 40))])[0].rename(tmp_path / "stray.png")
    spoilt = train([*good_parts, stray], options=QUICK)

    assert spoilt.card.suspects == ("stray.png",)
    assert spoilt.card.thresholds.fail < 2 * model.card.thresholds.fail


def test_a_defect_among_the_good_parts_is_forgotten_on_demand(good_parts, tmp_path):
    stray = write_images(tmp_path, [render_part(77, blot=(70, 40))])[0].rename(tmp_path / "stray.png")
    model = train([*good_parts, stray], options=QUICK.model_copy(update={"exclude_suspects": True}))

    assert model.card.good_images == 12
    assert model.inspect(render_part(78, blot=(70, 40))).verdict == "FAIL"


def test_every_unreadable_image_is_named(good_parts, tmp_path):
    for name in ("torn.png", "empty.jpg"):
        (tmp_path / name).write_bytes(b"\x89PNG" if name == "torn.png" else b"")

    with pytest.raises(InputError) as refused:
        train([*good_parts, tmp_path / "torn.png", tmp_path / "empty.jpg"], options=QUICK)

    assert "torn.png" in str(refused.value) and "empty.jpg" in str(refused.value)


def test_photos_of_one_part_are_held_out_together(tmp_path):
    parts = [np.roll(render_part(seed), 9 * seed, axis=1) for seed in range(6)]
    twins = [np.clip(part.astype(int) + shift, 0, 255).astype(np.uint8) for part in parts for shift in (0, 1, 2)]
    paths = write_images(tmp_path, twins)

    apart = train(paths, options=QUICK).card
    together = train(paths, groups={path: str(number // 3) for number, path in enumerate(paths)}, options=QUICK).card

    assert together.normal_level > 5 * apart.normal_level


def test_an_unknown_detector_is_refused(good_parts):
    with pytest.raises(InputError, match="patchcore, padim"):
        train(good_parts, options=QUICK.model_copy(update={"detector": "magic"}))


def test_a_model_that_cannot_be_written_says_where(model, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(InputError, match="written"):
        model.save(Path(tmp_path / "file" / "model.tar.gz"))
