"""Makers: what makes a scene of a layout in AWS, composed or painted, from files that are in the bucket."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Protocol

from defectory.aws.bucket import Bucket, StoredObject
from defectory.aws.image_models import ImageModel
from defectory.detection.batch.runs import Fate, SceneRun
from defectory.detection.batch.transform import read_answers
from defectory.detection.detectors.detector import Detector, load_detector
from defectory.detection.generative.acceptance import CheckedRenderer, accept
from defectory.detection.generative.gligen import TransformAnswer
from defectory.detection.generative.sources import PaintedSources
from defectory.detection.layouts.records import Layout, layout_digest
from defectory.detection.scenes.acceptance import CheckRecord, SceneRejectedError
from defectory.detection.scenes.compose import SceneSources
from defectory.detection.scenes.compositor import Compositor
from defectory.detection.scenes.records import Scene
from defectory.errors import InputError

MAX_SOURCE_FILES, MAX_SOURCE_BYTES = 20_000, 1_500_000_000
"""What a folder of cut-outs or photos may have: it is copied to a function's disk."""

MAX_DETECTOR_BYTES = 400_000_000
"""Of a detector's bundle."""

_JOURNAL = "journal-"


@dataclass(frozen=True, slots=True)
class MakeResult:
    """A scene, or in ``reason`` why there is none; of what was painted, what a check made of it."""

    scene: Scene | None
    check: CheckRecord | None = None
    reason: str = ""

    @property
    def fate(self) -> Fate:
        """What became of the layout."""
        if self.check is None or self.check.outcome == "accepted":
            return "made"
        return self.check.outcome


class LayoutMaker(Protocol):
    """Makes scenes of a shard's layouts."""

    def make(self, layout: Layout) -> MakeResult:
        """What comes of ``layout``.

        Raises:
            DefectoryError: no scene can be made of it.
        """
        ...


@dataclass(frozen=True, slots=True)
class ComposedMaker:
    """Composes."""

    compositor: Compositor

    def make(self, layout: Layout) -> MakeResult:
        """The composed scene; see `LayoutMaker`."""
        return MakeResult(self.compositor.render(layout))


@dataclass(frozen=True, slots=True)
class PaintedMaker:
    """Has scenes painted and checked."""

    renderer: CheckedRenderer

    def make(self, layout: Layout) -> MakeResult:
        """The painted scene; see `LayoutMaker`."""
        scene, reason = None, ""
        try:
            scene = self.renderer.render(layout)
        except SceneRejectedError as error:
            reason = str(error)
        return MakeResult(scene, self.renderer.journal.verdict(layout, self.renderer.check), reason)


@dataclass(frozen=True, slots=True)
class AnswersMaker:
    """Takes what a transform painted, as far as ``detector`` sees what was asked for."""

    answers: Mapping[str, TransformAnswer]
    detector: Detector
    classes: tuple[str, ...]
    min_iou: float
    check: str

    def make(self, layout: Layout) -> MakeResult:
        """The scene of a layout's picture; see `LayoutMaker`."""
        answer = self.answers.get(layout.image_id)
        if answer is None:
            fix = "The transform did not come to it: start the same again."
            raise InputError("answers", "one for each layout", layout.image_id, fix)
        if answer.error is not None:
            raise InputError("layout", "one that can be painted", answer.error)
        image = answer.picture(layout)
        if image is None:
            record = CheckRecord(
                image_id=layout.image_id, layout=layout_digest(layout), check=self.check, outcome="withheld"
            )
            return MakeResult(None, record, "The safety checker kept the picture back.")
        accepted = accept(image, layout, self.detector, self.min_iou, classes=self.classes, dropped=answer.dropped)
        scene = accepted.scene if accepted.is_usable else None
        return MakeResult(scene, accepted.record(self.check), accepted.reason())


@dataclass(slots=True)
class SceneMakers:
    """Gives the maker that a run asks for; what it needs of the bucket is copied to ``folder``, and kept."""

    bucket: Bucket
    folder: Path
    image_model: Callable[[str], ImageModel]
    """Makes the client of one of Bedrock's image models."""
    _compositors: dict[SceneSources, Compositor] = field(default_factory=dict)
    _detectors: dict[StoredObject, Detector] = field(default_factory=dict)

    def open(self, run: SceneRun, shard: str) -> LayoutMaker:
        """The maker of a shard of ``run``.

        Raises:
            InputError: something that the run names is not there, or none of what it should be.
            ServiceError: S3 failed.
        """
        match run.recipe.renderer:
            case "compositor":
                return ComposedMaker(self._compositor(run))
            case "gligen":
                detector = self._detector(run.recipe.detector)
                check = (
                    f"gligen ({run.model}, {run.recipe.steps} steps, guidance {run.recipe.guidance}); "
                    f"detector {detector.card.version}, IoU {run.recipe.min_iou}"
                )
                answers = read_answers(run, shard, self.bucket)
                return AnswersMaker(answers, detector, run.classes, run.recipe.min_iou, check)
            case "bedrock":
                return PaintedMaker(self._painter(run))

    def _painter(self, run: SceneRun) -> CheckedRenderer:
        recipe = run.recipe
        # First, for it removes what other shards have left.
        backgrounds = self._copies(recipe.backgrounds).get(recipe.backgrounds)
        sources = PaintedSources(
            classes=run.classes,
            model=self.image_model(run.model),
            detector=self._detector(recipe.detector),
            # What became of a layout is in its shard's records: nothing has to be known of earlier times here.
            out=Path(mkdtemp(dir=self.folder, prefix=_JOURNAL)),
            split=recipe.split,
            backgrounds=backgrounds,
            sizes=run.sizes,
            min_iou=recipe.min_iou,
        )
        return sources.open()

    def _compositor(self, run: SceneRun) -> Compositor:
        recipe = run.recipe
        folders = self._copies(recipe.cutouts, recipe.backgrounds)
        sources = SceneSources(
            classes=run.classes,
            split=recipe.split,
            cutouts=folders.get(recipe.cutouts),
            backgrounds=folders.get(recipe.backgrounds),
            embedded=not recipe.only_own,
            min_visible=recipe.min_visible,
            sizes=run.sizes,
        )
        if sources not in self._compositors:
            self._compositors.clear()
            self._compositors[sources] = sources.open()
        return self._compositors[sources]

    def _detector(self, key: str) -> Detector:
        stored = next((entry for entry in self.bucket.objects(key) if entry.key == key), None)
        if stored is None:
            raise InputError("detector", "one that is in the bucket", key, "It is gone; upload it.")
        if stored not in self._detectors:
            self._detectors.clear()
            self._detectors[stored] = load_detector(self.bucket.read(key, most=MAX_DETECTOR_BYTES))
        return self._detectors[stored]

    def _copies(self, *places: str) -> dict[str, Path]:
        """Folders of the bucket as files, by their prefixes; "" is none.  Others' copies make room."""
        listings = {place: self._list(place) for place in places if place}
        self._remove_all_but({listing.name for listing in listings.values()})
        return {place: self._copy(listing) for place, listing in listings.items()}

    def _list(self, place: str) -> _Listing:
        """What is to be copied of a folder in the bucket."""
        prefix = f"{place.rstrip('/')}/"
        entries = self.bucket.objects(prefix)
        if not entries:
            raise InputError(place, "a folder that is in the bucket", fix="It is gone; upload it.")
        if len(entries) > MAX_SOURCE_FILES or sum(entry.size for entry in entries) > MAX_SOURCE_BYTES:
            rule = f"a folder of at most {MAX_SOURCE_FILES:,} files and {MAX_SOURCE_BYTES:,} bytes"
            raise InputError(place, rule, len(entries))
        return _Listing(prefix, tuple(entries))

    def _remove_all_but(self, names: set[str]) -> None:
        """Make room: a disk has not the folders of every run."""
        for folder in self.folder.iterdir():
            if folder.name not in names:
                shutil.rmtree(folder)

    def _copy(self, listing: _Listing) -> Path:
        copy = self.folder / listing.name
        if copy.exists():
            return copy
        # Whoever is killed meanwhile leaves no folder that looks whole.
        unfinished = copy.with_suffix(".unfinished")
        for key, content in self.bucket.read_all(entry.key for entry in listing.entries):
            file = unfinished / _relative(key, listing.prefix)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return unfinished.rename(copy)


@dataclass(frozen=True, slots=True)
class _Listing:
    """The objects below a prefix; their copy is called ``name``, which no other content has."""

    prefix: str
    entries: tuple[StoredObject, ...]

    @property
    def name(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()


def _relative(key: str, prefix: str) -> PurePosixPath:
    """Where the object at ``key`` goes below the folder of ``prefix``.

    Raises:
        InputError: it would be elsewhere.
    """
    parts = key.removeprefix(prefix).split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise InputError(key, "the key of a file of a folder", fix="Name it otherwise.")
    return PurePosixPath(*parts)
