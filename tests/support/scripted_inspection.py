"""An evaluation whose every number is known: the images themselves say what the model is to say of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from defectory.datasets import Dataset, ImageRecord
from defectory.inspection.evaluation.results import Evaluation
from defectory.inspection.verdicts import DefectArea, Inspection, Thresholds

WIDTH, HEIGHT = 64, 48
REVIEW, FAIL = 0.5, 0.6
HOSTILE = """</script><script>alert(1)</script><img src=x onerror='alert(2)'>"&{{ 7*7 }}"""
GOOD = {"plain": 0.1, "dust": 0.3, "glare": 0.55, "a&b <b>é": 0.65}
BAD = {"scratch-1": 0.9, "scratch-2": 0.8, "scratch-3": 0.45, "dent-1": 0.7, "dent-2": 0.58, "dent-3": 0.2}


class ScriptedModel:
    """Reads the score from the first pixel; takes for defective what is red."""

    def inspect(self, image: np.ndarray) -> Inspection:
        thresholds = Thresholds(REVIEW, FAIL)
        score = image[0, 0, 0] / 100
        mask = np.where((image[..., 0] > 200) & (image[..., 1] < 50), 255, 0).astype(np.uint8)
        share = float((mask > 0).mean())
        area = DefectArea(name="scratch", area=share, regions=1, color="#2CA02C")
        return Inspection(
            verdict=thresholds.verdict(score),
            score=score,
            confidence=0.5 + min(0.5, abs(score - FAIL)),
            thresholds=thresholds,
            model_version="0123456789abcdef",
            heatmap=(mask / 255 * 0.8 + 0.1).astype(np.float32),
            mask=mask,
            classes=(mask > 0).astype(np.uint8),
            defects=(area,) if share else (),
            width=image.shape[1],
            height=image.shape[0],
        )


def write_image(path: Path, score: float, red: slice | None = None) -> Path:
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    if red is not None:
        image[10:20, red] = (255, 0, 0)
    image[0, 0] = round(score * 100), 60, 60
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def write_mask(path: Path, marked: slice, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    mask = np.zeros(size, np.uint8)
    mask[10:20, marked] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)
    return path


def write_dataset(root: Path) -> Dataset:
    """Scratches have masks: the first is found exactly, of the second half, the third not at all; dents have none."""
    records = [
        ImageRecord(write_image(root / "normal" / f"{name}.png", score), "normal") for name, score in GOOD.items()
    ]
    found = {"scratch-1": slice(20, 40), "scratch-2": slice(20, 30)}
    for name, score in BAD.items():
        path = write_image(root / "anomaly" / f"{name}.png", score, found.get(name))
        if name.startswith("scratch"):
            records.append(
                ImageRecord(path, "anomaly", ("scratch",), write_mask(root / "masks" / path.name, slice(20, 40)))
            )
        else:
            records.append(ImageRecord(path, "anomaly", (HOSTILE,), group="part 7", source_ref=f"s3://b/{name}.png"))
    return Dataset(tuple(records), root)


@dataclass(frozen=True)
class Evaluated:
    dataset: Dataset
    evaluation: Evaluation
    folder: Path
    page: Path
