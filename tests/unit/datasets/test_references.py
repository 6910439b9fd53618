"""References: the right file is found for what a manifest calls it."""

from __future__ import annotations

import pytest

from defectory.datasets.references import FileFinder
from defectory.errors import InputError


@pytest.fixture
def tree(tmp_path):
    for name in ("x/images/1.png", "x/masks/1.png", "images/2.png", "deep/er/3.png", "4 +%20ä?#.png", ".trash/5.png"):
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("s3://bucket/x/images/1.png", "x/images/1.png"),
        ("s3://bucket/other/prefix/images/2.png", "images/2.png"),
        ("s3://bucket/elsewhere/images/1.png", "x/images/1.png"),
        ("s3://bucket/elsewhere/masks/1.png", "x/masks/1.png"),
        ("s3://bucket/a/b/3.png", "deep/er/3.png"),
        ("s3://bucket/4 +%20ä?#.png", "4 +%20ä?#.png"),
        ("./images/2.png", "images/2.png"),
        ("3.png", "deep/er/3.png"),
        ("s3://bucket/5.png", None),
        ("s3://bucket/images/../images/2.png", None),
        ("x" * 1000 + ".png", None),
        ("", None),
    ],
)
def test_the_file_whose_folders_agree_best_is_found(tree, reference, found):
    assert FileFinder(tree).find(reference) == (tree / found if found else None)


def test_an_absolute_path_is_taken_as_it_is(tree):
    assert FileFinder(tree / "images").find(str(tree / "x/masks/1.png")) == tree / "x/masks/1.png"


def test_of_two_that_agree_alike_neither_is_taken(tree):
    with pytest.raises(InputError, match="may be"):
        FileFinder(tree).find("s3://bucket/1.png")


def test_what_is_missing_is_placed_below_the_root(tree):
    assert FileFinder(tree).locate("s3://bucket/a/../b/9.png") == tree / "a/b/9.png"


def test_only_the_exact_place_is_beside(tree):
    assert FileFinder(tree).beside("images/2.png") == tree / "images/2.png"
    assert FileFinder(tree).beside("2.png") is None
    assert FileFinder(tree / "images").beside("../deep/er/3.png") is None
