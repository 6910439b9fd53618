"""Preparation: regions, sizes, tiles and patches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from defectory.errors import InputError
from defectory.inspection.backbone import embedded_backbone
from defectory.inspection.perturbation import perturb
from defectory.inspection.preparation import Preparation, Region, patches_of, resize
from tests.unit.inspection.conftest import render_part


@pytest.fixture(scope="module")
def backbone():
    return embedded_backbone()


@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_a_region_always_holds_a_pixel_and_stays_inside(width, height, data):
    left, top = data.draw(st.floats(0, 0.98)), data.draw(st.floats(0, 0.98))
    region = Region(left=left, top=top, right=left + 0.02, bottom=top + 0.02)

    x0, y0, x1, y1 = region.pixels(width, height)

    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


def test_a_region_is_read_from_text():
    assert Region.parse("0.1, 0.2,0.5,1") == Region(left=0.1, top=0.2, right=0.5, bottom=1)


@pytest.mark.parametrize("text", ["", "0,0,1", "a,b,c,d", "0,0,2,2", "0.5,0,0.5,1", "0,0,1,nan"])
def test_what_is_no_region_is_refused(text):
    with pytest.raises(InputError, match="left,top,right,bottom"):
        Region.parse(text)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(100, 100)], (256, 256)),
        ([(380, 550)], (256, 384)),
        ([(768, 576)], (352, 256)),
        ([(100, 100), (100, 100), (5000, 10)], (256, 256)),
        ([(10, 1000)], (256, 512)),
    ],
)
def test_the_networks_input_follows_the_median_aspect(backbone, sizes, expected):
    preparation = Preparation.fitting(sizes, backbone)

    assert (preparation.height, preparation.width) == expected


def test_the_aspect_is_the_regions_and_a_tiles(backbone):
    half = Preparation.fitting([(100, 200)], backbone, region=Region(right=0.5))
    tiled = Preparation.fitting([(100, 200)], backbone, tiles=(1, 2))

    assert half.height == half.width == 256
    assert (tiled.height, tiled.width, tiled.size) == (256, 256, (256, 512))


def test_tiles_describe_the_image_as_a_whole_network_would(backbone):
    image = resize(render_part(1), 256, 256)
    whole = patches_of(image, Preparation(height=256, width=256), backbone)
    tiled = patches_of(image, Preparation(height=128, width=128, rows=2, columns=2), backbone)

    agreement = np.einsum("hwd,hwd->hw", whole, tiled)

    assert tiled.shape == whole.shape
    assert agreement[4:-4, 4:-4].mean() > 0.9


def test_patches_are_unit_vectors(backbone):
    patches = patches_of(resize(render_part(1), 96, 64), Preparation(height=96, width=64), backbone)

    assert np.allclose(np.linalg.norm(patches, axis=2), 1, atol=1e-4)


@pytest.mark.parametrize("field", [{"rows": 0}, {"columns": 9}, {"height": 4}, {"width": 99999}])
def test_preparations_out_of_bounds_are_refused(field):
    with pytest.raises(ValidationError):
        Preparation(**{"height": 64, "width": 64, **field})


@pytest.mark.parametrize("seed", range(12))
def test_a_perturbation_changes_a_little_of_the_image_where_it_is_inspected(seed):
    image = render_part(1)
    valid = np.zeros((4, 4), bool)
    valid[:, :2] = True

    changed = (perturb(image, valid, np.random.default_rng(seed)) != image).any(axis=2)

    assert 0 < changed.mean() < 0.3
    assert changed[:, :48].any()
    assert image is not perturb(image, valid, np.random.default_rng(seed))
