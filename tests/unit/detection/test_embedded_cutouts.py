"""The embedded cut-outs: all classes, enough of each, on both sides of the split, small enough to ship."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from defectory.detection.cutouts import library as module
from defectory.detection.cutouts.library import CutOutLibrary

PPE = {"person", "hard_hat", "safety_vest"}
HOUSEKEEPING = {"pallet_jack", "go_cart", "step_ladder", "trash_can", "safety_cone", "tote", "pallet"}
FLOOR = {"spill", "debris"}
LIMIT = 8_000_000
ASSETS = Path(module.__file__).parent / "assets"


@pytest.fixture(scope="module")
def library() -> CutOutLibrary:
    return CutOutLibrary.embedded()


def test_every_class_of_the_presets_is_on_both_sides(library):
    assert set(library.labels("train")) == set(library.labels("test")) == PPE | HOUSEKEEPING | FLOOR


@pytest.mark.parametrize("label", sorted(PPE | HOUSEKEEPING | FLOOR))
def test_every_class_has_four_variants_of_24_views_and_none_on_both_sides(library, label):
    views, sides = defaultdict(list), defaultdict(set)
    for cutout in library.select(label):
        views[cutout.variant].append(cutout.view)
        sides[cutout.variant].add(cutout.split)

    assert len(views) >= 4
    assert all(len(set(numbers)) >= 24 for numbers in views.values())
    assert all(len(split) == 1 for split in sides.values())


def test_heights_are_those_of_things(library):
    limits = {"person": (0.7, 2.3), "hard_hat": (0.1, 0.5), "safety_cone": (0.2, 1.2), "pallet": (0.1, 2.0)}
    for label, (low, high) in limits.items():
        heights = [cutout.height_m for cutout in library.select(label)]
        assert low < min(heights) and max(heights) < high, label


def test_people_are_dressed_in_every_way(library):
    for split in ("train", "test"):
        worn = {cutout.wears for cutout in library.select("person", split)}
        assert {frozenset(), frozenset({"hard_hat", "safety_vest"})} <= worn


def test_the_files_are_those_of_the_index_and_fit_into_the_wheel(library):
    named = {file for cutout in library.cutouts for file in (cutout.file, *(part.file for part in cutout.parts))}
    there = {file for file in ASSETS.rglob("*") if file.is_file()}

    assert there == named | {ASSETS / "cutouts.jsonl"}
    assert sum(file.stat().st_size for file in there) <= LIMIT


def test_pictures_are_tight_and_small_and_hats_are_on_heads(library):
    rng = np.random.default_rng(0)
    for label in library.labels():
        for _ in range(3):
            cutout = library.choose(label, rng)
            module._check_pictures(cutout)
            assert max(cutout.rgba.shape[:2]) <= 224, cutout.id
            for part in cutout.parts:
                assert (cutout.rgba[part.mask > 0][:, 3] > 0).mean() > 0.9, cutout.id


def test_liquids_let_the_floor_shine_through(library):
    water = library.select("spill", variant="water")[0]

    inside = water.rgba[..., 3][water.rgba[..., 3] > 0]
    assert 40 < np.median(inside) < 200
