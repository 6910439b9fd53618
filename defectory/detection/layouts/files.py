"""Files of layouts: sampled and converted as a stream, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from defectory.claims import claim_empty
from defectory.datasets.annotations import yolo_yaml
from defectory.detection.coco import write_coco_pieces
from defectory.detection.layouts.labels import LabelChunk, convert_lines, yolo_files
from defectory.detection.layouts.presets import Preset
from defectory.detection.layouts.records import parse_layout, read_layout_lines
from defectory.detection.layouts.sampler import Split, sample_lines
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.writing import write_whole, writing_to

COMMAND = "defectory detect layouts --yolo"


def write_layouts(
    file: Path,
    preset: Preset,
    count: int,
    *,
    seed: int = 0,
    split: Split = "train",
    size: tuple[int, int] = (512, 512),
    workers: int = 1,
    on_progress: OnProgress = ignore_progress,
) -> Path:
    """Sample layouts into ``file``, a line each; see `sample_lines`.

    Raises:
        UnwritableError: it cannot be written; what was there before is there still.
    """

    def told() -> Iterator[bytes]:
        done = 0
        for lines in sample_lines(preset, count, seed=seed, split=split, size=size, workers=workers):
            yield lines
            done += lines.count(b"\n")
            on_progress(Progress("sampling", done, count))

    with writing_to(file.parent):
        return write_whole(file, told())


def write_layout_labels(
    layouts: Path,
    classes: Sequence[str],
    *,
    coco: Path | None = None,
    yolo: Path | None = None,
    workers: int = 1,
    on_progress: OnProgress = ignore_progress,
) -> None:
    """Write the boxes that a file of layouts asks for, clipped to the canvas, as COCO and as a folder of YOLO.

    Args:
        layouts: their file.
        classes: those that are labelled.
        coco: file to write.
        yolo: new or empty folder to write ``labels/`` and ``data.yaml`` to.
        workers: processes that convert.
        on_progress: hears of each piece.

    Raises:
        InputError: a line is no layout, or the folder is another's.
        UnwritableError: something cannot be written.
    """
    if yolo is not None:
        claim_empty(yolo, COMMAND, field="yolo")
        with writing_to(yolo, field="yolo"):
            (yolo / "labels").mkdir()
            write_whole(yolo / "data.yaml", yolo_yaml(classes, "images", "").encode())

    def pieces() -> Iterator[tuple[bytes, bytes]]:
        done = 0
        for chunk in convert_lines(_checked(layouts), classes, workers=workers):
            if yolo is not None:
                _write_yolo(chunk, yolo)
            yield chunk.images, chunk.annotations
            done += chunk.count
            on_progress(Progress("converting", done, done))

    if coco is None:
        for _ in pieces():
            pass
        return
    with writing_to(coco.parent, field="coco"):
        write_coco_pieces(coco, pieces(), classes, "Layouts: boxes that were asked for.")


def _checked(file: Path) -> Iterator[bytes]:
    for number, line in read_layout_lines(file):
        parse_layout(line, f"{file.name}:{number}")
        yield line


def _write_yolo(chunk: LabelChunk, folder: Path) -> None:
    with writing_to(folder, field="yolo"):
        for name, rows in yolo_files(chunk):
            (folder / "labels" / f"{name}.txt").write_text(rows, encoding="utf-8")
