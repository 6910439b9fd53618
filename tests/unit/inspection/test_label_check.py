"""Which labels are not believed, by scores that a person can check."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from defectory.datasets import Dataset, ImageRecord
from defectory.inspection import label_check
from defectory.inspection.label_check import find_suspects

# With one high score more the median of these is 1.0, and the median deviation from it 0.2: four robust deviations are
# 4 * 1.4826 * 0.2 = 1.186.
EIGHT = [0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3]


@pytest.fixture
def suspects(monkeypatch: pytest.MonkeyPatch):
    """The numbers of the suspects among good and defective images with these scores, and what is said of them."""

    def find(good: list[float], defective: list[float], **options: bool) -> list[tuple[int, str]]:
        monkeypatch.setattr(label_check, "_scores", lambda dataset, records: np.array([*good, *defective]))
        labels = ["normal"] * len(good) + ["anomaly"] * len(defective)
        records = [ImageRecord(Path(f"/parts/{n}.png"), label, **options) for n, label in enumerate(labels)]
        found = find_suspects(Dataset(tuple(records), Path("/parts")), records)
        return [(int(suspect.record.path.stem), suspect.reason) for suspect in found]

    return find


@pytest.mark.parametrize(("score", "numbers"), [(2.18, []), (2.19, [8])])
def test_a_good_part_is_suspect_beyond_four_robust_deviations(suspects, score, numbers):
    found = suspects([*EIGHT, score], [])

    assert [number for number, _ in found] == numbers
    assert all(said == "Labelled normal, but unlike other good parts. Look at it." for _, said in found)


@pytest.mark.parametrize(("score", "numbers"), [(2.49, []), (2.5, [8])])
def test_where_there_are_defects_it_has_to_look_like_half_of_them(suspects, score, numbers):
    found = suspects([*EIGHT, score], [2.4, 2.5, 9.0])

    assert [number for number, _ in found] == numbers
    assert all("as different from good parts as defective ones are" in said for _, said in found)


@pytest.mark.parametrize(("score", "numbers"), [(1.0, []), (0.99, [9])])
def test_a_defective_part_is_suspect_below_the_median_of_the_good_ones(suspects, score, numbers):
    assert [number for number, _ in suspects([*EIGHT, 1.0], [score, 5.0])] == numbers


def test_the_most_striking_come_first(suspects):
    # From the median of 1.0: 4.0, 0.5 and 7.0 away.
    assert [number for number, _ in suspects([*EIGHT[:-1], 5.0, 8.0], [0.5, 4.0, 4.5])] == [8, 7, 9]


def test_of_seven_good_parts_nothing_is_said_and_of_eight_something_is(suspects):
    assert suspects([*EIGHT[:6], 9.0], []) == []
    assert [number for number, _ in suspects([*EIGHT[:7], 9.0], [])] == [7]


def test_equal_scores_make_whatever_differs_suspect(suspects):
    assert [number for number, _ in suspects([1.0] * 8 + [1.001], [])] == [8]


def test_synthetic_images_are_passed_by(suspects):
    assert suspects([*EIGHT, 9.0], [], synthetic=True) == []


def test_a_score_is_the_mean_distance_of_the_hundredth_of_patches_that_are_farthest(monkeypatch):
    # Of distances from 1 to 200 the two highest.
    monkeypatch.setattr(label_check, "embedded_backbone", lambda: None)
    monkeypatch.setattr(label_check, "load_image", lambda path: np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setattr(label_check.Preparation, "fitting", lambda sizes, backbone, resolution: None)
    monkeypatch.setattr(label_check, "_patches", lambda path, preparation, backbone: np.zeros((10, 20, 4), np.float32))
    distances = np.arange(1.0, 201.0).reshape(10, 20)
    detector = SimpleNamespace(distances=lambda patches: distances)
    monkeypatch.setattr(label_check.PatchCore, "fit", lambda patches, valid, seed: detector)
    records = [ImageRecord(Path(f"/parts/{number}.png"), "normal") for number in range(8)]
    digests = {record.path: f"{number}" for number, record in enumerate(records)}

    scores = label_check._scores(Dataset(tuple(records), Path("/parts"), digests=digests), records)

    assert scores.tolist() == [199.5] * 8
