"""Quality: every image that is unreadable, there twice or looks mislabelled is named, and no other."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defectory.datasets import Dataset, Finding, ImageRecord, load_dataset, save_dataset
from defectory.datasets.quality import ERRORS, _near
from defectory.inspection.label_check import check
from defectory.progress import Progress


def found(root, **options) -> list[tuple]:
    return [(finding.kind, finding.images) for finding in check(load_dataset(root), labels=False, **options)]


def test_a_dataset_in_order_has_no_findings(parts):
    assert found(parts) == []


@pytest.mark.parametrize("content", [b"", b"not an image", b"<svg/>", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_image_is_named_with_what_to_do(parts, content):
    (parts / "good/3.png").write_bytes(content)
    (finding,) = check(load_dataset(parts), labels=False)
    assert (finding.kind, finding.images, finding.is_error) == ("unreadable", ("good/3.png",), True)
    assert finding.message.startswith("good/3.png: must be")


def test_a_missing_image_and_a_missing_mask_are_named(parts, tmp_path):
    save_dataset(load_dataset(parts), tmp_path / "dataset.json")
    (parts / "good/3.png").unlink()
    (parts / "masks/scratch/11.png").unlink()
    findings = check(load_dataset(tmp_path / "dataset.json"), labels=False)
    assert [(f.kind, f.images) for f in findings] == [
        ("unreadable", ("good/3.png",)),
        ("bad mask", ("scratch/11.png",)),
    ]


def test_a_file_that_changed_since_it_was_imported_is_named(parts, tmp_path, photo):
    save_dataset(load_dataset(parts), tmp_path / "dataset.json")
    photo(parts / "good/3.png", 55)
    (finding,) = check(load_dataset(tmp_path / "dataset.json"), labels=False)
    assert (finding.kind, finding.images) == ("changed", ("good/3.png",))


def test_masks_that_do_not_fit_or_mark_nothing_are_named(parts, mask):
    mask(parts / "masks/scratch/10.png", level=0)
    Image.new("L", (64, 48), 255).save(parts / "masks/scratch/11.png")
    Image.new("L", (32, 32), 255).save(parts / "masks/scratch/12.png")
    (parts / "masks/scratch/13.png").write_bytes(b"broken")
    kinds = {images[0]: kind for kind, images in found(parts)}
    assert kinds == {"scratch/10.png": "empty mask", "scratch/11.png": "bad mask", "scratch/13.png": "bad mask"}


def test_copies_are_named_once_together(parts):
    shutil.copy(parts / "good/3.png", parts / "good/copy.png")
    shutil.copy(parts / "good/3.png", parts / "good/another.png")
    assert found(parts) == [("duplicate", ("good/3.png", "good/another.png", "good/copy.png"))]


def test_one_image_with_two_labels_is_an_error(parts):
    shutil.copy(parts / "good/3.png", parts / "dent/3.png")
    assert found(parts) == [("contradiction", ("dent/3.png", "good/3.png"))]
    (finding,) = check(load_dataset(parts), labels=False)
    assert finding.message == "One image, labelled anomaly and normal. Keep the right one."


@pytest.mark.parametrize(
    ("suffix", "options", "size"), [(".bmp", {}, 64), (".jpg", {"quality": 80}, 64), (".jpg", {"quality": 92}, 96)]
)
def test_a_picture_saved_anew_is_a_near_duplicate(parts, suffix, options, size):
    with Image.open(parts / "good/3.png") as image:
        image.resize((size, size), Image.Resampling.BICUBIC).save(parts / f"good/again{suffix}", **options)
    assert found(parts) == [("near-duplicate", ("good/3.png", f"good/again{suffix}"))]


def test_a_synthetic_image_is_no_near_duplicate_of_its_photo(parts):
    Image.open(parts / "good/3.png").save(parts / "scratch/made.jpg", quality=95)
    dataset = load_dataset(parts)
    marked = [replace(record, synthetic=record.path.stem == "made") for record in dataset.records]
    assert {each.kind for each in check(dataset, labels=False)} == {"near-duplicate"}
    assert list(check(dataset.select(marked), labels=False)) == []


def test_parts_in_a_fixture_look_alike_but_are_no_near_duplicates(tmp_path):
    # Given photos of one scene that differ by the sensor's noise and a little light
    rng = np.random.default_rng(1)
    scene = np.linspace(40, 200, 64 * 64).reshape(64, 64)
    (tmp_path / "normal").mkdir()
    for number in range(12):
        noisy = scene + rng.normal(0, 3, scene.shape) + rng.normal(0, 0.6)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / f"normal/{number}.png")
    assert found(tmp_path) == []


@pytest.mark.parametrize(("width", "fits"), [(101, True), (99, True), (103, False), (97, False)])
def test_a_mask_may_be_off_by_a_fiftieth_of_the_aspect(tmp_path, width, fits):
    for folder, level in (("anomaly", 90), ("normal", 40)):
        (tmp_path / folder).mkdir()
        image = np.random.default_rng(level).integers(0, 255, (100, 100), np.uint8)
        Image.fromarray(image).save(tmp_path / f"{folder}/1.png")
    Image.new("L", (width, 100), 255).save(tmp_path / "mask.png")
    told = load_dataset(tmp_path)
    masked = [replace(record, mask=tmp_path / "mask.png") if record.label == "anomaly" else record
              for record in told.records]  # fmt: skip

    assert ("bad mask" not in {each.kind for each in check(told.select(masked), labels=False)}) is fits


def near(*pictures: np.ndarray, labels: str = "nnnn") -> list[Finding]:
    records = [
        ImageRecord(Path(f"/parts/{number}.png"), "normal" if label == "n" else "anomaly")
        for number, label in zip(range(len(pictures)), labels, strict=False)
    ]
    return list(_near(Dataset(tuple(records), Path("/parts")), records, [np.float32(each) for each in pictures]))


FLAT = np.full(1024, 100.0)
SPIKE = np.where(np.arange(1024) == 7, 1.0, 0.0)


@pytest.mark.parametrize(
    ("other", "is_near"),
    [
        # One level apart everywhere, and no more; one cell six levels apart, and no more.
        (FLAT + 1.0, True),
        (FLAT + 1.01, False),
        (FLAT + 6 * SPIKE, True),
        (FLAT + 6.1 * SPIKE, False),
    ],
)
def test_two_pictures_are_near_within_a_level_on_average_and_six_at_most(other, is_near):
    assert bool(near(FLAT, other)) is is_near


@pytest.mark.parametrize(("apart", "is_near"), [(0.5, True), (0.51, False)])
def test_among_several_near_is_a_tenth_of_what_is_typical(apart, is_near):
    # Of three pictures one pair is about half a level apart, one 5 and one a little more: 5 is the median.
    findings = near(FLAT, FLAT + apart, FLAT - 5)

    assert [each.images for each in findings] == [("0.png", "1.png")] * is_near


def test_near_pictures_that_are_labelled_differently_say_so():
    assert near(FLAT, FLAT, labels="na")[0].message.endswith("labelled differently. Keep the right one.")
    assert near(FLAT, FLAT, labels="nn")[0].message == "They look like one picture, saved twice. Keep one."


def test_a_blank_image_is_named(parts):
    Image.new("RGB", (64, 64), "grey").save(parts / "good/blank.png")
    assert found(parts) == [("blank", ("good/blank.png",))]


def test_all_equal_images_are_copies(tmp_path, photo):
    for number in range(4):
        photo(tmp_path / f"normal/{number}.png", 1)
    assert found(tmp_path) == [("duplicate", tuple(f"normal/{n}.png" for n in range(4)))]


def test_progress_is_told_to_the_end(parts):
    heard = []
    found(parts, on_progress=heard.append)
    assert heard == [Progress("looking at images", number, 20) for number in range(1, 21)]


def test_errors_come_first(parts):
    Image.new("RGB", (64, 64), "grey").save(parts / "dent/blank.png")
    (parts / "scratch/10.png").write_bytes(b"")
    assert [finding.is_error for finding in check(load_dataset(parts), labels=False)] == [True, False]
    assert Finding("blank", (), "").kind not in ERRORS


# ------------------------------------------------------------------ labels


def ring(seed: int, *, hole: bool = False) -> Image.Image:
    """A bright disc on dark ground, in its own light; a hole is the defect."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96] - 48 + rng.normal(0, 1, (2, 1, 1))
    disc = np.where(np.hypot(x, y) < 36, 170 + rng.normal(0, 4), 40) + rng.normal(0, 3, (96, 96))
    if hole:
        disc = np.where(np.hypot(x - rng.uniform(-15, 15), y - rng.uniform(-15, 15)) < 9, 20, disc)
    return Image.fromarray(np.clip(disc, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Fourteen good discs and six with a hole."""
    root = tmp_path_factory.mktemp("discs")
    for folder, seeds in (("normal", range(14)), ("anomaly", range(20, 26))):
        (root / folder).mkdir()
        for seed in seeds:
            ring(seed, hole=folder == "anomaly").save(root / folder / f"{seed}.png")
    return load_dataset(root)


def relabelled(dataset, **labels):
    return dataset.select([replace(r, label=labels.get(f"_{r.path.stem}", r.label)) for r in dataset.records])


def test_swapped_labels_are_found_and_no_others(discs):
    # Given a defective disc labelled normal, and a good one labelled anomaly
    swapped = relabelled(discs, _20="normal", _5="anomaly")
    # When the labels are checked
    suspects = {finding.images[0]: finding for finding in check(swapped)}
    # Then these are named
    assert set(suspects) == {"anomaly/20.png", "normal/5.png"}
    assert all(finding.kind == "mislabelled?" and not finding.is_error for finding in suspects.values())
    assert "Labelled normal" in suspects["anomaly/20.png"].message
    assert "Labelled anomaly" in suspects["normal/5.png"].message


def test_a_defect_among_good_parts_alone_is_found(discs):
    alone = relabelled(
        discs.select([r for r in discs.records if r.label == "normal" or r.path.stem == "20"]), _20="normal"
    )
    assert [finding.images for finding in check(alone)] == [("anomaly/20.png",)]


def test_of_a_handful_of_good_parts_nothing_is_said(discs):
    few = discs.select([*discs.normal[:5], *discs.anomalous])
    assert check(relabelled(few, _20="normal")) == ()
