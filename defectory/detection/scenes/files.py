"""The files of one scene: its picture, its labels for YOLO, and its record."""

from __future__ import annotations

from collections.abc import Sequence

from defectory.datasets.annotations import yolo_rows
from defectory.detection.layouts.records import Split
from defectory.detection.scenes.records import Scene, SceneRecord
from defectory.vision.arrays import PictureFormat
from defectory.vision.images import encode_jpeg, encode_png

_QUALITY = 92


def scene_files(
    scene: Scene, split: Split, form: PictureFormat, classes: Sequence[str]
) -> tuple[SceneRecord, dict[str, bytes]]:
    """The record of a scene, and its files by their names within the folder.

    Args:
        scene: a scene.
        split: the side that it is of.
        form: of the picture.
        classes: those of the folder, in the order of their ids.
    """
    layout = scene.layout
    record = SceneRecord(
        image_id=layout.image_id,
        file=f"images/{layout.image_id}.{form}",
        width=layout.size[0],
        height=layout.size[1],
        split=split,
        objects=scene.objects,
        conditions=layout.conditions,
        dropped=scene.dropped,
        layout=layout,
    )
    picture = encode_jpeg(scene.image, _QUALITY) if form == "jpg" else encode_png(scene.image, effort=1)
    labels = yolo_rows(record.annotated(), classes).encode()
    return record, {record.file: picture, f"labels/{layout.image_id}.txt": labels}
