"""Sample parts: pictures and masks that belong together, reproducible, and defects that show where the mask says."""

import cv2
import numpy as np
import pytest

from defectory.inspection.samples import DEFECTS, render_part, write_samples


def test_a_folder_of_good_and_defective_parts(tmp_path):
    write_samples(tmp_path, good=2, defective=5, seed=3)

    assert sorted(path.name for path in (tmp_path / "normal").iterdir()) == ["flange-000.png", "flange-001.png"]
    names = {"scratch-000.png", "dent-000.png", "stain-000.png", "missing-hole-000.png", "scratch-001.png"}
    for folder in ("anomaly", "masks"):
        assert {path.name for path in (tmp_path / folder).iterdir()} == names
    picture, mask = (cv2.imread(str(tmp_path / f / "dent-000.png"), -1) for f in ("anomaly", "masks"))
    assert picture.shape == (256, 256, 3)
    assert mask.shape == (256, 256)


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_defect_shows_within_its_mask_and_nowhere_else(defect):
    seed = 11
    good, nothing = render_part(np.random.default_rng(seed))
    bad, mask = render_part(np.random.default_rng(seed), defect)
    again, _ = render_part(np.random.default_rng(seed), defect)

    assert not nothing.any()
    assert set(np.unique(mask)) == {0, 255}
    assert 20 < np.count_nonzero(mask) < 0.05 * mask.size
    assert np.array_equal(bad, again)
    near = cv2.dilate(mask, np.ones((9, 9), np.uint8)) > 0
    if defect == "missing-hole":  # takes no random numbers of its own, so all else is the same picture
        difference = np.abs(bad.astype(int) - good.astype(int)).max(axis=2)
        assert difference[~near].max() == 0
        assert difference[mask > 0].max() > 60


def test_no_two_parts_are_alike():
    rng = np.random.default_rng(1)
    first, second = render_part(rng)[0], render_part(rng)[0]

    assert np.abs(first.astype(int) - second.astype(int)).mean() > 2
