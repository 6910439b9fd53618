"""Tables: CSV with and without a header; a bad row is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.datasets import load_dataset
from defectory.datasets.records import ImageRecord
from defectory.datasets.references import FileFinder
from defectory.datasets.tables import read_table, write_table
from defectory.errors import InputError


@pytest.fixture
def table(tmp_path, photo, mask):
    photo(tmp_path / "images/a.png")
    photo(tmp_path / "images/b, c.png", 1)
    mask(tmp_path / "images/m.png")

    def write(text: str) -> Path:
        file = tmp_path / "parts.csv"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def told(file: Path) -> list[tuple]:
    return [(record.path.name, record.label, record.classes) for record in load_dataset(file).records]


def test_two_columns_without_header(table):
    file = table('s3://bucket/photos/a.png,normal\n\n"images/b, c.png", Anomaly \n')
    assert told(file) == [("a.png", "normal", ()), ("b, c.png", "anomaly", ())]


def test_named_columns_in_any_order(table, tmp_path):
    file = table("\ufeffLabel,Mask,S3Path,class,group,synthetic\r\nanomaly,m.png,a.png,crack; dent;crack,7,yes\r\n")
    assert load_dataset(file).records == (
        ImageRecord(
            tmp_path / "images/a.png",
            "anomaly",
            ("crack", "dent"),
            tmp_path / "images/m.png",
            group="7",
            synthetic=True,
            source_ref="a.png",
        ),
    )


def test_an_image_s_column_alone_leaves_all_unlabelled(table):
    assert told(table("path\nimages/a.png\n")) == [("a.png", None, ())]


def test_the_mask_of_a_normal_image_is_passed_by(table):
    assert load_dataset(table("image,label,mask\na.png,normal,m.png\n")).records[0].mask is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one image"),
        ("image,label\n", "at least one image"),
        ("a.png,good\n", r"line 1, label: must be normal, anomaly or empty, got 'good'"),
        ("image,label\na.png,normal\n,normal\n", "line 3, image"),
        ("a.png,normal,crack\n", "line 1: must be a row of 2 cells"),
        ("image,label,classes\na.png,normal,crack\n", "line 2, classes"),
        ("image,synthetic\na.png,maybe\n", "line 2, synthetic"),
        ('image\n"a.png\n', "CSV file"),
        ("gone.png,normal\n", "--images"),
        ("a.png,normal\nimages/a.png,anomaly\n", "said once"),
    ],
)
def test_a_bad_row_is_named_with_its_rule(table, text, message):
    with pytest.raises(InputError, match=message):
        load_dataset(table(text))


# A cell's blanks at either end do not count, and names of classes are parted by semicolons.
cells = st.text(st.characters(codec="utf-8", exclude_characters=";\0"), min_size=1, max_size=12).map(str.strip)


@given(
    st.lists(st.tuples(cells.filter(bool), st.sampled_from(["normal", "anomaly", ""]), cells), min_size=1, max_size=5)
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    file = tmp_path_factory.getbasetemp() / "written.csv"
    write_table(
        ({"image": image, "label": label, "group": group} for image, label, group in rows),
        file,
    )
    records = read_table(file, FileFinder(file.parent / "none"))
    assert [(r.source_ref, r.label or "", r.group) for r in records] == rows
