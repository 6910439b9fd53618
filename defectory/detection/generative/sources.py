"""Sources of painted scenes: what paints, what checks, and how many calls it will take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from defectory.aws.image_models import ImageModel
from defectory.detection.detectors.detector import Detector
from defectory.detection.generative.acceptance import MIN_IOU, CheckedRenderer
from defectory.detection.generative.bedrock import BedrockPainter
from defectory.detection.layouts.records import Layout, Split, layout_digest, painted_places, parse_layout
from defectory.detection.scenes.acceptance import AcceptanceJournal
from defectory.detection.scenes.backgrounds import open_backgrounds
from defectory.detection.scenes.folder import SCENES_FILE, read_scenes
from defectory.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class PaintedSources:
    """What scenes are painted by and checked with; see `compose_scenes`.

    Args:
        classes: what is labelled.
        model: inpaints.
        detector: checks; it has to know all classes.
        out: the folder that the scenes go to; its journal of acceptance is there.
        split: of backgrounds.
        backgrounds: folder of photos to set scenes in; None draws places.
        sizes: the canvases, for which photos have to be large enough.
        min_iou: see `accept`.
    """

    classes: tuple[str, ...]
    model: ImageModel
    detector: Detector
    out: Path
    split: Split = "train"
    backgrounds: Path | None = None
    sizes: tuple[tuple[int, int], ...] = ((512, 512),)
    min_iou: float = MIN_IOU

    def open(self) -> CheckedRenderer:
        """What paints and checks them.

        Raises:
            InputError: the model cannot inpaint, the detector lacks a class, a folder is none of photos that are large
                enough, or the journal holds something else.
            ImageError: a photo cannot be read.
        """
        known = {item.name for item in self.detector.card.classes}
        if unknown := [name for name in self.classes if name not in known]:
            fix = "Train one on composed scenes of all classes: `detect compose`, then `detect train`."
            got = ", ".join(sorted(known))
            raise InputError("check", f"a detector that knows {', '.join(unknown)} as well", got, fix)
        backgrounds = open_backgrounds(self.backgrounds, self.split, self.sizes)
        setting = f"photos of {self.backgrounds.name}" if self.backgrounds else "drawn places"
        painter = BedrockPainter(self.model, backgrounds, setting)
        return CheckedRenderer(painter, self.detector, self.classes, AcceptanceJournal(self.out), self.min_iou)

    def count_calls(self, lines: Iterable[tuple[int, bytes]]) -> int:
        """How many calls of the model the layouts of ``lines`` will take, those left out that are settled already.

        Raises:
            InputError: as `open`.
        """
        renderer = self.open()
        done = {}
        if (self.out / SCENES_FILE).exists():
            done = {record.image_id: layout_digest(record.layout) for record in read_scenes(self.out)}
        return sum(len(painted_places(layout)) for layout in _layouts(lines) if _is_open(layout, done, renderer))


def _layouts(lines: Iterable[tuple[int, bytes]]) -> Iterable[Layout]:
    for number, line in lines:
        try:
            yield parse_layout(line, f"line {number}")
        except InputError:
            # Composing reports it, and calls nothing for it.
            continue


def _is_open(layout: Layout, done: dict[str, int], renderer: CheckedRenderer) -> bool:
    if layout.image_id in done:
        return False
    known = renderer.journal.verdict(layout, renderer.check)
    return known is None or known.outcome == "accepted"
