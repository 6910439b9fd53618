"""What a folder of scenes holds for others: COCO, YOLO, and a page to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from defectory.datasets.annotations import coco_annotation, coco_image, yolo_yaml
from defectory.detection.coco import writing_coco
from defectory.detection.layouts.records import MOST_OBJECTS, Split
from defectory.detection.parallel import map_in_order
from defectory.detection.scenes.acceptance import publish_acceptance
from defectory.detection.scenes.contact_sheet import CONTACT_SHEET, contact_sheet
from defectory.detection.scenes.folder import SCENES_FILE, parse_scene
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.writing import write_whole

COCO_FILE = "coco.json"
YOLO_FILE = "data.yaml"

_CHUNK = 1000
# A scene's objects have their ids in a block of their own, so that chunks need not know of each other.  What somebody
# wears is an object as well.
_IDS = 10 * MOST_OBJECTS


def publish(
    folder: Path,
    classes: Sequence[str],
    split: Split,
    *,
    workers: int = 1,
    on_progress: OnProgress = ignore_progress,
) -> None:
    """Describe all scenes of ``folder`` for COCO and YOLO, and make the contact sheet; a scene at a time is held.

    Of a folder of painted scenes the rates of acceptance are published as well.

    Raises:
        OSError: it cannot be written.
    """
    if not (folder / SCENES_FILE).exists():
        (folder / SCENES_FILE).touch()
    write_coco(folder, classes, workers=workers, on_progress=on_progress)
    is_train = split == "train"
    yaml = yolo_yaml(classes, "images", "") if is_train else yolo_yaml(classes, "", "images")
    write_whole(folder / YOLO_FILE, yaml.encode())
    write_whole(folder / CONTACT_SHEET, contact_sheet(folder, classes, publish_acceptance(folder)))


def write_coco(
    folder: Path, classes: Sequence[str], *, workers: int = 1, on_progress: OnProgress = ignore_progress
) -> Path:
    """Write ``coco.json``: images are numbered by their lines, objects within them; categories from 1.

    Raises:
        OSError: it cannot be written.
    """
    work, done = partial(_convert, tuple(classes)), 0
    description = "Synthetic scenes: to train on; figures on them are no figures on photos."
    with writing_coco(folder / COCO_FILE, classes, description) as coco:
        for chunk in map_in_order(work, _chunks(folder / SCENES_FILE), workers=workers):
            coco.add(chunk.images, chunk.annotations)
            done += chunk.count
            on_progress(Progress("converting", done, done))
    return folder / COCO_FILE


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What some scenes are in COCO, without what stands between and around."""

    images: bytes
    annotations: bytes
    count: int


def _convert(classes: tuple[str, ...], chunk: tuple[int, list[bytes]]) -> _Pieces:
    first, lines = chunk
    numbers = {name: number for number, name in enumerate(classes, 1)}
    images, annotations = [], []
    for number, line in enumerate(lines, first):
        image = parse_scene(line, f"{SCENES_FILE}:{number}").annotated()
        images.append(coco_image(image, number))
        annotations += [
            coco_annotation(image, item, (number * _IDS + place, number, numbers[item.name]))
            for place, item in enumerate(image.objects)
        ]
    return _Pieces(",\n".join(images).encode(), ",\n".join(annotations).encode(), len(lines))


def _chunks(file: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Lines some at a time, with the number of the first, from 1."""
    with file.open("rb") as stream:
        first = 1
        while lines := list(islice(stream, _CHUNK)):
            yield first, lines
            first += len(lines)
