"""The embedded backbones against each other: how well the same training does with each, and what it costs.

The photos, and their splits, are those of `benchmarks.inspection`, found by DEFECTORY_PHOTOS.  The wheels of all
backbones have to be installed; ``docs/dependencies.md`` names them.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks.inspection import PARTS, VARIABLE, Split, _spread, _timed
from benchmarks.measure import table
from defectory.inspection.backbone import EMBEDDED, BackboneName, embedded_backbone
from defectory.inspection.evaluation.pixels import PixelTally
from defectory.inspection.samples import render_part
from defectory.inspection.training import TrainingOptions, train
from defectory.vision.images import encode_png, load_image

HELD_BACK = 0.05
FIGURES = ("image AUROC", f"misses at {HELD_BACK:.0%}", "pixel AUROC", "mask IoU")


def report(runs: int = 3, folder: Path | None = None) -> str:
    """Figures over ``runs`` splits, mean ± standard deviation, each split with every backbone in turn; and costs."""
    folder = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if folder is None or not folder.is_dir():
        raise SystemExit(f"backbones: set {VARIABLE} to the folder of the photos that benchmarks/inspection.py names")
    rows = []
    with threadpool_limits(1):
        for name, split_of in PARTS.items():
            seeds: dict[BackboneName, list[Mapping[str, float]]] = {backbone: [] for backbone in EMBEDDED}
            for seed in range(runs):
                split = split_of(folder, seed)
                for backbone, measured in seeds.items():
                    measured.append(_measure(split, seed, backbone))
                    print(name, seed, backbone, measured[-1], file=sys.stderr, flush=True)
            rows += [(name, backbone, *_columns(measured)) for backbone, measured in seeds.items()]
        costs = _costs(runs)
    return (
        f"{table(('parts', 'backbone', *FIGURES), rows)}\n\n"
        f"Good images only, thresholds untouched; {runs} seeds, mean ± standard deviation. Misses: defects that score "
        f"below what {HELD_BACK:.0%} of the good test images exceed.\n\n"
        f"{table(('30 good 256x256 images, one thread', *EMBEDDED), costs)}"
    )


def _measure(split: Split, seed: int, backbone: BackboneName) -> dict[str, float]:
    model = train(split.train, groups=split.groups, options=TrainingOptions(seed=seed, backbone=backbone))
    tally, scores, defects = PixelTally(()), {}, set(split.bad)
    for path in (*split.good, *split.bad):
        inspection = model.inspect(load_image(path))
        scores[path] = inspection.score
        mask = path.with_suffix(".png")
        if path.suffix == ".jpg" and mask.is_file():
            defective = path in defects
            tally.add(inspection, (load_image(mask)[..., 0] > 127).astype(np.uint8) if defective else None)
    good, bad = (np.array([scores[path] for path in paths]) for paths in (split.good, split.bad))
    figures = {
        FIGURES[0]: float(roc_auc_score(np.repeat([0, 1], [len(good), len(bad)]), np.concatenate([good, bad]))),
        FIGURES[1]: float(np.mean(bad <= np.quantile(good, 1 - HELD_BACK))),
    }
    pixels = tally.result()
    if pixels is not None and pixels.auroc is not None and pixels.iou is not None:
        figures |= {FIGURES[2]: pixels.auroc.value, FIGURES[3]: pixels.iou.value}
    return figures


def _columns(measured: Sequence[Mapping[str, float]]) -> list[str]:
    return [_spread([each[name] for each in measured]) if name in measured[0] else "" for name in FIGURES]


def _costs(runs: int) -> list[tuple[str, ...]]:
    """Processor time of every backbone in turn, medians, and the size of a bundle."""
    rng = np.random.default_rng(0)
    parts = [render_part(rng)[0] for _ in range(40)]
    trained: dict[BackboneName, list[float]] = {backbone: [] for backbone in EMBEDDED}
    inspected: dict[BackboneName, list[float]] = {backbone: [] for backbone in EMBEDDED}
    models = {}
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{number}.png" for number in range(30)]
        for path, part in zip(paths, parts[:30], strict=True):
            path.write_bytes(encode_png(part))
        for backbone in EMBEDDED:
            embedded_backbone(backbone)  # built outside of what is timed
        for _ in range(runs):
            for backbone in EMBEDDED:
                options = TrainingOptions(backbone=backbone)
                seconds, models[backbone] = _timed(lambda options=options: train(paths, options=options))  # type: ignore[misc]
                trained[backbone].append(seconds)
    for model in models.values():
        model.inspect(parts[30])
    for part in parts[30:]:
        for backbone, model in models.items():
            inspected[backbone].append(_timed(lambda model=model, part=part: model.inspect(part))[0])  # type: ignore[misc]
    return [
        ("train, s", *(f"{statistics.median(trained[backbone]):.2f}" for backbone in EMBEDDED)),
        ("inspect one image, ms", *(f"{statistics.median(inspected[backbone]) * 1000:.1f}" for backbone in EMBEDDED)),
        ("bundle, MB", *(f"{len(models[backbone].to_bytes()) / 1e6:.2f}" for backbone in EMBEDDED)),
    ]
