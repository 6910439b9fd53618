"""``defectory detect predict``: the objects on images, and the rules of safety that they break.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.options import JsonOption, ModelArgument, out_folder
from defectory.cli.output import complain, counted, print_json
from defectory.errors import DefectoryError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from defectory.detection.detectors.detector import Detection
    from defectory.detection.rules import Alert, RuleWatch


RulesOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Rules of safety (YAML or JSON); tells which are broken.", dir_okay=False),
]
BlurOption = Annotated[
    list[str] | None,
    typer.Option(metavar="CLASS", help="Blur the boxes of this class in the pictures of --out; may be repeated."),
]


def predict(
    model: ModelArgument,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images, or folders of images.")],
    out: Annotated[Path | None, out_folder("Folder for a copy of each image with its boxes drawn.")] = None,
    min_score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Report from this score on.", show_default="each class's threshold"),
    ] = None,
    rules: RulesOption = None,
    blur: BlurOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find objects on images: class, score and box (left, top, width, height in pixels).

    With --rules each image is held against rules such as "person without hard hat in zone A"; the images are taken for
    those of one camera, in the order given (in folders by name). An alert is no failure: exit code 1 only if an image
    could not be read; the others are looked at.

    Examples:

        defectory detect predict detector.tar.gz aisle.jpg

        defectory detect predict detector.tar.gz photos --out boxes --blur person --json

        defectory detect predict detector.tar.gz frames --rules rules.yaml
    """
    from defectory.datasets.photo_folders import find_images
    from defectory.detection.detectors.detector import DetectionReply, load_detector
    from defectory.vision.images import load_image

    detector = load_detector(model)
    _check_blur(blur or (), out, detector.card.names)
    watch = _watch(rules, detector.card.names)
    answers: list[dict[str, object]] = []
    images = [image for path in paths for image in (find_images(path, "PATH") if path.is_dir() else [path])]
    for path in images:
        try:
            image = load_image(path)
            detections = detector.detect(image, min_score=min_score)
            if out:
                picture = _draw(image, detections, detector.card.names, blur or ())
                _write_picture(out, path, picture, len(answers))
        except DefectoryError as error:
            answers.append({"image": str(path), "error": str(error)})
            if not as_json:
                complain(f"ERROR {error}")
            continue
        reply = DetectionReply.of(image, detections, detector.card.version, detector.card.names)
        answer = {"image": str(path), **reply.model_dump(mode="json")}
        alerts = watch.see(detections, reply.width, reply.height) if watch else ()
        if watch:
            answer["alerts"] = [{**alert.model_dump(mode="json"), "message": alert.describe()} for alert in alerts]
        answers.append(answer)
        if not as_json:
            _show(path, detections, alerts)
    if as_json:
        print_json(answers)
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def _check_blur(labels: Sequence[str], out: Path | None, names: Sequence[str]) -> None:
    if labels and out is None:
        raise InputError("--blur", "given with --out, whose pictures it is about", ", ".join(labels))
    for label in labels:
        if label not in names:
            raise InputError("--blur", f"one of the detector's classes ({', '.join(names)})", label)


def _watch(file: Path | None, names: Sequence[str]) -> RuleWatch | None:
    if file is None:
        return None
    from defectory.detection.rules import RuleWatch, load_safety_rules

    rules = load_safety_rules(file)
    rules.check_classes(names)
    return RuleWatch(rules)


def _show(path: Path, detections: Sequence[Detection], alerts: Sequence[Alert]) -> None:
    typer.echo(f"{path}: {counted(len(detections), 'object')}")
    for detection in detections:
        typer.echo(f"  {detection.score:.2f}  {detection.label}  {_place(detection.box)}")
    for alert in alerts:
        typer.secho(f"  ALERT {alert.describe()} ({_place(alert.box)})", fg=typer.colors.RED)


def _place(box: Sequence[float]) -> str:
    left, top, width, height = box
    return f"{left:.0f},{top:.0f} {width:.0f}x{height:.0f}"


def _draw(
    image: NDArray[np.uint8], detections: Sequence[Detection], names: Sequence[str], blurred: Sequence[str]
) -> NDArray[np.uint8]:
    from defectory.detection.drawing import blur_detections, draw_detections

    return draw_detections(blur_detections(image, detections, blurred), detections, names)


def _write_picture(folder: Path, path: Path, picture: NDArray[np.uint8], number: int) -> None:
    from defectory.vision.images import encode_jpeg
    from defectory.writing import write_whole, writing_to

    # Images of several folders may share a name.
    stem = f"{number + 1:04d}-{path.stem}"[:80]
    with writing_to(folder):
        write_whole(folder / f"{stem}.jpg", encode_jpeg(picture))
