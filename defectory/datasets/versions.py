"""Versions: datasets stored in a file, and what changed from one to the next."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, ValidationError

from defectory.datasets.annotations import separated
from defectory.datasets.records import Dataset, ImageRecord, Label
from defectory.errors import InputError, shorten
from defectory.validation import FrozenModel
from defectory.writing import write_whole, writing_to

DATASET_FILE = "dataset.json"
"""What a stored dataset is called in its folder."""

_FORMAT = "defectory-images"


class StoredImage(FrozenModel):
    """One image in a stored dataset; paths are relative to the file's folder."""

    path: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    label: Label | None = None
    classes: tuple[str, ...] = ()
    mask: str | None = None
    mask_sha256: str | None = None
    colour_map: dict[str, str] = Field(default_factory=dict)
    group: str = ""
    synthetic: bool = False
    source_ref: str = ""
    made_from: tuple[str, ...] = ()


class StoredDataset(FrozenModel):
    """A stored dataset: ``dataset.json``."""

    format: Literal["defectory-images"]
    version: str
    parent: str = ""
    changes: tuple[str, ...] = ()
    root: str = "."
    notes: dict[str, JsonValue] = Field(default_factory=dict)
    images: tuple[StoredImage, ...]


def save_dataset(dataset: Dataset, file: Path) -> Path:
    """Store ``dataset`` in ``file`` (by custom ``dataset.json``); the images stay where they are.

    Raises:
        ImageError: an image or mask cannot be read.
        InputError: the file cannot be written.
    """
    folder = file.parent.absolute()
    content = "".join(dataset_json(dataset, folder))
    with writing_to(folder):
        return write_whole(file, content.encode())


def dataset_json(dataset: Dataset, folder: Path, notes: Iterable[str] | None = None) -> Iterator[str]:
    """A ``dataset.json`` that is to lie in ``folder``, piece by piece; files with known digests need not be there.

    Args:
        dataset: what is described.
        folder: what the paths are relative to.
        notes: the JSON of the notes, piece by piece, where they are too many to be held; by default the dataset's own.

    Raises:
        ImageError: an image or mask cannot be read.
    """

    def relative(path: Path) -> str:
        return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()

    head = StoredDataset(
        format=_FORMAT,
        version=dataset.version,
        parent=dataset.parent,
        changes=dataset.changes,
        root=relative(dataset.root),
        images=(),
    )
    yield head.model_dump_json(exclude_defaults=True, exclude={"notes", "images"}).removesuffix("}")
    if notes is None and dataset.notes:
        notes = [json.dumps(dict(dataset.notes), ensure_ascii=False)]
    if notes is not None:
        yield ',\n"notes": '
        yield from notes
    yield ',\n"images": ['
    yield from separated(
        StoredImage(
            path=relative(record.path),
            sha256=dataset.digest(record.path),
            label=record.label,
            classes=record.classes,
            mask=relative(record.mask) if record.mask else None,
            mask_sha256=dataset.digest(record.mask) if record.mask else None,
            colour_map=dict(record.colour_map),
            group=record.group,
            synthetic=record.synthetic,
            source_ref=record.source_ref,
            made_from=record.made_from,
        ).model_dump_json(exclude_defaults=True)
        for record in dataset.records
    )
    yield "\n]}\n"


def load_stored(file: Path) -> Dataset:
    """Read a dataset that `save_dataset` wrote; what it says of the files' contents is taken as it is.

    Raises:
        InputError: it is no stored dataset, or was changed by hand.
    """
    try:
        stored = StoredDataset.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InputError(str(file), f"a file that can be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "content"
        raise InputError(
            f"{file}, {place}", f"a stored dataset ({shorten(first['msg'])})", fix="Import the images again."
        ) from None
    folder = file.parent

    def resolve(path: str) -> Path:
        return Path(os.path.normpath(folder / path))

    digests: dict[Path, str] = {}
    records = []
    for image in stored.images:
        mask = resolve(image.mask) if image.mask else None
        digests[resolve(image.path)] = image.sha256
        if mask and image.mask_sha256:
            digests[mask] = image.mask_sha256
        labels = image.model_dump(
            include={"label", "classes", "colour_map", "group", "synthetic", "source_ref", "made_from"}
        )
        records.append(ImageRecord(path=resolve(image.path), mask=mask, **labels))
    dataset = Dataset(tuple(records), resolve(stored.root), stored.parent, stored.changes, stored.notes, digests)
    if dataset.version != stored.version:
        raise InputError(
            f"{file}, version", f"that of its content, {dataset.version}", stored.version, "Import the images again."
        )
    return dataset


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two versions of a dataset; images are the same where their bytes are."""

    old: str
    new: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    relabelled: tuple[str, ...]
    annotated: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.old != self.new

    def lines(self) -> list[str]:
        """One line a change: ``added: a.png, normal``, ``relabelled: b.png, normal -> anomaly (scratch)`` ..."""
        return [
            f"{kind}: {line}"
            for kind in ("added", "removed", "relabelled", "annotated")
            for line in getattr(self, kind)
        ]

    def summary(self) -> str:
        """The changes in one sentence."""
        if not self:
            return f"Version {self.new}: nothing changed."
        counts = [
            f"{len(getattr(self, kind))} {kind}"
            for kind in ("added", "removed", "relabelled", "annotated")
            if getattr(self, kind)
        ]
        return f"Version {self.old} -> {self.new}: {', '.join(counts)}."


def compare_versions(old: Dataset, new: Dataset) -> Changes:
    """What changed from ``old`` to ``new``: images added, removed, with another label or class, or else told of anew.

    Files that only moved or were renamed have not changed.

    Raises:
        ImageError: an image cannot be read.
    """
    before, after = _by_content(old), _by_content(new)
    relabelled, annotated = [], []
    for key in sorted(before.keys() & after.keys()):
        was, now = before[key], after[key]
        if told(was) != told(now):
            relabelled.append(f"{new.name(now.path)}, {told(was)} -> {told(now)}")
        elif old.statement(was) != new.statement(now):
            annotated.append(f"{new.name(now.path)}, {', '.join(_differences(old, was, new, now))}")
    return Changes(
        old.version,
        new.version,
        tuple(_listed(new, [after[key] for key in after.keys() - before.keys()])),
        tuple(_listed(old, [before[key] for key in before.keys() - after.keys()])),
        tuple(sorted(relabelled)),
        tuple(sorted(annotated)),
    )


def told(record: ImageRecord) -> str:
    """The label and the classes of an image, in words: ``anomaly (scratch)``."""
    classes = f" ({', '.join(sorted(record.classes))})" if record.classes else ""
    return f"{record.label or 'unlabelled'}{classes}"


def _by_content(dataset: Dataset) -> dict[tuple[str, int], ImageRecord]:
    """Each image by its digest; equal images are told apart by their turn, those told the same way first."""
    equal: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for record in dataset.records:
        equal[dataset.digest(record.path)].append(record)
    return {
        (digest, number): record
        for digest, records in equal.items()
        for number, record in enumerate(sorted(records, key=told))
    }


def _listed(dataset: Dataset, records: list[ImageRecord]) -> list[str]:
    return sorted(f"{dataset.name(record.path)}, {told(record)}" for record in records)


def _differences(old: Dataset, was: ImageRecord, new: Dataset, now: ImageRecord) -> Iterator[str]:
    before, after = old.statement(was), new.statement(now)
    if (before["mask"], before["colour_map"]) != (after["mask"], after["colour_map"]):
        yield "mask " + ("removed" if now.mask is None else "added" if was.mask is None else "changed")
    if was.group != now.group:
        yield f"group {was.group or 'of its own'} -> {now.group or 'of its own'}"
    if was.synthetic != now.synthetic:
        yield "synthetic" if now.synthetic else "no longer synthetic"
