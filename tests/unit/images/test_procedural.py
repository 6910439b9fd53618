"""The procedural renderer, and the kinds that are lines or relief."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.errors import InputError, RenderError
from defectory.images.placement import Placement
from defectory.images.renderers import RenderRequest, RenderResult
from defectory.images.renderers.procedural import ProceduralRenderer
from defectory.inspection.samples import render_part
from defectory.vision.arrays import Image
from defectory.vision.foreground import find_part
from defectory.vision.photos import Photo

KINDS = ("scratch", "crack", "dent")
RENDERER = ProceduralRenderer()


@pytest.fixture(scope="module")
def flange() -> Photo:
    image, _ = render_part(np.random.default_rng(5))
    return Photo("flange.png", image, "f1")


def plate(*, brighter_to_the: str = "right", blur: float = 0.0, height: int = 128, width: int = 128) -> Photo:
    """A grey plate, lit from one side."""
    rng = np.random.default_rng(2)
    slope = np.linspace(-25, 25, width) * (1 if brighter_to_the == "right" else -1)
    grey = 125 + slope[None, :] + 12 * cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 0.8)
    if blur:
        grey = cv2.GaussianBlur(grey, (0, 0), blur)
    return Photo("plate.png", np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None], 3, 2), "p1")


def difference(photo: Photo, made: RenderResult) -> np.ndarray:
    return made.image.astype(int) - photo.image


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_order_gives_the_same_picture_and_another_seed_another(kind: str, flange: Photo) -> None:
    first, again, other = (RENDERER.render(flange, RenderRequest(kind, seed)) for seed in (1, 1, 2))

    assert first.image.tobytes() == again.image.tobytes()
    assert first.mask is not None and again.mask is not None
    assert first.mask.tobytes() == again.mask.tobytes()
    assert first.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 4_294_967_294))
def test_defects_are_on_the_part_visible_and_marked(kind: str, flange: Photo, seed: int) -> None:
    photo = flange

    made = RENDERER.render(photo, RenderRequest(kind, seed))

    assert made.mask is not None
    changes = np.abs(difference(photo, made)).max(2)
    assert not changes[find_part(photo.image) == 0].any()
    assert 0.1 <= made.severity <= 1
    clear = changes >= max(8, 0.3 * changes.max())
    assert clear[made.mask == 0].sum() <= 0.1 * clear.sum()
    assert (made.image[made.mask > 0] != photo.image[made.mask > 0]).any(1).mean() > 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_an_orders_mask_says_where_and_how_large(kind: str) -> None:
    photo, mask = plate(), np.zeros((128, 128), np.uint8)
    cv2.ellipse(mask, (60, 70), (30, 14), 25, 0, 360, 255, -1)

    made = RENDERER.render(photo, RenderRequest(kind, 3, mask))

    assert made.mask is not None
    assert not difference(photo, made)[mask == 0].any()
    extent = np.ptp(np.nonzero(made.mask), 1).max()
    assert extent > 25


@pytest.mark.parametrize("kind", ["scratch", "crack"])
def test_lines_follow_a_bent_mask(kind: str) -> None:
    photo, mask = plate(), np.zeros((128, 128), np.uint8)
    cv2.ellipse(mask, (64, 30), (50, 60), 0, 20, 160, 255, 9)

    made = RENDERER.render(photo, RenderRequest(kind, 3, mask))

    assert made.mask is not None
    columns = np.flatnonzero((mask > 0).any(0))
    assert (made.mask > 0).any(0)[columns].mean() > 0.5  # straight through, it would leave the mask at once


def test_a_hand_drawn_mask_is_kept_to_the_part(flange: Photo) -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[10:60, 100:156] = 255  # half on the table

    made = RENDERER.render(flange, RenderRequest("dent", 1, mask))

    assert not difference(flange, made)[find_part(flange.image) == 0].any()


def test_a_region_bounds_every_defect(flange: Photo) -> None:
    region = np.zeros((256, 256), np.uint8)
    region[100:160, 170:220] = 255
    photo = Photo(flange.name, flange.image, flange.digest, region)

    for seed in range(4):
        assert not difference(photo, RENDERER.render(photo, RenderRequest("crack", seed)))[region == 0].any()


@pytest.mark.parametrize("side", ["left", "right"])
def test_dents_are_lit_by_the_photos_own_light(side: str) -> None:
    """Given light from one side, when a dent is drawn, then its wall across from the light is the bright one."""
    photo = plate(brighter_to_the=side)
    bright_left = 0
    for seed in range(6):
        made = RENDERER.render(photo, RenderRequest("dent", seed))
        assert made.mask is not None
        changes = difference(photo, made).mean(2)
        columns = np.nonzero(made.mask)[1]
        middle = int(columns.mean())
        bright_left += changes[:, :middle].sum() > changes[:, middle:].sum()

    assert bright_left == (6 if side == "right" else 0)


def test_cracks_are_darker_than_what_is_around_them() -> None:
    photo = plate()
    for seed in range(5):
        made = RENDERER.render(photo, RenderRequest("crack", seed))
        assert made.mask is not None
        assert difference(photo, made)[made.mask > 0].mean() < -5


def test_defects_are_as_sharp_as_the_photo() -> None:
    """A crisp line on a blurred photo would give itself away."""

    def steepest(photo: Photo) -> float:
        steps = []
        for seed in range(4):
            changes = difference(photo, RENDERER.render(photo, RenderRequest("crack", seed))).mean(2).astype(np.float32)
            steps.append(np.abs(np.diff(changes, axis=1)).max() / np.abs(changes).max())
        return float(np.median(steps))

    edged = plate().image.astype(np.float32)
    edged[:, 64:] += 60
    crisp = np.clip(edged, 0, 255).astype(np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(crisp, (0, 0), 2.5), np.uint8)

    assert steepest(Photo("blurred", blurred, "b")) < 0.6 * steepest(Photo("crisp", crisp, "c"))


def test_a_users_placement_replaces_the_default() -> None:
    renderer = ProceduralRenderer({"dent": Placement(size=(0.15, 0.16), centres=((0.2, 0.2),))})

    made = [renderer.render(plate(), RenderRequest("dent", seed)) for seed in range(8)]

    places = np.array([[m.parameters["x"], m.parameters["y"]] for m in made], float)
    assert np.median(np.hypot(*(places - 0.2 * 128).T)) < 0.35 * 128
    assert all(18 < float(str(m.parameters["length"])) < 22 for m in made)


def test_other_kinds_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError) as refused:
        RENDERER.render(plate(), RenderRequest("rust", 1))

    message = str(refused.value)
    for kind in ("scratch", "oil", "stain", "crack", "dent", "missing_component", "contamination"):
        assert kind in message


def test_there_has_to_be_a_photo() -> None:
    with pytest.raises(InputError, match="source: must be a photo"):
        RENDERER.render(None, RenderRequest("scratch", 1))


def test_what_cannot_be_seen_is_not_made() -> None:
    black: Image = np.zeros((100, 100, 3), np.uint8)

    with pytest.raises(RenderError, match=r"dent on night.png: none of 6 tries"):
        RENDERER.render(Photo("night.png", black, ""), RenderRequest("dent", 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 64), (64, 400), (300, 64)])
def test_small_and_narrow_photos_will_do(kind: str, size: tuple[int, int]) -> None:
    photo = plate(height=size[0], width=size[1])

    made = RENDERER.render(photo, RenderRequest(kind, 4))

    assert made.image.shape == photo.image.shape
    assert made.mask is not None and made.mask.any()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(64, 110), st.integers(64, 110)),
    look=st.sampled_from(["flat", "noise", "gradient", "checks"]),
    level=st.integers(0, 255),
)
def test_any_photo_gives_a_defect_or_says_that_none_can_be_seen(
    kind: str, seed: int, size: tuple[int, int], look: str, level: int
) -> None:
    picture = np.full((*size, 3), float(level))
    if look == "noise":
        picture += np.random.default_rng(seed).normal(0, 60, picture.shape)
    elif look == "gradient":
        picture += np.linspace(-120, 120, size[1])[None, :, None]
    elif look == "checks":
        picture += 90 * (np.indices(size).sum(0) // 9 % 2)[..., None]
    photo = Photo("any.png", np.clip(picture, 0, 255).astype(np.uint8), "a")

    try:
        made = RENDERER.render(photo, RenderRequest(kind, seed % 1000))
    except RenderError:
        return
    assert made.image.shape == photo.image.shape
    assert made.mask is not None and set(np.unique(made.mask)) == {0, 255}
    assert made.severity >= 0.1


def test_one_renderer_serves_several_threads(flange: Photo) -> None:
    requests = [RenderRequest(kind, seed) for kind in KINDS for seed in (1, 2)]
    alone = [RENDERER.render(flange, request).image.tobytes() for request in requests]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda request: RENDERER.render(flange, request).image.tobytes(), requests))

    assert together == alone
