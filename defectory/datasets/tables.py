"""Tables: datasets as CSV, ``s3path,normal|anomaly`` or with named columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from defectory.datasets.records import ImageRecord, Label
from defectory.datasets.references import FileFinder
from defectory.errors import InputError

COLUMNS = ("image", "label", "classes", "mask", "group", "synthetic")
"""The columns of a table, as `write_table` writes them; several classes are separated by ``;``."""

_IMAGE_NAMES = frozenset({"image", "path", "file", "filename", "source-ref", "s3path"})
_TRUE, _FALSE = frozenset({"yes", "true", "1"}), frozenset({"", "no", "false", "0"})


def read_table(file: Path, finder: FileFinder) -> tuple[ImageRecord, ...]:
    """The images of a table, one a row.

    Without a header the columns are the image and its label.  With one, only the image's column (``image``, ``path``,
    ``file``, ``s3path``...) is needed; ``label``, ``classes``, ``mask``, ``group`` and ``synthetic`` may follow in any
    order.  An empty label leaves the image unlabelled.

    Raises:
        InputError: a row is not as said; the message names it.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(str(file), "a CSV file (UTF-8) that can be read", str(error)) from None
    columns = _header(rows[0][1]) if rows else None
    rows = rows[1:] if columns else rows
    if not rows:
        raise InputError(str(file), "a table with at least one image", "none")
    return tuple(_record(cells, columns or COLUMNS[:2], f"{file}, line {line}", finder) for line, cells in rows)


def write_table(rows: Iterable[Mapping[str, str]], file: Path) -> None:
    """Write rows of `COLUMNS`, with the line ends of RFC 4180."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _header(cells: list[str]) -> tuple[str, ...] | None:
    names = [cell.lower() for cell in cells]
    if not any(name in _IMAGE_NAMES for name in names):
        return None
    return tuple("image" if name in _IMAGE_NAMES else "classes" if name == "class" else name for name in names)


def _record(cells: list[str], columns: tuple[str, ...], place: str, finder: FileFinder) -> ImageRecord:
    if len(cells) > len(columns):
        raise InputError(place, f"a row of {len(columns)} cells", len(cells), "Put cells with commas in quotes.")
    row = dict(zip(columns, cells, strict=False))
    reference = row.get("image", "")
    if not reference:
        raise InputError(f"{place}, image", "the path or reference of an image", reference)
    label = _label(row.get("label", ""), place)
    mask = row.get("mask", "") if label == "anomaly" else ""
    classes = tuple(dict.fromkeys(name.strip() for name in row.get("classes", "").split(";") if name.strip()))
    if classes and label != "anomaly":
        raise InputError(f"{place}, classes", "empty unless the label is anomaly", row["classes"])
    synthetic = row.get("synthetic", "").lower()
    if synthetic not in _TRUE | _FALSE:
        raise InputError(f"{place}, synthetic", "yes, no or empty", synthetic)
    return ImageRecord(
        path=finder.locate(reference),
        label=label,
        classes=classes,
        mask=finder.locate(mask) if mask else None,
        group=row.get("group", ""),
        synthetic=synthetic in _TRUE,
        source_ref=reference,
    )


def _label(text: str, place: str) -> Label | None:
    name = text.lower()
    if name == "normal" or name == "anomaly":
        return "normal" if name == "normal" else "anomaly"
    if name:
        raise InputError(f"{place}, label", "normal, anomaly or empty", text)
    return None
