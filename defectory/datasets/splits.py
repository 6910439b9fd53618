"""Splits: a seeded, stratified part of a dataset to test on, which stays the same and is stored."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from defectory.datasets.records import Dataset, ImageRecord
from defectory.datasets.versions import load_stored, save_dataset
from defectory.errors import InputError, shorten
from defectory.validation import FrozenModel
from defectory.writing import write_whole, writing_to

TRAIN_FILE, TEST_FILE, SPLIT_FILE = "train.json", "test.json", "split.json"


@dataclass(frozen=True, slots=True)
class Split:
    """A dataset in two parts that share no image, no copy of an image and no group.

    ``left_out`` are in neither: synthetic images that were made from images to test on (known when it is made only).
    """

    train: Dataset
    test: Dataset
    seed: int
    share: float
    of: str
    left_out: tuple[ImageRecord, ...] = ()

    def save(self, folder: Path) -> Path:
        """Store the parts as datasets (``train.json``, ``test.json``) and ``split.json``, which says how they came."""
        save_dataset(self.train, folder / TRAIN_FILE)
        save_dataset(self.test, folder / TEST_FILE)
        stored = _StoredSplit(
            of=self.of, seed=self.seed, share=self.share, train=self.train.version, test=self.test.version
        )
        with writing_to(folder):
            return write_whole(folder / SPLIT_FILE, f"{stored.model_dump_json(indent=1)}\n".encode())


class _StoredSplit(FrozenModel):
    of: str
    seed: int
    share: float = Field(gt=0, lt=1)
    train: str
    test: str


def load_split(folder: Path) -> Split:
    """Read a split that `Split.save` stored.

    Raises:
        InputError: there is none, or its parts are not those it was stored with.
    """
    file = folder / SPLIT_FILE
    try:
        stored = _StoredSplit.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InputError(str(file), f"a stored split that can be read ({error.strerror})") from None
    except ValidationError as error:
        raise InputError(str(file), f"a stored split ({shorten(error.errors()[0]['msg'])})") from None
    train, test = load_stored(folder / TRAIN_FILE), load_stored(folder / TEST_FILE)
    for name, part, version in (("train", train, stored.train), ("test", test, stored.test)):
        if part.version != version:
            raise InputError(f"{file}, {name}", f"version {version}", part.version, "Split the dataset again.")
    return Split(train, test, stored.seed, stored.share, stored.of)


def split(dataset: Dataset, *, test: float = 0.3, seed: int = 0) -> Split:
    """Set a part of the images aside to test on.

    Each label and each class of defect gives about the share asked for.  Images of one group, and copies of one image,
    stay together.  Synthetic images and those without a label are never tested on, nor is a real image whose group has
    a synthetic one, because training on that would give it away.  A synthetic image that was made from one to test on
    is left out, for the same reason.  The same content and seed give the same parts, in whatever order the images come
    and wherever they lie.

    Args:
        dataset: what to split.
        test: the share to test on, above 0 and below 1.
        seed: another seed, another split.

    Raises:
        InputError: the share is out of range, or one part would be left without normal images or all others.
        ImageError: an image cannot be read.

    >>> from defectory import load_dataset
    >>> parts = split(load_dataset(Path("parts")), test=0.5, seed=1)
    >>> len(parts.train.records), len(parts.test.records)
    (9, 9)
    """
    if not 0 < test < 1:
        raise InputError("test", "a share above 0 and below 1", test)
    strata: defaultdict[str, list[list[ImageRecord]]] = defaultdict(list)
    frequency = Counter(_stratum(record) for record in dataset.records)
    for unit in _units(dataset):
        if not any(record.synthetic or record.label is None for record in unit):
            # A group of several strata counts for its rarest, which has the fewest to choose from.
            strata[min((_stratum(record) for record in unit), key=lambda name: (frequency[name], name))].append(unit)
    test_paths: set[Path] = set()
    for units in strata.values():
        target = test * sum(map(len, units))
        test_images = 0
        for unit in sorted(units, key=lambda unit: _order(dataset, unit, seed)):
            # Taken where that comes nearer to the share than leaving it.
            if abs(test_images + len(unit) - target) < abs(test_images - target):
                test_paths.update(record.path for record in unit)
                test_images += len(unit)
    tested_on = {dataset.digest(path) for path in test_paths}
    left_out = tuple(record for record in dataset.records if not tested_on.isdisjoint(record.made_from))
    given_away = {record.path for record in left_out}
    parts = [
        dataset.select(
            [
                record
                for record in dataset.records
                if (record.path in test_paths) == tested and record.path not in given_away
            ]
        )
        for tested in (False, True)
    ]
    for name, part in zip(("train on", "test on"), parts, strict=True):
        if not part.normal:
            fix = "Add images of other good parts, or choose another share; images of one group stay together."
            raise InputError("dataset", f"large enough for normal images to {name}", f"{len(dataset.normal)}", fix)
    return Split(parts[0], parts[1], seed, test, dataset.version, left_out)


def _stratum(record: ImageRecord) -> str:
    return f"{record.label}/{'+'.join(sorted(record.classes))}"


def _units(dataset: Dataset) -> list[list[ImageRecord]]:
    """The images that have to stay together: by group, and by content."""
    parent = list(range(len(dataset.records)))

    def top(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    first: dict[tuple[str, str], int] = {}
    for number, record in enumerate(dataset.records):
        keys = [("content", dataset.digest(record.path))] + ([("group", record.group)] if record.group else [])
        for key in keys:
            parent[top(number)] = top(first.setdefault(key, number))
    units: defaultdict[int, list[ImageRecord]] = defaultdict(list)
    for number, record in enumerate(dataset.records):
        units[top(number)].append(record)
    return list(units.values())


def _order(dataset: Dataset, unit: Sequence[ImageRecord], seed: int) -> bytes:
    content = min(dataset.digest(record.path) for record in unit)
    return hashlib.sha256(f"{seed}:{content}".encode()).digest()
