"""COCO files from pieces that parallel workers made, with none of it held in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from defectory.datasets.annotations import coco_begin, coco_end
from defectory.writing import UNFINISHED, write_whole


def write_coco_pieces(
    file: Path, pieces: Iterable[tuple[bytes, bytes]], classes: Sequence[str], description: str
) -> Path:
    """Write ``file``: all of it, or nothing.

    Args:
        file: where.
        pieces: of images and of annotations, each some entries as JSON with commas between.
        classes: the categories, numbered from 1.
        description: of the whole.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # Annotations stand behind all images: they wait in a file meanwhile.
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=file.parent) as name:
        images, annotations = Path(name) / "images", Path(name) / "annotations"
        with images.open("wb") as first, annotations.open("wb") as second:
            for both in pieces:
                for stream, piece in zip((first, second), both, strict=True):
                    stream.write((b",\n" if stream.tell() and piece else b"") + piece)
        return write_whole(file, _whole(images, annotations, classes, description))


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
