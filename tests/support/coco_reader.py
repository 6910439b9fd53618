"""COCO files as pycocotools understands them, the reader that most trainers use."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO


def read_masks(document: Mapping[str, object]) -> dict[str, dict[str, NDArray[np.uint8]]]:
    """By image file and class, the union of its objects' masks, shape ``(h, w)``, 0 or 1."""
    coco = COCO()
    # As it comes from a file; and it prints what it does.
    coco.dataset = json.loads(json.dumps(document))
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    masks: dict[str, dict[str, NDArray[np.uint8]]] = {}
    for image in coco.loadImgs(coco.getImgIds()):
        found = masks.setdefault(image["file_name"], {})
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])):
            [category] = coco.loadCats([annotation["category_id"]])
            mask = coco.annToMask(annotation)
            found[category["name"]] = np.maximum(found.get(category["name"], np.zeros_like(mask)), mask)
    return masks
