"""``defectory inspect predict``: PASS, REVIEW or FAIL for photos.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.options import JsonOption, ModelArgument, out_folder
from defectory.cli.output import complain, print_json
from defectory.errors import DefectoryError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from defectory.inspection.verdicts import Inspection

_COLOURS = {"PASS": "green", "REVIEW": "yellow", "FAIL": "red"}


def predict(
    model: ModelArgument,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Photos, or folders of photos.")],
    out: Annotated[Path | None, out_folder("Folder for an overlay and a mask of each photo.")] = None,
    pictures: Annotated[bool, typer.Option(help="With --json: heatmaps and masks too, as base64 PNG.")] = False,
    lookout: Annotated[
        bool, typer.Option("--lookout", help="Print JSON as Amazon Lookout for Vision's DetectAnomalies answered.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Inspect photos: PASS, REVIEW or FAIL each, with score, confidence, and where the defects are.

    Exit code 1 if a photo could not be inspected; the others are.

    Examples:

        defectory inspect predict model.tar.gz part.png

        defectory inspect predict model.tar.gz photos --json
    """
    from defectory.inspection.lookout import detect_anomalies_answer
    from defectory.inspection.model import load_model
    from defectory.inspection.verdicts import InspectionReply
    from defectory.vision.images import load_image

    as_json |= lookout
    inspector = load_model(model)
    answers: list[dict[str, object]] = []
    for path in _list_photos(paths):
        try:
            image = load_image(path)
            inspection = inspector.inspect(image)
            if out:
                _write_pictures(out, path, image, inspection, len(answers))
        except DefectoryError as error:
            answers.append({"image": str(path), "error": str(error)})
        else:
            reply = InspectionReply.of(inspection, images=pictures).model_dump(mode="json")
            answers.append({"image": str(path), **(detect_anomalies_answer(inspection) if lookout else reply)})
        if not as_json:
            _show_answer(answers[-1])
    if as_json:
        print_json(answers)
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def _list_photos(paths: Sequence[Path]) -> list[Path]:
    """The photos, and those in the folders."""
    from defectory.datasets.photo_folders import find_images

    return [photo for path in paths for photo in (find_images(path, "PATH") if path.is_dir() else [path])]


def _show_answer(answer: dict[str, object]) -> None:
    if "error" in answer:
        complain(f"ERROR   {answer['error']}")
        return
    reasons = answer["reasons"]
    because = f"  ({'; '.join(reasons)})" if isinstance(reasons, list) and reasons else ""
    verdict = str(answer["verdict"])
    typer.secho(f"{verdict:7}", fg=_COLOURS[verdict], nl=False)
    typer.echo(f" score {answer['score']:.4f}  confidence {answer['confidence']:.3f}  {answer['image']}{because}")


def _write_pictures(folder: Path, path: Path, image: NDArray[np.uint8], inspection: Inspection, number: int) -> None:
    from defectory.vision.images import encode_png, heatmap_overlay
    from defectory.writing import write_whole, writing_to

    # Photos of several folders may share a name.
    stem = f"{number + 1:04d}-{path.stem}"[:80]
    with writing_to(folder):
        write_whole(folder / f"{stem}-overlay.png", encode_png(heatmap_overlay(image, inspection.heatmap)))
        write_whole(folder / f"{stem}-mask.png", encode_png(inspection.mask))
