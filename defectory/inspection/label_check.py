"""Label check: images whose label a model that has not seen them would not believe, and all else that is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from defectory.datasets.quality import Finding, Suspect, check_files
from defectory.datasets.records import Dataset, ImageRecord
from defectory.inspection.backbone.extractor import Backbone, embedded_backbone
from defectory.inspection.detectors.patchcore import PatchCore
from defectory.inspection.preparation import Preparation, patches_of
from defectory.progress import OnProgress, ignore_progress
from defectory.vision.images import load_image

FOLDS = 4
MIN_NORMAL = 8
"""With fewer good images nothing can be said of any."""

_FITTED = 200
# The score is the mean distance of this fraction of the patches, those least like good parts.
_HIGHEST = 100
_SIZED = 20
_RESOLUTION = 224


def check(dataset: Dataset, *, labels: bool = True, on_progress: OnProgress = ignore_progress) -> tuple[Finding, ...]:
    """Look at every image of a dataset, at each two of them, and at what a model thinks of their labels.

    Args:
        dataset: what to check.
        labels: whether to look for mislabelled images, which takes most of the time.
        on_progress: hears of each image looked at.

    Returns:
        What `defectory.datasets.check_files` and `find_suspects` found, errors first.

    >>> from defectory import load_dataset
    >>> check(load_dataset(Path("parts")), labels=False)
    ()
    """
    return check_files(dataset, find_suspects=find_suspects if labels else None, on_progress=on_progress)


def find_suspects(dataset: Dataset, records: Sequence[ImageRecord]) -> tuple[Suspect, ...]:
    """The images that look mislabelled, most striking first.

    PatchCore is fitted to three quarters of the good parts' images and scores the others, by turns; images of one group
    share their turn.  An image of a good part is suspect if it scores far above the other good ones and as high as
    defective ones do; one of a defective part if it scores no higher than most good ones.

    Args:
        dataset: what the records are of.
        records: those of its images that can be read; synthetic and unlabelled ones are passed by.
    """
    judged = [record for record in records if record.label is not None and not record.synthetic]
    if sum(record.label == "normal" for record in judged) < MIN_NORMAL:
        return ()
    scores = _scores(dataset, judged)
    is_normal = np.array([record.label == "normal" for record in judged])
    normal, anomalous = scores[is_normal], scores[~is_normal]
    center = float(np.median(normal))
    spread = 1.4826 * float(np.median(np.abs(normal - center))) or 1e-9
    like_defective = float(np.median(anomalous)) if len(anomalous) else -np.inf
    suspects = []
    for record, score in zip(judged, scores, strict=True):
        distance = (score - center) / spread
        if record.label == "normal" and distance > 4 and score >= like_defective:
            than = "as different from good parts as defective ones are" if len(anomalous) else "unlike other good parts"
            suspects.append((distance, Suspect(record, f"Labelled normal, but {than}. Look at it.")))
        if record.label == "anomaly" and distance < 0:
            suspects.append((-distance, Suspect(record, "Labelled anomaly, but looks like good parts. Look at it.")))
    return tuple(suspect for _, suspect in sorted(suspects, key=lambda item: -item[0]))


def _scores(dataset: Dataset, records: Sequence[ImageRecord]) -> NDArray[np.float64]:
    """How anomalous each image is to a detector fitted without its fold."""
    backbone = embedded_backbone()
    folds = [_fold(dataset, record) for record in records]
    # An even sample of the good images, the same in whatever order they come, is enough to fit to.
    by_chance = sorted((record for record in records if record.label == "normal"), key=lambda r: dataset.digest(r.path))
    fitted = {record.path for record in by_chance[:_FITTED]}
    sizes = [load_image(record.path).shape[:2] for record in by_chance[:_SIZED]]
    preparation = Preparation.fitting([(height, width) for height, width in sizes], backbone, resolution=_RESOLUTION)
    patches = {path: _patches(path, preparation, backbone) for path in fitted}
    valid = np.ones(next(iter(patches.values())).shape[:2], bool)
    detectors = []
    for fold in range(FOLDS):
        patches_outside = [
            patches[r.path]
            for r, record_fold in zip(records, folds, strict=True)
            if r.path in fitted and record_fold != fold
        ]
        # All may be of one fold where all are of one group.
        detectors.append(PatchCore.fit(patches_outside or list(patches.values()), valid, seed=0))
    scores = np.empty(len(records))
    for number, (record, fold) in enumerate(zip(records, folds, strict=True)):
        fitted_patches = patches.get(record.path)
        image_patches = _patches(record.path, preparation, backbone) if fitted_patches is None else fitted_patches
        distances = np.sort(detectors[fold].distances(image_patches), axis=None)
        scores[number] = distances[-max(1, distances.size // _HIGHEST) :].mean()
    return scores


def _fold(dataset: Dataset, record: ImageRecord) -> int:
    key = record.group or dataset.digest(record.path)
    return hashlib.sha256(key.encode()).digest()[0] % FOLDS


def _patches(path: Path, preparation: Preparation, backbone: Backbone) -> NDArray[np.float32]:
    return patches_of(preparation.apply(load_image(path)), preparation, backbone)
