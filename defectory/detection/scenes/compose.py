"""Composing many scenes: in parallel, in order, each once, and on from where it was interrupted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2

from defectory.detection.cutouts.library import CutOutLibrary
from defectory.detection.layouts.records import Layout, Split, layout_digest, parse_layout
from defectory.detection.parallel import WorkerError, map_in_order
from defectory.detection.scenes.acceptance import Outcome, SceneRejectedError
from defectory.detection.scenes.backgrounds import open_backgrounds
from defectory.detection.scenes.compositor import MIN_VISIBLE, Compositor
from defectory.detection.scenes.exports import publish
from defectory.detection.scenes.files import scene_files
from defectory.detection.scenes.folder import SceneFolder, explained
from defectory.detection.scenes.records import Scene, SceneRenderer
from defectory.errors import DefectoryError, FailureKind, InputError, ServiceError, UnwritableError
from defectory.progress import OnProgress, Progress, ignore_progress
from defectory.vision.arrays import PictureFormat
from defectory.writing import write_whole

if TYPE_CHECKING:
    # It brings what samples layouts, which workers can do without.
    from defectory.detection.scenes.plans import ScenePlan

SHARD = 16
"""Scenes that a worker makes at a time."""

MOST_FAILURES = 1000
"""Failures that are named; others are counted."""

GIVE_UP_AFTER = 3
"""So many scenes in a row for which a service fails mean that it will fail for the next, too."""


class SceneMaker(Protocol):
    """What scenes are made of, before anything is opened."""

    @property
    def classes(self) -> tuple[str, ...]:
        """What is labelled."""
        ...

    @property
    def split(self) -> Split:
        """The side of the split that scenes are for."""
        ...

    def open(self) -> SceneRenderer:
        """What renders them; made once, and handed to each process.

        Raises:
            InputError: something that it needs is not there.
        """
        ...


@dataclass(frozen=True, slots=True)
class SceneSources:
    """What scenes are composed of.

    Args:
        classes: what is labelled.
        split: of cut-outs and backgrounds.
        cutouts: folder of cut-outs to use beside the embedded ones.
        backgrounds: folder of photos to set scenes in; None draws places.
        embedded: whether the embedded cut-outs are used.
        min_visible: see `compositor.MIN_VISIBLE`.
        sizes: the canvases, for which photos have to be large enough.
    """

    classes: tuple[str, ...]
    split: Split = "train"
    cutouts: Path | None = None
    backgrounds: Path | None = None
    embedded: bool = True
    min_visible: float = MIN_VISIBLE
    sizes: tuple[tuple[int, int], ...] = ((512, 512),)

    def open(self) -> Compositor:
        """A compositor of them.

        Raises:
            InputError: a folder is none of cut-outs, or of photos that are large enough.
            ImageError: one of them cannot be read.
        """
        own = CutOutLibrary.open(self.cutouts) if self.cutouts else None
        embedded = CutOutLibrary.embedded() if self.embedded or own is None else None
        library = own.join(embedded) if own and embedded else own or embedded
        if library is None:
            raise InputError("cutouts", "a folder of cut-outs, or the embedded ones")
        backgrounds = open_backgrounds(self.backgrounds, self.split, self.sizes)
        return Compositor(library, backgrounds, self.classes, self.split, self.min_visible)


@dataclass(slots=True)
class ComposeSummary:
    """What became of layouts.

    ``made`` were composed now, ``done`` were there before, ``repeated`` came twice.  ``failures`` name those that could
    not be made (``failed`` counts all, ``service_failures`` the last in a row of a service), and those that
    were painted and did not pass their check (``rejected`` counts them by what became of them).  ``objects`` and
    ``dropped`` count labels, and what was asked for but would have been seen too little, by class.
    """

    made: int = 0
    done: int = 0
    repeated: int = 0
    failed: int = 0
    rejected: Counter[Outcome] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)
    service_failures: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def fail(self, name: str, error: DefectoryError) -> None:
        """Count one that could not be made, or that was rejected."""
        if isinstance(error, SceneRejectedError):
            self.rejected[error.outcome] += 1
        else:
            self.failed += 1
        if len(self.failures) < MOST_FAILURES:
            self.failures.append({"name": name, "code": error.code, "reason": str(error)})


@dataclass(frozen=True, slots=True)
class _Composed:
    """A scene that is written: its line, and what is counted of it; or why it could not be made."""

    image_id: str
    line: bytes = b""
    objects: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    error: DefectoryError | None = None


@dataclass(frozen=True, slots=True)
class _Writer:
    """Renders layouts and writes pictures and labels; ``classes`` have the ids of the folder.

    A renderer that waits for a service has so many ``threads`` wait at a time.
    """

    renderer: SceneRenderer
    folder: Path
    classes: tuple[str, ...]
    split: Split
    form: PictureFormat
    threads: int = 1

    def compose(self, layouts: list[Layout]) -> list[_Composed]:
        if self.threads == 1:
            return [self._compose(layout) for layout in layouts]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self._compose, layouts))

    def _compose(self, layout: Layout) -> _Composed:
        try:
            return self._write(self.renderer.render(layout))
        except DefectoryError as error:
            return _Composed(layout.image_id, error=error)

    def _write(self, scene: Scene) -> _Composed:
        record, files = scene_files(scene, self.split, self.form, self.classes)
        with explained(self.folder):
            for name, content in files.items():
                write_whole(self.folder / name, content)
        return _Composed(
            record.image_id,
            record.model_dump_json().encode(),
            tuple(item.label for item in record.objects),
            record.dropped,
        )


def compose_scenes(
    plan: ScenePlan,
    sources: SceneMaker,
    out: Path,
    *,
    form: PictureFormat = "jpg",
    workers: int = 1,
    threads: int = 1,
    on_progress: OnProgress = ignore_progress,
) -> ComposeSummary:
    """Compose a scene for each layout, and write a dataset of all that the folder has.

    The same layouts and sources give the same files, whatever the number of workers and however often it was
    interrupted.  A layout that cannot be made is reported and the others are.

    Args:
        plan: which layouts.
        sources: what scenes are made of.
        out: a new or empty folder, or one of an earlier run, whose scenes are not made again.
        form: of the pictures.
        workers: processes that compose; 1 for a renderer that asks a service.
        threads: of each process, for such a renderer.
        on_progress: hears of each shard.

    Raises:
        InputError: the sources or the folder cannot be used.
        UnwritableError: the disk is full, say; what is done stays done.
        ServiceError: a service refuses, or failed for some scenes in a row; what is done stays done.
    """
    renderer, summary = sources.open(), ComposeSummary()
    with SceneFolder(out, sources.classes, sources.split) as folder:
        writer = _Writer(renderer, out, folder.classes, sources.split, form, threads)
        # What is paid for is soon written.
        shards = _shards(plan.lines(), folder, summary, SHARD if threads == 1 else threads)
        start = partial(_start, writer)
        for composed in map_in_order(_compose, shards, workers=workers, start=start, on_death=_fail):
            folder.add([scene.line for scene in composed if scene.error is None])
            for scene in composed:
                _count(scene, summary)
            _stop_if_vain(composed, summary)
            through = summary.made + summary.done + summary.repeated + summary.failed + summary.rejected.total()
            on_progress(Progress("composing", min(through, plan.count), plan.count))
        folder.report_failures(summary.failures)
        with explained(out):
            publish(out, folder.classes, sources.split, workers=workers, on_progress=on_progress)
    return summary


def _count(scene: _Composed, summary: ComposeSummary) -> None:
    if scene.error is not None:
        summary.fail(scene.image_id, scene.error)
        return
    summary.made += 1
    summary.objects.update(scene.objects)
    summary.dropped.update(scene.dropped)


def _stop_if_vain(composed: Sequence[_Composed], summary: ComposeSummary) -> None:
    """Raise what the next scenes would meet as well."""
    for error in (scene.error for scene in composed):
        summary.service_failures = summary.service_failures + 1 if isinstance(error, ServiceError) else 0
        refused = isinstance(error, ServiceError) and error.kind is FailureKind.PERMANENT
        if error and (isinstance(error, UnwritableError) or refused or summary.service_failures == GIVE_UP_AFTER):
            raise error


def _shards(
    lines: Iterable[tuple[int, bytes]], folder: SceneFolder, summary: ComposeSummary, size: int
) -> Iterator[list[Layout]]:
    """The layouts that are still to be made, some at a time."""
    shard: list[Layout] = []
    new: set[str] = set()
    for number, line in lines:
        try:
            layout = parse_layout(line, f"line {number}")
            digest = folder.done.get(layout.image_id)
            if digest not in (None, layout_digest(layout)):
                fix = "Give it a name of its own, or write to another folder."
                raise InputError(f"line {number}: image_id", "one that no other layout has", layout.image_id, fix)
        except InputError as error:
            summary.fail(f"line {number}", error)
            continue
        if digest is not None:
            summary.repeated += layout.image_id in new
            summary.done += layout.image_id not in new
            continue
        folder.done[layout.image_id] = layout_digest(layout)
        new.add(layout.image_id)
        shard.append(layout)
        if len(shard) == size:
            yield shard
            shard = []
    if shard:
        yield shard


_writer: list[_Writer] = []


def _start(writer: _Writer) -> None:
    if parent_process() is not None:
        # Workers share the cores already.
        cv2.setNumThreads(1)
    _writer[:] = [writer]


def _compose(shard: list[Layout]) -> list[_Composed]:
    return _writer[0].compose(shard)


def _fail(shard: list[Layout], error: WorkerError) -> list[_Composed]:
    return [_Composed(layout.image_id, error=error) for layout in shard]
