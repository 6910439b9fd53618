"""COCO files from pieces that parallel workers made, with none of it held in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from defectory.datasets.annotations import coco_begin, coco_end
from defectory.writing import UNFINISHED, write_whole


@dataclass(frozen=True, slots=True)
class CocoPieces:
    """Takes pieces; annotations stand behind all images, so both wait in files meanwhile."""

    images: BinaryIO
    annotations: BinaryIO

    def add(self, images: bytes, annotations: bytes) -> None:
        """Some entries of each as JSON, with commas between."""
        for stream, piece in ((self.images, images), (self.annotations, annotations)):
            stream.write((b",\n" if stream.tell() and piece else b"") + piece)


@contextmanager
def writing_coco(file: Path, classes: Sequence[str], description: str) -> Iterator[CocoPieces]:
    """Write ``file`` of what is added within: all of it, or nothing.

    Args:
        file: where.
        classes: the categories, numbered from 1.
        description: of the whole.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=file.parent) as name:
        images, annotations = Path(name) / "images", Path(name) / "annotations"
        with images.open("wb") as first, annotations.open("wb") as second:
            yield CocoPieces(first, second)
        write_whole(file, _whole(images, annotations, classes, description))


def _whole(images: Path, annotations: Path, classes: Sequence[str], description: str) -> Iterator[bytes]:
    yield coco_begin(description).encode() + b"\n"
    yield from _blocks(images)
    yield b'\n], "annotations": [\n'
    yield from _blocks(annotations)
    yield b"\n" + coco_end(classes, "object").encode()


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            yield block
