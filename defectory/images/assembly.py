"""Assembly: the records of all items become one dataset, in every form that its readers know."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from pydantic import JsonValue, ValidationError

from defectory.datasets.annotations import (
    AnnotatedImage,
    Object,
    coco_json,
    decode_runs,
    find_objects,
    separated,
    yolo_rows,
    yolo_yaml,
)
from defectory.datasets.exports import COCO_FILE, MANIFEST_FILE, YOLO_FILE
from defectory.datasets.manifests import manifest_line
from defectory.datasets.records import Dataset, ImageRecord
from defectory.datasets.versions import DATASET_FILE, dataset_json
from defectory.errors import InputError, shorten
from defectory.images.contact_sheet import CONTACT_SHEET, contact_sheet
from defectory.images.filters import mark_duplicates
from defectory.images.gate_result import GateResult
from defectory.images.items import ItemRecord, Piece, record_file
from defectory.images.plan import class_name
from defectory.vision.arrays import Mask

_MASK_COLOURS = {"BACKGROUND": "#000000"}
_WHITE = "#ffffff"


def assemble(
    records: Sequence[ItemRecord],
    read: Callable[[str], bytes],
    *,
    title: str = "Synthetic defects",
    classes: Mapping[str, str] | None = None,
    gate: GateResult | None = None,
    prefix: str = "",
    created: datetime | None = None,
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The files that describe a dataset, by name: ``coco.json``, ``data.yaml``, ``labels/``, ``dataset.manifest``,
    ``contact-sheet.html``, anew the records of pictures that turned out to be duplicates, and ``dataset.json`` at last.

    Only pictures that were made, and are as good as the same as no other, are in it; what became of the others is
    counted and named in ``dataset.json`` and on the contact sheet.

    Args:
        records: of all items, each id once, in their order.  They are gone through one by one and may lie on a disk:
            what is held of each is some hundred bytes.
        read: gives the content of a small picture (``thumbnail``, ``closeup``) by its name.
        title: what the contact sheet is called.
        classes: what the dataset calls a kind of defect, where not by its own name; "" for no name.
        gate: what the gate found, once it has.
        prefix: what references in the manifest begin with, as ``s3://bucket/user/dataset``; they are relative without.
        created: when, for the manifest; now by default.

    Returns:
        Names, each with its content in pieces, which are to be read before the next name.
    """
    classes = classes or {}
    marked = mark_duplicates(records)
    pictures = _Pictures(marked)
    kinds = {record.item.defect for record in pictures}
    names = sorted({name for kind in kinds for name in class_name(kind, classes) or ("defect",)})
    for before, record in zip(records, marked, strict=True):
        if record.outcome != before.outcome:
            yield record_file(record.id), iter([(record.model_dump_json() + "\n").encode()])
    boxed = _Boxed(pictures, classes)
    yield COCO_FILE, _encoded(coco_json(boxed, names, title))
    yield YOLO_FILE, iter([yolo_yaml(names, "images").encode()])
    for image in boxed:
        yield f"labels/{Path(image.file).stem}.txt", iter([yolo_rows(image, names).encode()])
    yield MANIFEST_FILE, _encoded(_manifest(pictures, classes, prefix, created))
    yield CONTACT_SHEET, iter([contact_sheet(marked, read, title=title, gate=gate)])
    dataset = dataset_of(pictures, Path(), classes)
    yield DATASET_FILE, _encoded(dataset_json(dataset, Path(), _notes(marked, classes, gate)))


@dataclass(frozen=True, slots=True)
class _Pictures:
    """Those of the records that are of pictures in the dataset."""

    records: Sequence[ItemRecord]

    def __iter__(self) -> Iterator[ItemRecord]:
        return (record for record in self.records if record.outcome == "made")


@dataclass(frozen=True, slots=True)
class _Boxed:
    """The pictures as detectors know them, without those whose defect has no place.

    A detector would take a picture without boxes for one of a good part.
    """

    pictures: _Pictures
    classes: Mapping[str, str]

    def __iter__(self) -> Iterator[AnnotatedImage]:
        return (_annotated(record, self.classes) for record in self.pictures if record.mask is not None)


def pieces_of(mask: Mask) -> tuple[Piece, ...]:
    """The objects of a mask, shape ``(h, w)``, not 0 = defect, for its picture's record."""
    found = find_objects((mask > 0).astype(np.uint8), ("",))
    return tuple(Piece(box=item.box, runs=item.runs, area=item.area) for item in found)


def dataset_of(records: Iterable[ItemRecord], root: Path, classes: Mapping[str, str] | None = None) -> Dataset:
    """The made pictures among ``records`` as a dataset whose files lie, or are to lie, below ``root``."""
    images, digests = [], {}
    for record in records:
        if record.outcome != "made":
            continue
        path, mask = root / record.image, root / record.mask if record.mask else None
        digests[path] = record.image_sha256
        if mask and record.mask_sha256:
            digests[mask] = record.mask_sha256
        images.append(
            ImageRecord(
                path,
                "anomaly",
                class_name(record.item.defect, classes or {}),
                mask,
                synthetic=True,
                source_ref=record.item.source,
                made_from=record.made_from,
            )
        )
    return Dataset(tuple(images), root, digests=digests)


def classes_of(dataset: Dataset) -> dict[str, str]:
    """What an assembled dataset calls its kinds of defect, where not by their own names."""
    notes = dataset.notes.get("synthesis")
    classes = notes.get("classes") if isinstance(notes, dict) else None
    return {kind: name for kind, name in classes.items() if isinstance(name, str)} if isinstance(classes, dict) else {}


def count_outcomes(records: Iterable[ItemRecord]) -> dict[str, dict[str, int]]:
    """How often each outcome came of each kind of defect: ``{"scratch": {"made": 9, "invisible": 1}}``."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        counts.setdefault(record.item.defect, Counter())[record.outcome] += 1
    return {defect: dict(sorted(outcomes.items())) for defect, outcomes in sorted(counts.items())}


def _notes(records: Sequence[ItemRecord], classes: Mapping[str, str], gate: GateResult | None) -> Iterator[str]:
    """What was asked for, what became of it and what each picture was made with, and the gate's word, as JSON."""
    outcomes = count_outcomes(records)
    yield f'{{"synthesis": {{"items": {len(records)}, "outcomes": {_json(outcomes)}, "classes": {_json(dict(classes))},'
    yield '\n"not_in_it": ['
    yield from separated(
        _json({"id": record.id, "item": record.item.model_dump(), "outcome": record.outcome, "reason": record.reason})
        for record in records
        if record.outcome != "made"
    )
    yield '],\n"images": {'
    yield from separated(f"{_json(record.id)}: {_json(_provenance(record))}" for record in _Pictures(records))
    yield "}}"
    if gate is not None:
        yield f',\n"gate": {gate.model_dump_json()}'
    yield "}"


def _provenance(record: ItemRecord) -> dict[str, JsonValue]:
    return {
        "item": record.item.model_dump(),
        "source_sha256": record.source_sha256,
        "severity": round(record.severity, 4),
        "area": round(record.area, 6),
        "parameters": record.parameters,
    }


def _annotated(record: ItemRecord, classes: Mapping[str, str]) -> AnnotatedImage:
    (name,) = class_name(record.item.defect, classes) or ("defect",)
    # Records of earlier releases have their mask in one piece.
    pieces = record.objects or pieces_of(decode_runs(record.runs, record.width, record.height))
    objects = tuple(Object(name, piece.box, piece.runs, piece.area) for piece in pieces)
    return AnnotatedImage(record.image, record.width, record.height, objects)


def _manifest(
    records: Iterable[ItemRecord], classes: Mapping[str, str], prefix: str, created: datetime | None
) -> Iterator[str]:
    def reference(name: str) -> str:
        return f"{prefix.rstrip('/')}/{name}" if prefix else name

    for record in records:
        names = class_name(record.item.defect, classes)
        colours = _MASK_COLOURS | {(names or ("defect",))[0]: _WHITE} if record.mask else {}
        image = ImageRecord(Path(record.image), "anomaly", names, colour_map=colours, synthetic=True)
        mask = reference(record.mask) if record.mask else None
        yield manifest_line(image, reference(record.image), mask, created=created) + "\n"


def _encoded(pieces: Iterable[str]) -> Iterator[bytes]:
    return (piece.encode() for piece in pieces)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def read_record(content: bytes, name: str) -> ItemRecord:
    """A record from its file.

    Raises:
        InputError: it is none.
    """
    try:
        return ItemRecord.model_validate_json(content)
    except ValidationError as error:
        rule = f"the record of an item ({shorten(error.errors()[0]['msg'])})"
        raise InputError(name, rule, fix="Delete it; its picture is made anew.") from None
