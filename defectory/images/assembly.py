"""Assembly: the records of all items become one dataset, in every form that its readers know."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue, ValidationError

from defectory.datasets.annotations import (
    AnnotatedImage,
    coco_document,
    decode_runs,
    find_objects,
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
from defectory.images.items import ItemRecord, record_file
from defectory.images.plan import class_name

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
) -> dict[str, bytes]:
    """The files that describe a dataset, by name: ``dataset.json``, ``dataset.manifest``, ``coco.json``, ``data.yaml``,
    ``labels/``, ``contact-sheet.html``, and anew the records of pictures that turned out to be duplicates.

    Only pictures that were made, and are as good as the same as no other, are in it; what became of the others is
    counted and named in ``dataset.json`` and on the contact sheet.

    Args:
        records: of all items, in their order; one of the same id counts once.
        read: gives the content of a small picture (``thumbnail``, ``closeup``) by its name.
        title: what the contact sheet is called.
        classes: what the dataset calls a kind of defect, where not by its own name; "" for no name.
        gate: what the gate found, once it has.
        prefix: what references in the manifest begin with, as ``s3://bucket/user/dataset``; they are relative without.
        created: when, for the manifest; now by default.
    """
    classes = classes or {}
    marked = mark_duplicates(list({record.id: record for record in records}.values()))
    pictures = [record for record in marked if record.outcome == "made"]
    names = sorted({name for record in pictures for name in class_name(record.item.defect, classes) or ("defect",)})
    images = {record.id: _annotated(record, classes) for record in pictures}
    # A detector takes a picture without boxes for one of a good part.
    boxed = [images[record.id] for record in pictures if record.mask is not None]
    before = {record.id: record for record in records}
    files = {
        record_file(record.id): (record.model_dump_json() + "\n").encode()
        for record in marked
        if record != before[record.id]
    }
    coco = coco_document(boxed, names, title)
    files[COCO_FILE] = (json.dumps(coco, ensure_ascii=False) + "\n").encode()
    files[YOLO_FILE] = yolo_yaml(names, "images").encode()
    for record in pictures:
        if record.mask is not None:
            files[f"labels/{record.id}.txt"] = yolo_rows(images[record.id], names).encode()
    files[MANIFEST_FILE] = _manifest(pictures, classes, prefix, created)
    files[CONTACT_SHEET] = contact_sheet(marked, read, title=title, gate=gate)
    notes: dict[str, JsonValue] = {"synthesis": synthesis_notes(marked, classes)}
    if gate is not None:
        notes["gate"] = gate.model_dump(mode="json")
    files[DATASET_FILE] = dataset_json(dataset_of(pictures, Path(), classes, notes), Path()).encode()
    return files


def dataset_of(
    records: Sequence[ItemRecord],
    root: Path,
    classes: Mapping[str, str] | None = None,
    notes: Mapping[str, JsonValue] | None = None,
) -> Dataset:
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
    return Dataset(tuple(images), root, notes=notes or {}, digests=digests)


def classes_of(dataset: Dataset) -> dict[str, str]:
    """What an assembled dataset calls its kinds of defect, where not by their own names."""
    notes = dataset.notes.get("synthesis")
    classes = notes.get("classes") if isinstance(notes, dict) else None
    return {kind: name for kind, name in classes.items() if isinstance(name, str)} if isinstance(classes, dict) else {}


def count_outcomes(records: Sequence[ItemRecord]) -> dict[str, dict[str, int]]:
    """How often each outcome came of each kind of defect: ``{"scratch": {"made": 9, "invisible": 1}}``."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        counts.setdefault(record.item.defect, Counter())[record.outcome] += 1
    return {defect: dict(sorted(outcomes.items())) for defect, outcomes in sorted(counts.items())}


def synthesis_notes(records: Sequence[ItemRecord], classes: Mapping[str, str]) -> dict[str, JsonValue]:
    """What was asked for, what became of it and what each picture was made with, for ``dataset.json``."""
    outcomes: dict[str, JsonValue] = {}
    for defect, counts in count_outcomes(records).items():
        outcomes[defect] = dict(counts)
    return {
        "items": len(records),
        "outcomes": outcomes,
        "classes": dict(classes),
        "not_in_it": [
            {"id": record.id, "item": record.item.model_dump(), "outcome": record.outcome, "reason": record.reason}
            for record in records
            if record.outcome != "made"
        ],
        "images": {
            record.id: {
                "item": record.item.model_dump(),
                "source_sha256": record.source_sha256,
                "severity": round(record.severity, 4),
                "area": round(record.area, 6),
                "parameters": record.parameters,
            }
            for record in records
            if record.outcome == "made"
        },
    }


def _annotated(record: ItemRecord, classes: Mapping[str, str]) -> AnnotatedImage:
    (name,) = class_name(record.item.defect, classes) or ("defect",)
    mask = decode_runs(record.runs, record.width, record.height) if record.mask else None
    objects = () if mask is None else find_objects((mask > 0).astype("uint8"), (name,))
    return AnnotatedImage(record.image, record.width, record.height, objects)


def _manifest(
    records: Sequence[ItemRecord], classes: Mapping[str, str], prefix: str, created: datetime | None
) -> bytes:
    def reference(name: str) -> str:
        return f"{prefix.rstrip('/')}/{name}" if prefix else name

    lines = []
    for record in records:
        names = class_name(record.item.defect, classes)
        colours = _MASK_COLOURS | {(names or ("defect",))[0]: _WHITE} if record.mask else {}
        image = ImageRecord(Path(record.image), "anomaly", names, colour_map=colours, synthetic=True)
        mask = reference(record.mask) if record.mask else None
        lines.append(manifest_line(image, reference(record.image), mask, created=created) + "\n")
    return "".join(lines).encode()


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
