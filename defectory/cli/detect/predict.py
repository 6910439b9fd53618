"""``defectory detect predict``: the objects on images.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.options import JsonOption, ModelArgument, out_folder
from defectory.cli.output import complain, counted, print_json
from defectory.errors import DefectoryError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from defectory.detection.detectors.detector import Detection


def predict(
    model: ModelArgument,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images, or folders of images.")],
    out: Annotated[Path | None, out_folder("Folder for a copy of each image with its boxes drawn.")] = None,
    min_score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Report from this score on.", show_default="each class's threshold"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find objects on images: class, score and box (left, top, width, height in pixels).

    Exit code 1 if an image could not be read; the others are looked at.

    Examples:

        defectory detect predict detector.tar.gz aisle.jpg

        defectory detect predict detector.tar.gz photos --out boxes --json
    """
    from defectory.datasets.photo_folders import find_images
    from defectory.detection.detectors.detector import load_detector
    from defectory.vision.images import load_image

    detector = load_detector(model)
    answers: list[dict[str, object]] = []
    images = [image for path in paths for image in (find_images(path, "PATH") if path.is_dir() else [path])]
    for path in images:
        try:
            image = load_image(path)
            detections = detector.detect(image, min_score=min_score)
            if out:
                _write_picture(out, path, image, detections, detector.card.names, len(answers))
        except DefectoryError as error:
            answers.append({"image": str(path), "error": str(error)})
            if not as_json:
                complain(f"ERROR {error}")
            continue
        found = [detection.model_dump(mode="json") for detection in detections]
        height, width = image.shape[:2]
        answers.append({"image": str(path), "width": width, "height": height, "detections": found})
        if not as_json:
            _show(path, detections)
    if as_json:
        print_json(answers)
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def _show(path: Path, detections: Sequence[Detection]) -> None:
    typer.echo(f"{path}: {counted(len(detections), 'object')}")
    for detection in detections:
        left, top, width, height = detection.box
        typer.echo(f"  {detection.score:.2f}  {detection.label}  {left:.0f},{top:.0f} {width:.0f}x{height:.0f}")


def _write_picture(
    folder: Path,
    path: Path,
    image: NDArray[np.uint8],
    detections: Sequence[Detection],
    names: Sequence[str],
    number: int,
) -> None:
    from defectory.detection.drawing import draw_detections
    from defectory.vision.images import encode_jpeg
    from defectory.writing import write_whole, writing_to

    # Images of several folders may share a name.
    stem = f"{number + 1:04d}-{path.stem}"[:80]
    with writing_to(folder):
        write_whole(folder / f"{stem}.jpg", encode_jpeg(draw_detections(image, detections, names)))
