"""Files of layouts, and of the boxes that they ask for: sampled as a stream, however many there are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from defectory.claims import claim_empty
from defectory.datasets.annotations import yolo_yaml
from defectory.detection.coco import CocoPieces, writing_coco
from defectory.detection.layouts.labels import LabelChunk, yolo_files
from defectory.detection.layouts.presets import Preset
from defectory.detection.layouts.records import Split
from defectory.detection.layouts.sampler import LayoutChunk, sample_chunks
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.writing import write_whole, writing_to

COMMAND = "defectory detect layouts --yolo"


@dataclass(frozen=True, slots=True)
class LabelFiles:
    """Where the boxes that layouts ask for are written: a file of COCO, a new or empty folder of YOLO, or neither."""

    coco: Path | None = None
    yolo: Path | None = None


def write_layouts(
    file: Path,
    preset: Preset,
    count: int,
    *,
    seed: int = 0,
    split: Split = "train",
    size: tuple[int, int] = (512, 512),
    labels: LabelFiles | None = None,
    workers: int = 1,
    on_progress: OnProgress = ignore_progress,
) -> Path:
    """Sample layouts into ``file``, a line each, and their boxes, clipped to the canvas, into ``labels``.

    Raises:
        InputError: the folder of YOLO is another's.
        UnwritableError: something cannot be written; of ``file`` and of COCO, what was there before is there still.
    """
    labels = labels or LabelFiles()
    if labels.yolo is not None:
        claim_empty(labels.yolo, COMMAND, field="yolo")
        with writing_to(labels.yolo, field="yolo"):
            (labels.yolo / "labels").mkdir()
            write_whole(labels.yolo / "data.yaml", yolo_yaml(preset.labels, "images", "").encode())
    chunks = sample_chunks(
        preset, count, seed=seed, split=split, size=size, with_labels=bool(labels.coco or labels.yolo), workers=workers
    )
    with contextlib.ExitStack() as stack:
        coco = None
        if labels.coco is not None:
            stack.enter_context(writing_to(labels.coco.parent, field="coco"))
            coco = stack.enter_context(writing_coco(labels.coco, preset.labels, "Layouts: boxes that were asked for."))
        with writing_to(file.parent):
            return write_whole(file, _lines(chunks, coco, labels.yolo, count, on_progress))


def _lines(
    chunks: Iterator[LayoutChunk], coco: CocoPieces | None, yolo: Path | None, count: int, on_progress: OnProgress
) -> Iterator[bytes]:
    """The lines, while their labels go elsewhere."""
    done = 0
    for chunk in chunks:
        yield chunk.lines
        if chunk.labels is not None:
            if coco is not None:
                coco.add(chunk.labels.images, chunk.labels.annotations)
            if yolo is not None:
                _write_yolo(chunk.labels, yolo)
        done += chunk.count
        on_progress(Progress("sampling", done, count))


def _write_yolo(chunk: LabelChunk, folder: Path) -> None:
    with writing_to(folder, field="yolo"):
        for name, rows in yolo_files(chunk):
            (folder / "labels" / f"{name}.txt").write_text(rows, encoding="utf-8")
