"""Filters: what keeps pictures out of a dataset: defects that nobody can see, and pictures that are there already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from defectory.datasets.annotations import Box, box_of, decode_runs
from defectory.images.items import ItemRecord, ItemRecords
from defectory.images.renderers import RenderResult
from defectory.vision.arrays import Image, Mask
from defectory.vision.photos import Photo

JUST_NOTICEABLE = 2.3
"""The difference in CIELAB (CIE76) that an eye just notices: M. Mahy et al., "Evaluation of uniform color spaces
developed after the adoption of CIELAB and CIELUV", Color Research & Application 19 (1994)."""

MIN_MARKED = 12
"""A defect of fewer pixels cannot be told from noise."""

SEEN_SHARE = 0.1
"""The share of a mask's pixels that have to differ noticeably from the photo."""

MIN_SEVERITY = 0.05
"""Below this nothing strikes the eye: the renderer itself says that the defect drowns in the texture around it."""

SAME_LEVELS = 3.0
"""Pictures whose fingerprints differ by no more than this many levels of 255 on average look the same."""

SAME_OVERLAP = 0.8
"""Defects whose masks overlap by at least this (intersection over union) are at the same place."""

_WHOLE_SIDE, _WINDOW_SIDE = 8, 12
_MARGIN = 0.25


def _sign_patterns(side: int) -> NDArray[np.int32]:
    """Weights of +1 and -1 for small copies of this side: all alike, by halves in both directions, by quarters."""
    halves = np.where(np.arange(side) < side // 2, 1, -1)
    ones = np.ones(side, np.int32)
    patterns = [np.outer(rows, columns) for rows in (ones, halves) for columns in (ones, halves)]
    return np.stack(patterns).reshape(4, side * side).astype(np.int32)


# Sums of a fingerprint's levels with signs.  Whatever the signs, they differ between two by no more than the levels do
# on the whole: who differs by more needs no closer look.  So tens of thousands of pictures are compared in seconds.
_TRAITS = np.zeros((8, _WHOLE_SIDE**2 + _WINDOW_SIDE**2), np.int32)
_TRAITS[:4, : _WHOLE_SIDE**2] = _sign_patterns(_WHOLE_SIDE)
_TRAITS[4:, _WHOLE_SIDE**2 :] = _sign_patterns(_WINDOW_SIDE)
_TRAIT_LIMITS = np.repeat([SAME_LEVELS * _WHOLE_SIDE**2, SAME_LEVELS * _WINDOW_SIDE**2], 4)


def visibility_failure(rendered: RenderResult, photo: Photo | None) -> str:
    """Why nobody can see a defect on the picture, in words; "" where one can be seen."""
    if rendered.mask is None:
        flat = float(rendered.image.astype(np.float32).std()) < JUST_NOTICEABLE
        return "the picture is blank" if flat else ""
    marked = int((rendered.mask > 0).sum())
    if marked < MIN_MARKED:
        return f"its mask has {marked} pixels, of {MIN_MARKED} needed"
    if photo is not None:
        share = float((_difference(photo.image, rendered.image, rendered.mask) > JUST_NOTICEABLE).mean())
        if share < SEEN_SHARE:
            return f"{share:.0%} of its mask's pixels differ noticeably from the photo, of {SEEN_SHARE:.0%} needed"
    if rendered.severity < MIN_SEVERITY:
        return f"its severity is {rendered.severity:.3f}, of {MIN_SEVERITY} needed: it drowns in what is around it"
    return ""


def fingerprint_of(image: Image, box: Box | None) -> str:
    """Small grey copies, in hexadecimal digits: of the whole picture, and of what `window_of` ``box`` shows.

    The second tells defects apart that are small on equal parts; it is missing where there is no box.
    """
    digits = _small(image, _WHOLE_SIDE)
    if box is None:
        return digits
    return digits + _small(crop(image, window_of(box, image.shape[1], image.shape[0])), _WINDOW_SIDE)


def mark_duplicates(records: Sequence[ItemRecord]) -> Sequence[ItemRecord]:
    """The records in their order; a made picture as good as the same as one before it becomes a ``duplicate``.

    Two are as good as the same where they are to show the same defect, look the same (in whole and around the defect),
    and have it at the same place.

    Args:
        records: each id once; they may lie on a disk: no more than two are held at a time.

    Returns:
        A view of ``records``.
    """
    return _Marked(records, dict(_twins(records)))


class _Marked(ItemRecords):
    """Records of which some are duplicates, by their places."""

    def __init__(self, records: Sequence[ItemRecord], twins: Mapping[int, str]) -> None:
        self._records, self._twins = records, twins

    def __len__(self) -> int:
        return len(self._records)

    def at(self, place: int) -> ItemRecord:
        record = self._records[place]
        if place not in self._twins:
            return record
        reason = f"as good as the same as {self._twins[place]}"
        return ItemRecord(id=record.id, item=record.item, outcome="duplicate", reason=reason)


def _twins(records: Sequence[ItemRecord]) -> Iterator[tuple[int, str]]:
    """The places of duplicates, each with the id of the earlier one it is as good as."""
    kinds: defaultdict[str, list[int]] = defaultdict(list)
    levels = np.zeros((len(records), _WHOLE_SIDE**2 + _WINDOW_SIDE**2), np.uint8)
    for place, record in enumerate(records):
        if record.outcome == "made":
            kinds[record.item.defect].append(place)
            fingerprint = np.frombuffer(bytes.fromhex(record.fingerprint), np.uint8)
            levels[place, : len(fingerprint)] = fingerprint
    for places in kinds.values():
        yield from _twins_of_kind(records, places, levels[places])


def _twins_of_kind(
    records: Sequence[ItemRecord], places: Sequence[int], levels: NDArray[np.uint8]
) -> Iterator[tuple[int, str]]:
    traits = levels.astype(np.int32) @ _TRAITS.T
    # Of those that are no duplicates: their traits, one trait a row, and their rows in ``levels``.
    known, rows = np.empty_like(traits.T, order="C"), np.empty(len(places), np.intp)
    count = 0
    for row, place in enumerate(places):
        near = np.arange(count)
        for trait, mine, limit in zip(known, traits[row], _TRAIT_LIMITS, strict=True):
            near = near[np.abs(trait[near] - mine) <= limit]
        off = np.abs(levels[rows[near]].astype(np.int16) - levels[row])
        whole, window = off[:, : _WHOLE_SIDE**2].mean(axis=1), off[:, _WHOLE_SIDE**2 :].mean(axis=1)
        alike = rows[near[(whole <= SAME_LEVELS) & (window <= SAME_LEVELS)]]
        record = records[place] if alike.size else None
        others = (records[places[other]] for other in alike)
        twin = None if record is None else next((other for other in others if _same_place(other, record)), None)
        if twin is None:
            known[:, count], rows[count] = traits[row], row
            count += 1
        else:
            yield place, twin.id


def window_of(box: Box, width: int, height: int, margin: float = _MARGIN) -> Box:
    """What to look at for a defect in ``box`` of a picture of this size: a square around it, as far as it fits.

    ``margin`` is left on all sides, as a share of the box's longer side, and 8 pixels at least.
    """
    longest = max(box[2], box[3])
    side = longest + 2 * max(8, round(margin * longest))
    wide, high = min(side, width), min(side, height)
    left = min(max(0, box[0] + (box[2] - wide) // 2), width - wide)
    top = min(max(0, box[1] + (box[3] - high) // 2), height - high)
    return left, top, wide, high


def crop(image: Image, window: Box) -> Image:
    """The part of ``image`` in ``window``."""
    left, top, width, height = window
    return image[top : top + height, left : left + width]


def _difference(before: Image, after: Image, mask: Mask) -> NDArray[np.float32]:
    """The difference of each marked pixel in CIELAB."""
    box = box_of(mask)
    if box is None:
        return np.zeros(0, np.float32)
    left, top, width, height = box
    place = np.s_[top : top + height, left : left + width]
    lab_before, lab_after = (
        cv2.cvtColor(image[place].astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for image in (before, after)
    )
    distance: NDArray[np.float32] = np.linalg.norm(lab_before - lab_after, axis=2)[mask[place] > 0]
    return distance


def _small(image: Image, side: int) -> str:
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA).tobytes().hex()


def _same_place(first: ItemRecord, second: ItemRecord) -> bool:
    if (first.width, first.height) != (second.width, second.height) or bool(first.runs) != bool(second.runs):
        return False
    if first.image_sha256 == second.image_sha256 or not first.runs:
        return True
    first_mask, second_mask = (decode_runs(record.runs, record.width, record.height) > 0 for record in (first, second))
    return float((first_mask & second_mask).sum()) >= SAME_OVERLAP * float((first_mask | second_mask).sum())
