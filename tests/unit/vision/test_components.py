from __future__ import annotations

import cv2
import numpy as np

from defectory.inspection.samples import render_part
from defectory.vision.arrays import Image
from defectory.vision.components import find_components, solid
from defectory.vision.foreground import find_part


def test_the_holes_of_a_flange_are_components() -> None:
    image, _ = render_part(np.random.default_rng(3))
    _, missing = render_part(np.random.default_rng(3), "missing-hole")
    y, x = (int(each.mean()) for each in np.nonzero(missing))

    found = find_components(image, find_part(image))

    assert len(found) >= 6
    assert any(each.mask[y, x] == 255 for each in found)
    areas = [np.count_nonzero(each.mask) for each in found]
    assert max(areas) < 3 * np.count_nonzero(missing)
    assert all(0 <= each.clarity <= 1 for each in found)


def _surface(height: int, width: int) -> Image:
    noise = np.random.default_rng(0).normal(0, 1.5, (height, width, 1))
    return np.clip(90 + noise + np.zeros(3), 0, 255).astype(np.uint8)


def test_components_do_not_overlap_and_the_clearest_come_first() -> None:
    image = _surface(200, 260)
    cv2.rectangle(image, (40, 40), (80, 70), (200, 190, 60), -1)
    cv2.circle(image, (180, 120), 18, (150, 90, 90), -1)

    found = find_components(image, np.full((200, 260), 255, np.uint8))

    assert found[0].mask[55, 60] == 255
    assert sum((each.mask > 0).astype(int) for each in found).max() == 1
    assert [each.clarity for each in found] == sorted((each.clarity for each in found), reverse=True)
    assert any(each.mask[120, 180] == 255 for each in found)


def test_a_component_comes_with_its_rim() -> None:
    image = _surface(160, 160)
    cv2.circle(image, (80, 80), 16, (140, 140, 140), -1)
    cv2.circle(image, (80, 80), 12, (220, 220, 220), -1)

    found = find_components(image, np.full((160, 160), 255, np.uint8))

    assert found[0].mask[80, 95] == 255


def test_a_plain_surface_has_no_components() -> None:
    noise = np.random.default_rng(0).normal(120, 6, (150, 150, 1)) + np.zeros(3)

    assert find_components(np.clip(noise, 0, 255).astype(np.uint8), np.full((150, 150), 255, np.uint8)) == []


def test_holes_of_a_region_are_filled() -> None:
    ring = np.zeros((30, 30), np.uint8)
    cv2.circle(ring, (15, 15), 10, 1, 3)

    filled = solid(ring > 0)

    assert filled[15, 15]
    assert not filled[0, 0]
