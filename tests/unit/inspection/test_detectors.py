"""Detectors on made-up patches: what is far is far, and what was learned survives storage."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from defectory.inspection.detectors.padim import Padim
from defectory.inspection.detectors.patch_head import PatchHead
from defectory.inspection.detectors.patchcore import BANK_SIZE, PatchCore
from defectory.inspection.detectors.registry import DETECTORS
from defectory.inspection.detectors.signature import Signature

VALID = np.ones((6, 8), bool)


def directions(count: int, depth: int = 16) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(9).normal(size=(depth, depth)))[0][:count].astype(np.float32)


def patches(kinds: np.ndarray, seed: int, noise: float = 0.05) -> np.ndarray:
    """Unit vectors near the direction that ``kinds`` numbers."""
    rng = np.random.default_rng(seed)
    vectors = directions(8)[kinds] + rng.normal(0, noise, (*kinds.shape, 16))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


# The left half shows one thing, the right half another.
LAYOUT = np.repeat([[0] * 4 + [1] * 4], 6, axis=0)
GOOD = [patches(LAYOUT, seed) for seed in range(12)]


@pytest.mark.parametrize("name", DETECTORS)
def test_a_foreign_patch_is_the_farthest(name):
    layout = LAYOUT.copy()
    layout[2, 5] = 4
    detector = DETECTORS[name].fit(GOOD, VALID, seed=0)

    distances = detector.distances(patches(layout, 99))

    assert distances.shape == (6, 8)
    assert distances.min() >= 0
    assert np.unravel_index(distances.argmax(), distances.shape) == (2, 5)
    assert distances[2, 5] > 2 * np.delete(distances.ravel(), 2 * 8 + 5).max()


@pytest.mark.parametrize("name", DETECTORS)
def test_what_was_learned_survives_storage_bit_by_bit(name):
    detector = DETECTORS[name].fit(GOOD, VALID, seed=0)
    again = DETECTORS[name].from_arrays(detector.arrays())

    assert np.array_equal(again.distances(GOOD[0]), detector.distances(GOOD[0]))
    assert all(array.dtype == np.float16 for array in detector.arrays().values())


@pytest.mark.parametrize("name", DETECTORS)
def test_the_same_seed_learns_the_same(name):
    first, second = (DETECTORS[name].fit(GOOD, VALID, seed=5).arrays() for _ in range(2))

    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_only_padim_minds_where_a_patch_lies():
    layout = LAYOUT.copy()
    layout[3, 1] = 1
    moved = patches(layout, 99)

    ratio = {}
    for name in DETECTORS:
        distances = DETECTORS[name].fit(GOOD, VALID, seed=0).distances(moved)
        ratio[name] = distances[3, 1] / np.median(distances)

    assert ratio["padim"] > 3
    assert ratio["patchcore"] < 3


def test_rare_good_patches_are_in_the_coreset():
    rng = np.random.default_rng(0)
    common = patches(np.zeros((40, 50), int), 1)
    images = [common] * 3
    rare = common.copy()
    rare[rng.integers(40), rng.integers(50)] = directions(8)[5]
    core = PatchCore.fit([*images, rare], np.ones((40, 50), bool), seed=0)

    assert len(core.bank) == BANK_SIZE
    assert (core.bank @ directions(8)[5]).max() > 0.99


def test_patches_of_ignored_places_are_not_remembered():
    valid = VALID.copy()
    valid[:, 4:] = False
    core = PatchCore.fit(GOOD, valid, seed=0)

    assert core.distances(GOOD[0])[:, 4:].min() > 5 * core.distances(GOOD[0])[:, :4].max()


@pytest.mark.parametrize(
    ("place", "off", "distance"),
    [
        (0, (1.1, 0.9), 1.0),
        (0, (1.1, 0.0), 0.5**0.5),
        (0, (0.0, 1.8), 2 * 0.5**0.5),
        (1, (0.9, 1.1), 1.0),
        (1, (-0.9, 0.0), 0.5**0.5),
        (1, (0.0, 2.2), 2 * 0.5**0.5),
    ],
)
def test_padims_spread_of_a_place_is_its_own_as_far_as_images_tell_and_all_places_for_the_rest(place, off, distance):
    # Five images.  The first place varies along the first feature by -2, -1, 0, 1, 2: variances 2 and 0; the second
    # place along the second feature: 0 and 2.  All places: 1 and 1; the third place is ignored.  Five images weigh
    # 5 / (5 + 20) = 0.2: the first place has 0.2 * 2 + 0.8 * 1 = 1.2 and 0.2 * 0 + 0.8 * 1 = 0.8, and a hundredth of
    # the mean variance on top: 1.21 and 0.81, deviations 1.1 and 0.9.  The second place has them the other way round.
    middle = np.array([[[0.5, -0.25], [0.25, 0.5], [0.0, 0.0]]], np.float32)
    steps = np.arange(-2, 3, dtype=np.float32)
    images = [middle + np.array([[[step, 0], [0, step], [50 * step, 50 * step]]], np.float32) for step in steps]
    padim = Padim.fit(images, np.array([[True, True, False]]), seed=0)
    seen = middle.copy()
    seen[0, place] += off

    distances = padim.distances(seen)

    assert distances[0, place] == pytest.approx(distance, abs=5e-3)
    assert distances[0, 1 - place] == pytest.approx(0, abs=5e-3)


def test_padim_keeps_within_its_size():
    images = [patches(np.zeros((64, 64), int), seed) for seed in range(3)]
    padim = Padim.fit(images, np.ones((64, 64), bool), seed=0)

    assert padim.arrays()["whiteners"].size <= 1_100_000


@pytest.mark.parametrize(
    ("kind", "arrays"),
    [
        (PatchCore, {"bank": np.zeros(3)}),
        (Padim, {"projection": np.zeros((4, 2)), "means": np.zeros((6, 3)), "whiteners": np.zeros((6, 3))}),
        (PatchHead, {"weights": np.zeros((3, 1)), "blend": np.zeros(2)}),
        (Signature, {"centre": np.zeros(2), "scale": np.zeros(3), "axes": np.zeros((1, 2)), "variances": np.zeros(1),
                     "numbers": np.zeros(3)}),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_each_other_are_refused(kind, arrays):
    with pytest.raises(ValueError):
        kind.from_arrays(arrays)


# ------------------------------------------------------------------ signature


def test_an_image_that_is_odd_as_a_whole_is_told():
    signature = Signature.fit(GOOD, VALID).tuned(1.0, 1.0)
    # No patch is foreign, but there is too much of one kind.
    odd = patches(np.zeros((6, 8), int), 99)

    assert signature.image_score(odd, VALID) > 2 * max(
        signature.image_score(patches(LAYOUT, n), VALID) for n in (50, 51, 52)
    )
    assert signature.factor(odd, VALID) == pytest.approx(signature.image_score(odd, VALID))


def test_a_signature_survives_storage():
    signature = Signature.fit(GOOD, VALID).tuned(1.3, 0.4)
    again = Signature.from_arrays(signature.arrays())

    assert again.factor(GOOD[0], VALID) == signature.factor(GOOD[0], VALID)


# ------------------------------------------------------------------ patch head


def head(blend_weight: float = 1.0) -> PatchHead:
    marked = []
    for kind, direction in ((1, 4), (2, 5)):
        layout, marks = LAYOUT.copy(), np.zeros(LAYOUT.shape, np.uint8)
        layout[1:3, 1:3], marks[1:3, 1:3] = direction, kind
        marked.append((patches(layout, 70 + kind), marks))
    return PatchHead.fit(GOOD, marked, VALID, 3, blend_weight=blend_weight, unit=0.1, seed=0)


def test_a_head_names_defects_and_raises_them():
    layout = LAYOUT.copy()
    layout[4, 2], layout[4, 6] = 4, 5
    seen = patches(layout, 99)

    kinds, raised = head().kinds(seen), head().correct(np.zeros((6, 8), np.float32), seen)

    assert (kinds[4, 2], kinds[4, 6]) == (1, 2)
    assert min(raised[4, 2], raised[4, 6]) > 0.05
    assert np.median(raised) < 0.01


def test_a_head_that_weighs_nothing_only_names():
    distances = np.random.default_rng(0).random((6, 8)).astype(np.float32)

    assert np.array_equal(head(blend_weight=0.0).correct(distances, GOOD[0]), distances)


def test_a_class_no_patch_shows_is_never_named():
    assert not (head().kinds(patches(np.full((6, 8), 6), 1)) == 3).any()


def test_a_head_learns_as_good_what_lies_apart_from_a_defect_and_neither_its_edge_nor_ignored_places():
    # Each kind of place looks its own way: apart (2), the edge (3), the defect (4), ignored (6).
    layout, marks, valid = np.full((6, 8), 2), np.zeros((6, 8), np.uint8), VALID.copy()
    layout[1:4, 1:4], layout[2, 2], layout[:, 6:] = 3, 4, 6
    marks[2, 2], valid[:, 6:] = 1, False
    image = patches(layout, 71)
    places = [(row, column) for row in range(6) for column in range(6)]
    apart = [place for place in places if max(abs(place[0] - 2), abs(place[1] - 2)) > 1]
    assert len(apart) == 36 - 9
    learned = [GOOD[0][place] for place in places] + [image[2, 2]] + [image[place] for place in apart]
    truth = [0] * 36 + [1] + [0] * 27
    wanted = LogisticRegression(C=10, class_weight="balanced").fit(learned, truth)

    head = PatchHead.fit([GOOD[0]], [(image, marks)], valid, 1, unit=1.0, seed=0)

    assert head.weights[:-1, 1] - head.weights[:-1, 0] == pytest.approx(wanted.coef_[0], abs=0.02)
    assert head.weights[-1, 1] - head.weights[-1, 0] == pytest.approx(wanted.intercept_[0], abs=0.02)


def test_a_head_survives_storage():
    again = PatchHead.from_arrays(head().arrays())

    assert np.array_equal(again.kinds(GOOD[0]), head().kinds(GOOD[0]))
    assert (again.blend_weight, again.unit) == (1.0, 0.1)
