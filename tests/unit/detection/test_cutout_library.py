"""The library of cut-outs: what it opens, what it refuses, and what it chooses."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from defectory.detection.cutouts import library as module
from defectory.detection.cutouts.library import CutOutLibrary
from defectory.errors import ImageError, InputError


def picture(height: int = 20, width: int = 12, alpha: int = 255) -> np.ndarray:
    return np.full((height, width, 4), (200, 90, 20, alpha), np.uint8)


def bordered() -> np.ndarray:
    image = picture()
    image[0, :, 3] = 0
    return image


def test_a_folder_is_opened_with_all_that_its_lines_say(cutouts_folder, line):
    library = CutOutLibrary.open(cutouts_folder(line(azimuth=30.0, elevation=12.5, stands=False, license="MIT-0")))

    (cutout,) = library.cutouts
    assert (cutout.id, cutout.label, cutout.variant, cutout.split) == ("cone/a-00", "cone", "a", "train")
    assert (cutout.height_m, cutout.azimuth, cutout.elevation, cutout.stands) == (0.75, 30.0, 12.5, False)
    assert cutout.rgba.shape == (20, 12, 4)
    assert cutout.rgba[3, 4].tolist() == [200, 90, 20, 255]


def test_a_picture_cannot_be_changed_by_one_of_those_who_share_it(cutouts_folder, line):
    (cutout,) = CutOutLibrary.open(cutouts_folder(line())).cutouts

    with pytest.raises(ValueError, match="read-only"):
        cutout.rgba[0] = 0


def test_a_person_carries_the_masks_of_what_is_worn(cutouts_folder, line):
    mask = np.zeros((20, 12), np.uint8)
    mask[2:6, 3:9] = 255
    part = {"label": "hard_hat", "box": [3, 2, 6, 4], "mask": "person/a-00-hard_hat.png"}
    lines = line("person/a-00", parts=[part]), line("person/b-00")
    library = CutOutLibrary.open(cutouts_folder(*lines, pictures={"person/a-00-hard_hat.png": mask}))

    worn = library.choose("person", np.random.default_rng(0), wears=frozenset({"hard_hat"}))
    bare = library.choose("person", np.random.default_rng(0), wears=frozenset())

    assert worn.variant == "a" and bare.variant == "b"
    assert np.array_equal(worn.parts[0].mask, mask)


@pytest.mark.parametrize(
    ("name", "image", "rule"),
    [
        ("transparent", picture(alpha=0), "shows at least 16 pixels"),
        ("one pixel", picture(1, 1), "at least 8 pixels"),
        ("border", bordered(), "cut tight"),
        ("large", picture(8, 5000), "at most 4096 pixels"),
    ],
)
def test_pictures_that_show_no_object_are_refused(cutouts_folder, line, name, image, rule):
    folder = cutouts_folder(line(), pictures={"cone/a-00.png": image})

    with pytest.raises(ImageError, match=rule):
        CutOutLibrary.open(folder)


def test_a_file_that_is_no_picture_is_refused(cutouts_folder, line):
    folder = cutouts_folder(line())
    (folder / "cone/a-00.png").write_bytes(b"no picture")

    with pytest.raises(ImageError, match=r"a-00\.png"):
        CutOutLibrary.open(folder)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"split": "val"}, r"cutouts\.jsonl:2: split.*'val'"),
        ({"height_m": 0}, r"cutouts\.jsonl:2: height_m"),
        ({"height_m": float("nan")}, r"cutouts\.jsonl:2"),
        ({"file": "../elsewhere.png"}, r"cutouts\.jsonl:2: file.*inside the folder"),
        ({"file": "/etc/passwd"}, r"cutouts\.jsonl:2: file.*inside the folder"),
        ({"colour": "red"}, r"cutouts\.jsonl:2: colour"),
        ({"id": "cone/a-00"}, r"id: must be there once"),
        ({"variant": "a", "split": "test"}, r"cone/b-00: split.*train for all views"),
    ],
)
def test_lines_that_break_a_rule_are_refused_by_name(cutouts_folder, line, changes, complaint):
    folder = cutouts_folder(line(), line("cone/b-00", **changes))

    with pytest.raises(InputError, match=complaint):
        CutOutLibrary.open(folder)


def test_missing_files_and_folders_are_told_apart(cutouts_folder, line, tmp_path):
    folder = cutouts_folder(line())
    (folder / "cone/a-00.png").unlink()

    with pytest.raises(InputError, match="a file that is there"):
        CutOutLibrary.open(folder)
    with pytest.raises(InputError, match=r"a folder with cutouts\.jsonl"):
        CutOutLibrary.open(tmp_path / "none")


def test_a_link_that_leads_out_of_the_folder_is_refused(cutouts_folder, line, tmp_path):
    folder = cutouts_folder(line())
    outside = tmp_path / "outside.png"
    (folder / "cone/a-00.png").rename(outside)
    (folder / "cone/a-00.png").symlink_to(outside)

    with pytest.raises(InputError, match="inside the folder"):
        CutOutLibrary.open(folder)


@pytest.mark.parametrize(
    ("box", "mask", "complaint"),
    [
        ([3, 2, 60, 4], np.full((20, 12), 255, np.uint8), "within 12 x 20 pixels"),
        ([3, 2, 6, 4], np.full((20, 24), 255, np.uint8), "of the cut-out's size"),
        ([3, 2, 6, 4], np.zeros((20, 12), np.uint8), "a mask with pixels"),
    ],
)
def test_parts_that_do_not_fit_are_refused(cutouts_folder, line, box, mask, complaint):
    entry = line("person/a-00", parts=[{"label": "hard_hat", "box": box, "mask": "hat.png"}])

    with pytest.raises(InputError, match=complaint):
        CutOutLibrary.open(cutouts_folder(entry, pictures={"hat.png": mask}))


def test_every_variant_is_as_likely_however_many_views_it_has(cutouts_folder, line):
    lines = [line("cone/a-00"), *(line(f"cone/b-{number:02d}") for number in range(9)), line("cone/c-00", split="test")]
    library = CutOutLibrary.open(cutouts_folder(*lines))
    rng = np.random.default_rng(3)

    variants = Counter(library.choose("cone", rng, "train").variant for _ in range(400))

    assert set(variants) == {"a", "b"}
    assert 150 < variants["a"] < 250
    assert library.choose("cone", rng, "test").variant == "c"


def test_the_same_seed_chooses_the_same(cutouts_folder, line):
    library = CutOutLibrary.open(cutouts_folder(*(line(f"cone/{name}-00") for name in "abcdef")))

    first, second = ([library.choose("cone", rng).id for _ in range(8)] for rng in map(np.random.default_rng, (5, 5)))

    assert first == second


def test_what_is_not_there_is_said_with_what_is(cutouts_folder, line):
    library = CutOutLibrary.open(cutouts_folder(line()))
    rng = np.random.default_rng(0)

    with pytest.raises(InputError, match=r"label: must be a class that has cut-outs on the test side \(none\)"):
        library.choose("cone", rng, "test")
    with pytest.raises(InputError, match=r"label.*\(cone\)"):
        library.choose("ladder", rng)
    with pytest.raises(InputError, match="variant"):
        library.choose("cone", rng, variant="z")
    with pytest.raises(InputError, match="wears"):
        library.choose("cone", rng, wears=frozenset({"hard_hat"}))


def test_libraries_join_unless_an_id_is_in_both(cutouts_folder, line):
    first = CutOutLibrary.open(cutouts_folder(line()))
    second = CutOutLibrary.open(cutouts_folder(line("tote/a-00"), folder="more"))

    assert first.join(second).labels() == ("cone", "tote")
    with pytest.raises(InputError, match="there once"):
        first.join(first)


def test_pictures_are_kept_within_bounds(cutouts_folder, line, monkeypatch):
    monkeypatch.setattr(module, "_pictures", module._Pictures(2 * 20 * 12 * 4))
    library = CutOutLibrary.open(cutouts_folder(*(line(f"cone/{name}-00") for name in "abcd")))
    reads = []
    monkeypatch.setattr(module, "_read_picture", lambda file: reads.append(file.name) or picture())

    for cutout in library.cutouts[::-1]:
        _ = cutout.rgba

    assert reads == ["b-00.png", "a-00.png"]  # c and d were opened last
