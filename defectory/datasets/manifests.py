"""Manifests: JSON lines of Lookout for Vision and Ground Truth, read as they are found in the wild, and written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from defectory.datasets.masks import parse_colour
from defectory.datasets.records import BACKGROUND, ImageRecord, Label
from defectory.datasets.references import FileFinder
from defectory.errors import InputError

LABEL_ATTRIBUTE = "anomaly-label"
MASK_ATTRIBUTE = "anomaly-mask-ref"

_METADATA = "-metadata"
_DETECTED = "-detected"
_CLASSIFICATION = "groundtruth/image-classification"
_SEGMENTATION = "groundtruth/semantic-segmentation"

_T = TypeVar("_T")


def read_manifest(file: Path, finder: FileFinder) -> tuple[ImageRecord, ...]:
    """The images of a manifest, one a line.

    Only ``class-name`` says whether an image is normal or an anomaly, because tools disagree about the numeric value;
    any other name leaves it unlabelled.  Attributes may have any name; what a model detected is passed by.  Masks of
    normal images are passed by, too: some tools give each of them an empty one.

    Args:
        file: the manifest, UTF-8.
        finder: where the images are; one that it cannot find keeps its reference as its path.

    Raises:
        InputError: a line is not as the format asks; the message names it.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(str(file), "a manifest (JSON lines, UTF-8) that can be read", str(error)) from None
    records = tuple(
        _record(line, f"{file}, line {number}", finder) for number, line in enumerate(lines, 1) if line.strip()
    )
    if not records:
        raise InputError(str(file), "a manifest with at least one line", "none")
    return records


def manifest_line(record: ImageRecord, image: str, mask: str | None, *, created: datetime | None = None) -> str:
    """One image as a line of a manifest, without line end.

    Args:
        record: what is known of the image.
        image: its reference.
        mask: its mask's reference; the colours are those of the record's colour map.
        created: when it was labelled; now by default.
    """
    date = (created or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    annotated = "no" if record.synthetic else "yes"
    line: dict[str, object] = {"source-ref": image}
    if record.label is not None:
        line[LABEL_ATTRIBUTE] = int(record.label == "anomaly")
        line[LABEL_ATTRIBUTE + _METADATA] = {
            "confidence": 1,
            "job-name": "labeling-job/defectory",
            "class-name": record.label,
            "human-annotated": annotated,
            "creation-date": date,
            "type": _CLASSIFICATION,
        }
    if mask is not None:
        line[MASK_ATTRIBUTE] = mask
        line[MASK_ATTRIBUTE + _METADATA] = {
            "internal-color-map": {
                str(number): {"class-name": name, "hex-color": colour, "confidence": 0.0}
                for number, (name, colour) in enumerate(_with_background(record.colour_map).items())
            },
            "type": _SEGMENTATION,
            "human-annotated": annotated,
            "creation-date": date,
            "job-name": "labeling-job/defectory",
        }
    # The format has no place for these; its readers pass by attributes they do not know.
    if record.classes:
        line["classes"] = list(record.classes)
    if record.group:
        line["group"] = record.group
    if record.synthetic:
        line["synthetic"] = True
    return json.dumps(line, ensure_ascii=False)


def _with_background(colour_map: Mapping[str, str]) -> dict[str, str]:
    if any(name.casefold() == BACKGROUND for name in colour_map):
        return dict(colour_map)
    return {"BACKGROUND": "#ffffff", **colour_map}


def _record(line: str, place: str, finder: FileFinder) -> ImageRecord:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(place, f"JSON ({error})") from None
    if not isinstance(content, dict):
        raise InputError(place, "a JSON object", content)
    reference = content.get("source-ref")
    if not isinstance(reference, str) or not reference:
        raise InputError(f"{place}, source-ref", "the reference of an image", reference)
    record = ImageRecord(
        path=finder.locate(reference),
        label=_label(content, place),
        group=_extra(content, "group", str, "", place),
        synthetic=_extra(content, "synthetic", bool, False, place),
        source_ref=reference,
    )
    if record.label != "anomaly":
        return record
    classes = _extra(content, "classes", list, [], place)
    if not all(isinstance(name, str) for name in classes):
        raise InputError(f"{place}, classes", "a list of names", classes)
    return _with_mask(replace(record, classes=tuple(classes)), content, place, finder)


def _with_mask(record: ImageRecord, content: Mapping[str, object], place: str, finder: FileFinder) -> ImageRecord:
    for attribute, metadata in _attributes(content):
        reference = content[attribute]
        if not attribute.endswith("-ref") or not isinstance(reference, str) or not reference:
            continue
        colours = _colour_map(metadata, f"{place}, {attribute}{_METADATA}")
        names = tuple(name for name in colours if name.casefold() != BACKGROUND)
        path = finder.locate(reference)
        return replace(record, mask=path, colour_map=colours, classes=record.classes or names)
    return record


def _label(content: Mapping[str, object], place: str) -> Label | None:
    labels: set[Label] = set()
    for attribute, metadata in _attributes(content):
        if attribute.endswith("-ref") or metadata.get("type", _CLASSIFICATION) != _CLASSIFICATION:
            continue
        name = str(metadata.get("class-name", "")).strip().lower()
        if name == "normal" or name == "anomaly":
            labels.add("normal" if name == "normal" else "anomaly")
    if len(labels) > 1:
        raise InputError(place, "an image with one label", "attributes that say normal and anomaly", "Remove one.")
    return next(iter(labels), None)


def _attributes(content: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The names of the attributes that have metadata, with it; without those that a model detected."""
    for key, metadata in content.items():
        attribute = key.removesuffix(_METADATA)
        is_attribute = attribute != key and attribute in content and not attribute.endswith(_DETECTED)
        if is_attribute and isinstance(metadata, dict):
            yield attribute, metadata


def _colour_map(metadata: Mapping[str, object], place: str) -> dict[str, str]:
    entries = metadata.get("internal-color-map", {})
    if not isinstance(entries, dict):
        raise InputError(f"{place}, internal-color-map", "an object", entries)
    colours = {}
    for entry in entries.values():
        name, colour = (entry.get("class-name"), entry.get("hex-color")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(colour, str):
            raise InputError(f"{place}, internal-color-map", "entries with class-name and hex-color", entry)
        try:
            parse_colour(colour)
        except InputError as error:
            raise InputError(f"{place}, hex-color", error.rule, colour, error.fix) from None
        colours[name] = colour
    return colours


def _extra(content: Mapping[str, object], name: str, kind: type[_T], default: _T, place: str) -> _T:
    value = content.get(name, default)
    # Someone else's attribute of that name has metadata; it is not ours.
    if name + _METADATA in content:
        return default
    if not isinstance(value, kind):
        raise InputError(f"{place}, {name}", f"a {kind.__name__}", value)
    return value
