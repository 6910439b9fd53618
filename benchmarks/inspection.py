"""How well the inspection model parts good from defective parts, from good images alone, against simple baselines.

The photos are not part of the repository: DEFECTORY_PHOTOS names a folder that holds

```
aliens/{normal,anomaly}/                              of aws-samples/amazon-lookout-for-vision
cookies/{dataset-files/training-images,test-images}/  of the same
magnetic-tiles/MT_*/Imgs/                             of abin24/Magnetic-tile-defect-datasets.
```
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks.measure import table
from defectory.datasets import load_dataset
from defectory.inspection.backbone import embedded_backbone
from defectory.inspection.detectors.patchcore import BANK_SIZE, _coreset
from defectory.inspection.model import Model
from defectory.inspection.samples import render_part
from defectory.inspection.training import MAX_FITTED, TrainingOptions, train
from defectory.vision.images import encode_png, load_image

VARIABLE = "DEFECTORY_PHOTOS"
SIDE = 64
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Split:
    """Good photos to train on, and photos of both kinds to test on."""

    train: list[Path]
    good: list[Path]
    bad: list[Path]
    groups: dict[Path, str] = field(default_factory=dict)


def aliens(folder: Path, seed: int) -> Split:
    """30 of the 60 good ones, drawn anew for each seed."""
    good = _shuffled((folder / "aliens" / "normal").glob("*.png"), seed)
    return Split(good[:30], good[30:], sorted((folder / "aliens" / "anomaly").glob("*.png")))


def cookies(folder: Path, seed: int) -> Split:
    """30 of the good training images, drawn anew for each seed; the test images are as published."""
    good = _shuffled((folder / "cookies" / "dataset-files" / "training-images").glob("normal*"), seed)
    tests = folder / "cookies" / "test-images"
    return Split(good[:30], sorted(tests.glob("test-normal*")), sorted(tests.glob("test-anomaly*")))


def magnetic_tiles_by_number(folder: Path, seed: int) -> Split:
    """Half the numbers in the names, one a photo: other exposures of a tested tile may have been trained on."""
    photos = sorted((folder / "magnetic-tiles").glob("MT_*/Imgs/*.jpg"))
    ordered = _shuffled({path.stem.rpartition("num_")[2] for path in photos}, seed)
    trained = set(ordered[: len(ordered) // 2])
    is_training = {path: path.stem.rpartition("num_")[2] in trained for path in photos}
    good = [path for path in photos if "MT_Free" in path.parts]
    return Split(
        [path for path in good if is_training[path]],
        [path for path in good if not is_training[path]],
        [path for path in photos if "MT_Free" not in path.parts and not is_training[path]],
    )


def magnetic_tiles(folder: Path, seed: int) -> Split:
    """All exposures of half the tiles; no tile is on both sides.

    The numbers in the names are the camera's frames: the exposures of one tile follow each other within a hundred.
    """
    photos = load_dataset(folder / "magnetic-tiles", group_pattern=r"num_(\d+)", group_gap=100)
    tiles = _shuffled({photo.group for photo in photos.records}, seed)
    trained = set(tiles[: len(tiles) // 2])
    return Split(
        [photo.path for photo in photos.normal if photo.group in trained],
        [photo.path for photo in photos.normal if photo.group not in trained],
        [photo.path for photo in photos.anomalous if photo.group not in trained],
        {photo.path: photo.group for photo in photos.normal},
    )


def z_score(train: Sequence[NDArray[np.uint8]], test: Sequence[NDArray[np.uint8]], seed: int) -> Scores:
    """Each pixel's deviation from the good images' mean, in their standard deviations."""
    fitted = np.stack([_small(image) for image in train])
    deviations = np.abs(np.stack([_small(image) for image in test]) - fitted.mean(0)) / (fitted.std(0) + 4)
    return np.sort(deviations.reshape(len(test), -1), axis=1)[:, -SIDE * SIDE // 100 :].mean(axis=1)


def pca_reconstruction(train: Sequence[NDArray[np.uint8]], test: Sequence[NDArray[np.uint8]], seed: int) -> Scores:
    """What of an image the principal components of the good ones cannot say."""
    flat = np.stack([_small(image).ravel() for image in train])
    pca = PCA(n_components=0.9, svd_solver="full", random_state=seed).fit(flat)
    new = np.stack([_small(image).ravel() for image in test])
    return np.square(new - pca.inverse_transform(pca.transform(new))).mean(axis=1)


def raw_patchcore(train: Sequence[NDArray[np.uint8]], test: Sequence[NDArray[np.uint8]], seed: int) -> Scores:
    """PatchCore as published, on the same network: raw features, Euclidean distance, the largest one counts."""
    backbone = embedded_backbone()

    def describe(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        features = backbone.features([cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)])
        joined = np.concatenate([feature[0] for feature in features]).transpose(1, 2, 0)
        return np.concatenate(
            [cv2.blur(np.ascontiguousarray(part), (3, 3)) for part in np.array_split(joined, 4, axis=2)], axis=2
        ).reshape(-1, joined.shape[2])

    rng = np.random.default_rng(seed)
    patches = np.concatenate([describe(image) for image in train])
    patches = patches[rng.permutation(len(patches))[:20_000]]
    bank = patches[_coreset(patches, BANK_SIZE, rng)]
    squares = np.square(bank).sum(axis=1)

    def largest(patches: NDArray[np.float32]) -> float:
        distances = np.square(patches).sum(axis=1)[:, None] + squares - 2 * patches @ bank.T
        return float(np.sqrt(np.maximum(distances.min(axis=1), 0)).max())

    return np.array([largest(describe(image)) for image in test])


PARTS: dict[str, Callable[[Path, int], Split]] = {
    "aliens": aliens, "cookies": cookies, "magnetic tiles, split by number": magnetic_tiles_by_number,
    "magnetic tiles, split by tile": magnetic_tiles,
}  # fmt: skip
BASELINES = {"raw-feature PatchCore": raw_patchcore, "PCA reconstruction": pca_reconstruction, "pixel z-score": z_score}


def report(runs: int = 3, folder: Path | None = None) -> str:
    """Image AUROC over ``runs`` splits, mean ± standard deviation, and what training and predicting cost."""
    folder = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if folder is None or not folder.is_dir():
        raise SystemExit(f"inspection: set {VARIABLE} to the folder of the photos that benchmarks/inspection.py names")
    rows = []
    with threadpool_limits(1):
        for name, split in PARTS.items():
            results: dict[str, list[float]] = {column: [] for column in ("ours", *BASELINES, "held back", "escaped")}
            for seed in range(runs):
                _measure(split(folder, seed), seed, results)
            rows.append((name, *(_spread(values) for values in results.values())))
        costs = _costs(runs)
    header = ("image AUROC", "Defectory", *BASELINES, "good REVIEW or FAIL", "defects PASS")
    return (
        f"{table(header, rows)}\n\nGood images only, thresholds untouched; {runs} seeds, mean ± standard deviation.\n\n"
        f"{table(('30 good 256x256 images, one thread', 'median'), costs)}"
    )


def _measure(split: Split, seed: int, results: dict[str, list[float]]) -> None:
    model = train(split.train, groups=split.groups, options=TrainingOptions(seed=seed))
    tests = [load_image(path) for path in (*split.good, *split.bad)]
    truth = np.repeat([0, 1], [len(split.good), len(split.bad)])
    inspections = [model.inspect(image) for image in tests]
    results["ours"].append(float(roc_auc_score(truth, [inspection.score for inspection in inspections])))
    passed = np.array([inspection.verdict == "PASS" for inspection in inspections])
    results["held back"].append(float(1 - passed[truth == 0].mean()))
    results["escaped"].append(float(passed[truth == 1].mean()))
    indices = np.random.default_rng(seed).permutation(len(split.train))[:MAX_FITTED]
    fitted = [load_image(split.train[index]) for index in indices]
    for name, baseline in BASELINES.items():
        results[name].append(float(roc_auc_score(truth, baseline(fitted, tests, seed))))


def _costs(runs: int) -> list[tuple[str, str]]:
    rng = np.random.default_rng(0)
    parts = [render_part(rng)[0] for _ in range(40)]
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{number}.png" for number in range(30)]
        for path, part in zip(paths, parts[:30], strict=True):
            path.write_bytes(encode_png(part))
        trained = [_timed(lambda: train(paths)) for _ in range(runs)]
    model: Model = trained[0][1]
    model.inspect(parts[30])
    predicted = [_timed(lambda part=part: model.inspect(part))[0] for part in parts[30:]]  # type: ignore[misc]
    return [
        ("train, s", f"{statistics.median(seconds for seconds, _ in trained):.1f}"),
        ("inspect one image, ms", f"{statistics.median(predicted) * 1000:.0f}"),
        ("bundle, MB", f"{len(model.to_bytes()) / 1e6:.1f}"),
    ]


def _timed(work: Callable[[], Model]) -> tuple[float, Model]:
    """Processor seconds, which others on the machine do not change."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def _small(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)


def _shuffled(items, seed: int) -> list:  # noqa: ANN001
    ordered = sorted(items)
    return [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.pstdev(values):.3f}"
