"""Records: one labelled image, and a dataset of them with its version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from defectory.errors import ImageError

Label = Literal["normal", "anomaly"]

BACKGROUND = "background"
"""The class name, in any letter case, that colour maps give to places without a defect."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image and what is known of it.

    ``label`` is None where nobody has said it.  ``classes`` are the kinds of defect on the image.  ``mask`` marks the
    defect's pixels: by the colours of ``colour_map`` (class name to ``#rrggbb``), or, where that is empty, bright on
    black.  Images of one ``group`` show the same part and stay on one side of a split; "" is a group of its own.
    ``synthetic`` images are never tested on, and ``made_from`` are the SHA-256 of the files of the images that one was
    made from.  ``source_ref`` is how the dataset's source named the image.
    """

    path: Path
    label: Label | None = None
    classes: tuple[str, ...] = ()
    mask: Path | None = None
    colour_map: Mapping[str, str] = field(default_factory=dict, hash=False)
    group: str = ""
    synthetic: bool = False
    source_ref: str = ""
    made_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Labelled images.

    ``version`` names the content: the images' and masks' bytes and what is said of them, in any order and wherever the
    files lie.  ``parent`` is the version this one was made from and ``changes`` says in which way, a line each.
    ``notes`` are whatever else its maker knows of it, as JSON: they are stored with it and are no part of the version.
    ``digests`` are the SHA-256 of files already known; the rest is read when needed.
    """

    records: tuple[ImageRecord, ...]
    root: Path
    parent: str = ""
    changes: tuple[str, ...] = ()
    notes: Mapping[str, JsonValue] = field(default_factory=dict, compare=False)
    digests: dict[Path, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def normal(self) -> tuple[ImageRecord, ...]:
        """The images of good parts."""
        return tuple(record for record in self.records if record.label == "normal")

    @property
    def anomalous(self) -> tuple[ImageRecord, ...]:
        """The images of defective parts."""
        return tuple(record for record in self.records if record.label == "anomaly")

    @property
    def unlabelled(self) -> tuple[ImageRecord, ...]:
        """The images that still wait for a label."""
        return tuple(record for record in self.records if record.label is None)

    @property
    def classes(self) -> tuple[str, ...]:
        """The kinds of defect of all images, sorted."""
        return tuple(sorted({name for record in self.records for name in record.classes}))

    @property
    def colour_map(self) -> dict[str, str]:
        """The colour of each class in the masks, as the first image that has it says."""
        colours: dict[str, str] = {}
        for record in self.records:
            for name, colour in record.colour_map.items():
                colours.setdefault(name, colour)
        return {name: colour for name, colour in colours.items() if name.casefold() != BACKGROUND}

    @property
    def masks(self) -> dict[Path, Path]:
        """The mask of each image that has one."""
        return {record.path: record.mask for record in self.records if record.mask is not None}

    @property
    def version(self) -> str:
        """The first 16 hexadecimal digits of a SHA-256 over the content.

        Raises:
            ImageError: a file is missing.
        """
        lines = sorted(json.dumps(self.statement(record), sort_keys=True) for record in self.records)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def statement(self, record: ImageRecord) -> dict[str, object]:
        """What the dataset says of one image, without where its files lie: equal statements, equal content."""
        return {
            "image": self.digest(record.path),
            "label": record.label,
            "classes": sorted(record.classes),
            "mask": self.digest(record.mask) if record.mask else None,
            "colour_map": dict(record.colour_map) if record.mask else {},
            "group": record.group,
            "synthetic": record.synthetic,
        }

    def digest(self, path: Path) -> str:
        """The SHA-256 of a file of the dataset, in hexadecimal digits; read once."""
        if path not in self.digests:
            self.digests[path] = file_digest(path)
        return self.digests[path]

    def name(self, path: Path) -> str:
        """How to call a file of the dataset: its path below the root, where it lies there."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()

    def select(self, records: Sequence[ImageRecord]) -> Dataset:
        """The dataset of only these of its records."""
        return replace(self, records=tuple(records))


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits.

    Raises:
        ImageError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(
            str(path), "a file that can be read", reason, "`defectory datasets check` names all."
        ) from None
