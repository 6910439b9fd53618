"""How many pictures of defects a second one core makes, 512x512, against the simplest published ways to make some."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.measure import table
from benchmarks.peers.cutpaste import cutpaste, cutpaste_scar
from benchmarks.peers.draem import draem
from defectory.images.renderers import Renderer, RenderRequest
from defectory.images.renderers.procedural import KINDS, ProceduralRenderer
from defectory.images.renderers.transplant import Donor, TransplantRenderer
from defectory.inspection.samples import DEFECTS, render_part
from defectory.vision.photos import Photo

SIDE = 512
PHOTOS = 12

Picture = NDArray[np.uint8]


def report(pictures: int = 48) -> str:
    """Pictures per second and core, each maker on the same photos: rendered flanges, enlarged."""
    rng = np.random.default_rng(0)
    photos = [
        Photo(f"flange-{number}", _enlarged(render_part(rng)[0]), f"{number:064x}", None) for number in range(PHOTOS)
    ]
    donors = [_donor(rng, DEFECTS[number % len(DEFECTS)]) for number in range(8)]
    makers: dict[str, Callable[[int], object]] = {
        "CutPaste": lambda number: cutpaste(photos[number % PHOTOS].image, rng),
        "CutPaste-Scar": lambda number: cutpaste_scar(photos[number % PHOTOS].image, rng),
        "DRAEM-style": lambda number: draem(photos[number % PHOTOS].image, [donor.image for donor in donors], rng),
    }
    procedural = ProceduralRenderer()
    for kind in KINDS:
        makers[f"procedural: {kind}"] = partial(_render, procedural, photos, kind)
    transplant = TransplantRenderer(donors)
    for kind in ("scratch", "stain"):
        makers[f"transplant: {kind}"] = partial(_render, transplant, photos, kind)
    with threadpool_limits(1):
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            seconds = {name: _measured(make, pictures) for name, make in makers.items()}
        finally:
            cv2.setNumThreads(threads)
    slowest = seconds["DRAEM-style"]
    rows = [
        (name, f"{1 / picture_seconds:.1f}", f"{picture_seconds * 1000:.3g}", f"{slowest / picture_seconds:.2f}x")
        for name, picture_seconds in seconds.items()
    ]
    header = ("512x512, one core", "pictures / s", "ms each", "speed / DRAEM-style")
    return (
        f"{table(header, rows)}\n\n"
        "Median of CPU time. The peers know nothing of part, light, grain or noise: a rectangle of the photo, or a "
        "foreign texture in a cloud's outline, lies anywhere."
    )


def _render(renderer: Renderer, photos: list[Photo], kind: str, number: int) -> object:
    return renderer.render(photos[number % len(photos)], RenderRequest(kind, number))


def _measured(make: Callable[[int], object], pictures: int) -> float:
    """Processor seconds, which others on the machine hardly change; the first picture warms up."""
    make(0)
    spent = []
    for number in range(pictures):
        started = time.process_time()
        make(number)
        spent.append(time.process_time() - started)
    return statistics.median(spent)


def _donor(rng: np.random.Generator, defect: str) -> Donor:
    image, mask = render_part(rng, defect)
    return Donor(defect, defect.replace("-", "_"), _enlarged(image), _enlarged(mask, cv2.INTER_NEAREST))


def _enlarged(image: Picture, how: int = cv2.INTER_CUBIC) -> Picture:
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=how), np.uint8)
