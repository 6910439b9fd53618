"""Report: an evaluation as one page, with nothing from elsewhere, on which the threshold can be moved."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from defectory.errors import InputError
from defectory.inspection.evaluation.pictures import picture_path
from defectory.inspection.evaluation.results import Evaluation, ImageResult
from defectory.vision.images import colour_heatmap
from defectory.writing import write_whole, writing_to

REPORT = "report.html"
MOST_PICTURES = 300
HEAT_SIDE = 160
# Colours that the heatmap, blue over green to red, does not use where it shows.
FOUND_COLOUR = (224, 23, 140)
TRUTH_COLOUR = (0, 200, 255)


def write_report(evaluation: Evaluation, out: Path) -> Path:
    """Write ``report.html`` of ``evaluation`` into the folder ``out``, with the pictures that lie there.

    At most 300 images come with their picture: the misses, and those that were nearest to one.  The page's state can
    be given in its address: ``#threshold=0.7&review=0.6&show=anomaly-PASS&sort=worst&defect=scratch&heat=0.5``.

    Raises:
        InputError: a picture of the evaluation is missing.
    """
    pictured = sorted(evaluation.images, key=lambda image: _miss_order(image, evaluation))[:MOST_PICTURES]
    pictures = {image.picture: _picture(out, image) for image in pictured}
    metrics, pixels = evaluation.metrics, evaluation.pixels
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            e=evaluation,
            rows=[
                ("AUROC", metrics.auroc, "images"),
                ("Average precision", metrics.average_precision, "defective images"),
                ("Precision", metrics.precision, "images that FAIL"),
                ("Recall", metrics.recall, "defective images"),
                ("F1", metrics.f1, "images that are defective or FAIL"),
                ("Escapes (defective, PASS)", metrics.escapes, "defective images"),
                ("Overkill (good, FAIL)", metrics.overkill, "good images"),
                ("For a person (REVIEW)", metrics.review, "images"),
                *((("Pixel AUROC", pixels.auroc, "images"), ("Mean IoU", pixels.iou, "true masks")) if pixels else ()),
            ],
            parts=len({image.part or image.name for image in evaluation.images}),
            has_truth=any("truth" in picture for picture in pictures.values()),
            without_picture=len(evaluation.images) - len(pictures),
            data={
                "limits": {"fail": evaluation.fail_threshold, "review": evaluation.review_threshold},
                "images": [_data(image) for image in evaluation.images],
                "pictures": pictures,
            },
        )
    )
    path = out / REPORT
    with writing_to(out):
        write_whole(path, page.encode())
    return path


@cache
def _environment() -> Environment:
    loader = PackageLoader("defectory.inspection.evaluation", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _miss_order(image: ImageResult, evaluation: Evaluation) -> tuple[bool, float]:
    """Misses first, then by how near (or far beyond) the wrong side of the threshold the score lies."""
    beyond = image.score - evaluation.fail_threshold
    missed = image.verdict == ("PASS" if image.label == "anomaly" else "FAIL")
    return not missed, beyond if image.label == "anomaly" else -beyond


def _data(image: ImageResult) -> dict[str, Any]:
    content = image.model_dump(mode="json", exclude={"verdict", "defects", "by_rule"})
    content["found"] = [area.model_dump() for area in image.defects]
    return content | {"fixed": image.verdict if image.by_rule else ""}


def _picture(folder: Path, image: ImageResult) -> dict[str, Any]:
    try:
        photo = picture_path(folder, image.picture).read_bytes()
        with Image.open(io.BytesIO(photo)) as opened:
            width, height = opened.size
        layers = {"heat": _heat(_grey(picture_path(folder, image.picture, "heat")))}
        for layer, colour in (("found", FOUND_COLOUR), ("truth", TRUTH_COLOUR)):
            path = picture_path(folder, image.picture, layer)
            if layer == "found" or path.is_file():
                mask = _grey(path)
                if mask.any():
                    layers[layer] = _outline(mask, colour)
    except OSError as error:
        raise InputError(
            error.filename or str(picture_path(folder, image.picture)),
            f"a picture of the evaluation that can be read ({error.strerror or error})",
            fix="Run `defectory inspect evaluate` again.",
        ) from None
    return {"width": width, "height": height, "photo": _data_uri("jpeg", photo), **layers}


def _grey(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def _heat(grey: NDArray[np.uint8]) -> str:
    """The heatmap in colours; cold places stay clear, and from the level of the threshold on the colour is full."""
    small = Image.fromarray(grey)
    small.thumbnail((HEAT_SIDE, HEAT_SIDE), Image.Resampling.BOX)
    # 64 levels: the eye sees no step, and the file is a third.
    picture = Image.fromarray(np.asarray(small) // 4 * 4)
    levels = np.arange(256) / 255
    picture.putpalette(colour_heatmap(levels[None])[0].tobytes())
    return _png(picture, np.rint(np.minimum(2 * levels, 1) ** 2 * 255).astype(np.uint8).tobytes())


def _outline(mask: NDArray[np.uint8], colour: tuple[int, int, int]) -> str:
    grown = np.asarray(Image.fromarray(mask).filter(ImageFilter.MaxFilter(5)))
    picture = Image.fromarray(((grown > 0) & (mask == 0)).astype(np.uint8))
    picture.putpalette(bytes((0, 0, 0, *colour)))
    return _png(picture, bytes((0, 255)))


def _png(picture: Image.Image, transparency: bytes) -> str:
    content = io.BytesIO()
    picture.save(content, "PNG", transparency=transparency, optimize=True)
    return _data_uri("png", content.getvalue())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
