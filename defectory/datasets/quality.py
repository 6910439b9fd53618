"""Quality: name every image of a dataset that is unreadable, there twice, or looks mislabelled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defectory.datasets.masks import read_mask
from defectory.datasets.records import Dataset, ImageRecord, file_digest
from defectory.errors import DefectoryError
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.vision.images import load_image

FindingKind = Literal[
    "unreadable", "changed", "bad mask", "contradiction", "duplicate", "near-duplicate", "blank", "empty mask",
    "mislabelled?",
]  # fmt: skip

ERRORS: frozenset[FindingKind] = frozenset({"unreadable", "changed", "bad mask", "contradiction"})
"""What has to be put right; the others are for a person to look at."""

_THUMBNAIL = 32
# Measured: encoding a photo again, as JPEG of quality 60 or larger by two thirds, moves the cells of its thumbnail by
# up to 1 grey level on average and 6 at most; different photos of parts in a fixture are 4 on average and 30 at most
# apart, and more.
_NEAR_RMS, _NEAR_MAX = 1.0, 6.0
_NEAR_SHARE = 0.1
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one image, or about several together."""

    kind: FindingKind
    images: tuple[str, ...]
    message: str

    @property
    def is_error(self) -> bool:
        """Whether it has to be put right before the dataset is used."""
        return self.kind in ERRORS


@dataclass(frozen=True, slots=True)
class Suspect:
    """An image whose label looks wrong, and why."""

    record: ImageRecord
    reason: str


FindSuspects = Callable[[Dataset, Sequence[ImageRecord]], Sequence[Suspect]]
"""Names the images whose label looks wrong, among the readable ones; it takes a model, which this room has none of."""


def check_files(
    dataset: Dataset, *, find_suspects: FindSuspects | None = None, on_progress: OnProgress = ignore_progress
) -> tuple[Finding, ...]:
    """Look at every image of a dataset, and at each two of them.

    Found are images and masks that cannot be read, files that changed since they were imported, masks that fit the
    image badly or mark nothing, blank images, copies (byte by byte, or the same picture saved anew), and copies that
    are labelled differently.  `defectory.inspection.label_check.check` looks for mislabelled images as well.

    Args:
        dataset: what to check.
        find_suspects: looks for mislabelled images; none: nobody does.
        on_progress: hears of each image looked at.

    Returns:
        What was found, errors first.
    """
    findings: list[Finding] = []
    readable: list[ImageRecord] = []
    thumbnails: list[NDArray[np.float32]] = []
    with ThreadPoolExecutor() as threads:
        looks = threads.map(lambda record: _look(dataset, record), dataset.records)
        for number, (record, look) in enumerate(zip(dataset.records, looks, strict=True), 1):
            findings.extend(look.findings)
            if look.thumbnail is not None:
                readable.append(record)
                thumbnails.append(look.thumbnail)
            on_progress(Progress("looking at images", number, len(dataset.records)))
    copies = list(_copies(dataset, readable))
    findings.extend(_describe_copies(dataset, copies))
    # One of each set of copies stands for it, so that a pair is told of once.  A synthetic image is the picture that it
    # was made from but for the defect, and is compared with its like when it is made.
    passed_by = {id(record) for group in copies for record in group[1:]}
    passed_by |= {id(record) for record in readable if record.synthetic}
    single = [number for number, record in enumerate(readable) if id(record) not in passed_by]
    findings.extend(_near(dataset, [readable[n] for n in single], [thumbnails[n] for n in single]))
    if find_suspects:
        findings.extend(
            Finding("mislabelled?", (dataset.name(suspect.record.path),), suspect.reason)
            for suspect in find_suspects(dataset, readable)
        )
    return tuple(sorted(findings, key=lambda finding: not finding.is_error))


@dataclass(frozen=True, slots=True)
class _Look:
    findings: tuple[Finding, ...]
    thumbnail: NDArray[np.float32] | None = None


def _look(dataset: Dataset, record: ImageRecord) -> _Look:
    names = (dataset.name(record.path),)
    try:
        image = load_image(record.path, name=names[0])
    except DefectoryError as error:
        return _Look((Finding("unreadable", names, str(error)),))
    findings = list(_look_at_files(dataset, record, names))
    grey = np.asarray(Image.fromarray(image).convert("L"))
    if grey.min() == grey.max():
        findings.append(Finding("blank", names, "Every pixel is the same: it shows no part. Remove it."))
    findings.extend(_look_at_mask(record, names, image.shape[1] / image.shape[0]))
    thumbnail = Image.fromarray(grey).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return _Look(tuple(findings), np.asarray(thumbnail, np.float32).ravel())


def _look_at_files(dataset: Dataset, record: ImageRecord, names: tuple[str, ...]) -> Iterator[Finding]:
    for path in filter(None, (record.path, record.mask)):
        digest = dataset.digests.get(path)
        if digest and path.is_file() and file_digest(path) != digest:
            changed = f"{dataset.name(path)} is not the file that was imported. Import the images again."
            yield Finding("changed", names, changed)


def _look_at_mask(record: ImageRecord, names: tuple[str, ...], aspect: float) -> Iterator[Finding]:
    try:
        mask = read_mask(record)
    except DefectoryError as error:
        yield Finding("bad mask", names, str(error))
        return
    if mask is None:
        return
    if abs(mask.shape[1] / mask.shape[0] / aspect - 1) > 0.02:
        size = f"{mask.shape[1]} x {mask.shape[0]}"
        yield Finding("bad mask", names, f"Its mask has another aspect ({size}): is it of another image, or turned?")
    if not mask.any():
        yield Finding("empty mask", names, "Its mask marks no defect. Draw the mask anew, or check the label.")


def _copies(dataset: Dataset, records: Iterable[ImageRecord]) -> Iterator[list[ImageRecord]]:
    same: defaultdict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        same[dataset.digest(record.path)].append(record)
    return (group for group in same.values() if len(group) > 1)


def _describe_copies(dataset: Dataset, copies: Iterable[Sequence[ImageRecord]]) -> Iterator[Finding]:
    for group in copies:
        names = tuple(dataset.name(record.path) for record in group)
        if len({record.label for record in group}) > 1:
            labels = " and ".join(sorted({record.label or "unlabelled" for record in group}))
            yield Finding("contradiction", names, f"One image, labelled {labels}. Keep the right one.")
        else:
            yield Finding("duplicate", names, "The same file. Keep one; splits keep them together.")


def _near(
    dataset: Dataset, records: Sequence[ImageRecord], thumbnails: Sequence[NDArray[np.float32]]
) -> Iterator[Finding]:
    """Pairs of the same picture, saved anew: no farther apart than encoding moves a picture, and much nearer than
    pictures of this dataset are (parts in a fixture look alike)."""
    if len(records) < 2:
        return
    pictures = np.stack(thumbnails)
    limit = min(_NEAR_RMS, _NEAR_SHARE * _typical_distance(pictures)) if len(records) > 2 else _NEAR_RMS
    squares = np.einsum("ij,ij->i", pictures, pictures)
    for start in range(0, len(pictures), _BLOCK):
        block = slice(start, start + _BLOCK)
        distances = squares[block, None] + squares - 2 * pictures[block] @ pictures.T
        # The product is rounded by up to a grey level or so; what may be near is measured again.
        for row, column in np.argwhere(distances / pictures.shape[1] <= limit**2 + 0.5):
            first, second = start + int(row), int(column)
            difference = pictures[first] - pictures[second]
            is_near = np.sqrt((difference**2).mean()) <= limit and np.abs(difference).max() <= _NEAR_MAX
            if first < second and is_near:
                labels = {records[first].label, records[second].label}
                message = "They look like one picture, saved twice"
                message += " and labelled differently. Keep the right one." if len(labels) > 1 else ". Keep one."
                yield Finding(
                    "near-duplicate", (dataset.name(records[first].path), dataset.name(records[second].path)), message
                )


def _typical_distance(pictures: NDArray[np.float32]) -> float:
    """The median root-mean-square distance of two pictures, from a sample of pairs."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(len(pictures), size=(2, 2000))
    apart = first != second
    return float(np.median(np.sqrt(((pictures[first[apart]] - pictures[second[apart]]) ** 2).mean(axis=1))))
