"""``defectory inspect train``, ``predict`` and ``tune``: make a model from photos, ask it, and adjust it.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.errors import DefectoryError, InputError, shorten

if TYPE_CHECKING:
    from pydantic import ValidationError

    from defectory.inspection.model import Model
    from defectory.inspection.training import Progress
    from defectory.inspection.verdicts import Inspection, InspectionReply

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]

_COLOURS = {"PASS": "green", "REVIEW": "yellow", "FAIL": "red"}


class DetectorChoice(StrEnum):
    """How good parts are remembered."""

    auto = "auto"
    patchcore = "patchcore"
    padim = "padim"


def train(
    out: Annotated[Path, typer.Option(help="The model's file, such as model.tar.gz.", dir_okay=False)],
    good: Annotated[Path | None, typer.Option(help="Folder of photos of good parts.", file_okay=False)] = None,
    defects: Annotated[
        Path | None,
        typer.Option(help="Folder of photos of defective parts, or of one folder a class.", file_okay=False),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of masks named as the photos in --defects; not black = defect.", file_okay=False),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="In place of the three: a dataset (folder, manifest, CSV or dataset.json).")
    ] = None,
    detector: Annotated[DetectorChoice, typer.Option(help="auto: the best on held-out images.")] = DetectorChoice.auto,
    resolution: Annotated[
        int, typer.Option(min=64, max=1024, help="Pixels on the shorter side of what the network sees.")
    ] = 256,
    tiles: Annotated[str, typer.Option(help="ROWSxCOLUMNS, for small defects on large photos.")] = "1x1",
    roi: Annotated[
        str | None, typer.Option(help="Inspect only left,top,right,bottom, in fractions of the photo.")
    ] = None,
    ignore: Annotated[
        Path | None, typer.Option(help="A grey image, not black where nothing is to be inspected.", dir_okay=False)
    ] = None,
    exclude_suspects: Annotated[
        bool, typer.Option("--exclude-suspects", help="Forget good photos that look unlike all others.")
    ] = False,
    review_rate: Annotated[float, typer.Option(help="Share of good parts that may be held back.")] = 0.05,
    fail_rate: Annotated[float, typer.Option(help="Share of good parts that may FAIL.")] = 0.01,
    escape_cost: Annotated[
        float | None, typer.Option(help="Cost of a missed defect; thresholds then come from costs.")
    ] = None,
    reject_cost: Annotated[float | None, typer.Option(help="Cost of a good part that FAILs.")] = None,
    review_cost: Annotated[float, typer.Option(help="Cost of a look by a person; 0: no REVIEW.")] = 0.0,
    defect_rate: Annotated[float, typer.Option(help="Share of defective parts on the line, for the costs.")] = 0.01,
    rules: Annotated[
        Path | None, typer.Option(help="JSON file of rules on areas, counts and classes.", dir_okay=False)
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="The network: efficientnet_lite0 (the default), mobilenet_v2 (if its weights are installed), "
            "or an ONNX file.",
            metavar="NAME|FILE",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and photos give the same model.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Train an inspection model from photos of good parts; labelled defects make it better, masks better still.

    Examples:

        defectory inspect train --good photos/normal --out model.tar.gz

        defectory inspect train --good photos/normal --defects photos/anomaly --masks photos/masks --out model.tar.gz

        defectory inspect train --dataset train.manifest --out model.tar.gz
    """
    from pydantic import ValidationError

    from defectory.inspection.backbone import EMBEDDED
    from defectory.inspection.preparation import Region
    from defectory.inspection.rules import RuleSet
    from defectory.inspection.thresholds import Costs, Rates
    from defectory.inspection.training import TrainingOptions, train, train_dataset

    if (good is None) == (dataset is None) or (dataset and (defects or masks)):
        raise InputError("train", "given --good (with --defects and --masks), or --dataset in their place")
    if (escape_cost is None) != (reject_cost is None):
        raise InputError("costs", "given as both --escape-cost and --reject-cost")
    try:
        costs = None
        if escape_cost is not None and reject_cost is not None:
            costs = Costs(escape=escape_cost, false_reject=reject_cost, review=review_cost, defect_rate=defect_rate)
        options = TrainingOptions(
            detector=detector.value,
            resolution=resolution,
            tiles=_parse_tiles(tiles),
            region=Region.parse(roi) if roi else Region(),
            ignore=ignore,
            exclude_suspects=exclude_suspects,
            rates=Rates(review=review_rate, fail=fail_rate),
            costs=costs,
            rules=RuleSet.model_validate_json(_read(rules)) if rules else RuleSet(),
            backbone=Path(backbone) if backbone and backbone not in EMBEDDED else backbone,
            seed=seed,
        )
    except ValidationError as error:
        raise _explain(error) from None
    with _progress_bars() as show:
        if dataset:
            from defectory.inspection.datasets import load_dataset

            model = train_dataset(load_dataset(dataset), options=options, on_progress=show)
        else:
            assert good is not None  # one of both was given
            damaged, classes = labelled_photos(defects)
            model = train(
                find_images(good, "good"),
                defects=damaged,
                masks=match_masks(masks, damaged),
                classes=classes,
                options=options,
                on_progress=show,
            )
    model.save(out)
    if as_json:
        typer.echo(json.dumps({"model": str(out), **model.card.model_dump(mode="json")}, indent=1, ensure_ascii=False))
    else:
        _show_model(model, out)


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model's file.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Photos, or folders of photos.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for an overlay and a mask of each photo.", file_okay=False)
    ] = None,
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
    from defectory.inspection.images import load_image
    from defectory.inspection.lookout import detect_anomalies_answer
    from defectory.inspection.model import load_model
    from defectory.inspection.verdicts import InspectionReply

    as_json |= lookout
    inspector = load_model(model)
    answers: list[dict[str, object]] = []
    failed = False
    for path in [each for given in paths for each in (find_images(given, "PATH") if given.is_dir() else [given])]:
        try:
            image = load_image(path)
            inspection = inspector.inspect(image)
            if out:
                _write_pictures(out, path, image, inspection, len(answers))
        except DefectoryError as error:
            failed = True
            answers.append({"image": str(path), "error": str(error)})
        else:
            reply = InspectionReply.of(inspection, images=pictures).model_dump(mode="json")
            answers.append({"image": str(path), **(detect_anomalies_answer(inspection) if lookout else reply)})
        if not as_json:
            _show_answer(answers[-1])
    if as_json:
        typer.echo(json.dumps(answers, indent=1, ensure_ascii=False))
    if failed:
        raise typer.Exit(1)


def tune(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model's file.")],
    results: Annotated[
        Path | None, typer.Option(help="Stored results to try it on: what `predict --json` printed.", dir_okay=False)
    ] = None,
    review: Annotated[float | None, typer.Option(help="Scores from here on are REVIEW.")] = None,
    fail: Annotated[float | None, typer.Option(help="Scores from here on FAIL.")] = None,
    rules: Annotated[Path | None, typer.Option(help="JSON file of rules.", dir_okay=False)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the changed model here; without it, only try.", dir_okay=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Give a model other thresholds or rules, after seeing what that would have changed in stored results.

    Examples:

        defectory inspect tune model.tar.gz --rules rules.json --results stored.json

        defectory inspect tune model.tar.gz --rules rules.json --fail 0.3 --out stricter.tar.gz
    """
    from pydantic import ValidationError

    from defectory.inspection.model import load_model, retune
    from defectory.inspection.rules import RuleSet, backtest
    from defectory.inspection.verdicts import Thresholds

    inspector = load_model(model)
    current = inspector.card.thresholds
    try:
        wanted = RuleSet.model_validate_json(_read(rules)) if rules else inspector.card.rules
    except ValidationError as error:
        raise _explain(error) from None
    limits = Thresholds(current.review if review is None else review, current.fail if fail is None else fail)
    tuned = retune(inspector, limits, wanted)
    stored = _stored(results) if results else []
    moved = [
        reply.model_copy(update={"review_threshold": limits.review, "fail_threshold": limits.fail}) for reply in stored
    ]
    trial = backtest(wanted, moved)
    if out:
        tuned.save(out)
    if as_json:
        content = {"version": tuned.card.version, "out": str(out) if out else None, **trial.model_dump(mode="json")}
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
        return
    for change in trial.changes:
        typer.echo(f"result {change.index + 1}: {change.before} -> {change.after}  ({change.reason})")
    typer.echo(f"{len(trial.changes)} of {trial.results} stored verdicts change, {trial.stricter} of them to stricter")
    typer.echo(f"Model {tuned.card.version} is in {out}" if out else "Nothing was written; --out writes the model.")


def find_images(folder: Path, field: str) -> list[Path]:
    """The photos directly in ``folder``, sorted.

    Raises:
        InputError: it is no folder, or has none.
    """
    from defectory.inspection.images import IMAGE_SUFFIXES

    if not folder.is_dir():
        raise InputError(field, "an existing folder", str(folder))
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not found:
        raise InputError(field, f"a folder of photos ({', '.join(sorted(IMAGE_SUFFIXES))})", str(folder))
    return found


def labelled_photos(folder: Path | None) -> tuple[list[Path], dict[Path, Sequence[str]]]:
    """Photos of defects and their classes, which are the names of the folders they lie in, if they do."""
    if folder is None:
        return [], {}
    groups = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not groups:
        return find_images(folder, "defects"), {}
    classes: dict[Path, Sequence[str]] = {
        path: (group.name,) for group in groups for path in find_images(group, "defects")
    }
    return list(classes), classes


def match_masks(folder: Path | None, photos: Sequence[Path]) -> dict[Path, Path]:
    """The mask of each photo that has one: of its name, in the folder of its class or above, perhaps with ``_mask``."""
    if folder is None:
        return {}
    matched = {}
    for photo in photos:
        names = (photo.stem, f"{photo.stem}_mask")
        for place in (folder / photo.parent.name, folder):
            found = [path for path in place.glob("*") if path.stem in names and path != photo and path.is_file()]
            if found:
                matched[photo] = sorted(found)[0]
                break
    if not matched:
        raise InputError("masks", "a folder of masks named as the photos in --defects", str(folder))
    return matched


def _parse_tiles(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and 1 <= int(rows) <= 8 and 1 <= int(columns) <= 8):
        raise InputError("tiles", "ROWSxCOLUMNS of 1 to 8 each, such as 2x3", text)
    return int(rows), int(columns)


def _read(path: Path, field: str = "rules") -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(field, f"a JSON file that can be read ({error})", str(path)) from None


def _stored(path: Path) -> list[InspectionReply]:
    """The results in what ``predict --json`` printed; photos that could not be inspected are no results."""
    from defectory.inspection.verdicts import parse_reply

    try:
        rows = json.loads(_read(path, "results"))
    except ValueError as error:
        raise InputError("results", f"JSON ({error})", str(path)) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError("results", "a list of results, as `predict --json` prints it", str(path))
    answers = [{key: value for key, value in row.items() if key != "image"} for row in rows if "error" not in row]
    return [parse_reply(json.dumps(answer)) for answer in answers]


def _explain(error: ValidationError) -> InputError:
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or error.title
    return InputError(field, f"right ({shorten(first['msg'])})", first["input"])


@contextmanager
def _progress_bars() -> Iterator[Callable[[Progress], None]]:
    """A bar for each stage, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks = {}

        def show(progress: Progress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(progress.stage, total=progress.total)
            bars.update(tasks[progress.stage], completed=progress.done)

        yield show


def _show_model(model: Model, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    card = model.card
    table = Table(title=f"Candidates, on {card.leaderboard_basis}", title_justify="left")
    for column in ("detector", "AUROC", "average precision", ""):
        table.add_column(column)
    for entry in card.leaderboard:
        chosen = "chosen" if entry.chosen else ""
        table.add_row(entry.name, f"{entry.auroc:.3f}", f"{entry.average_precision:.3f}", chosen)
    Console().print(table)
    thresholds = card.thresholds
    typer.echo(f"REVIEW from {thresholds.review:.4f}, FAIL from {thresholds.fail:.4f} ({card.threshold_basis})")
    if card.synthetic_basis:
        typer.echo(f"Synthetic defects {card.synthetic_basis}")
    for warning in card.warnings:
        typer.secho(warning, err=True, fg=typer.colors.YELLOW)
    for name in card.suspects:
        typer.secho(f"Unlike the other good parts, is it one? {name}", err=True, fg=typer.colors.YELLOW)
    if card.dataset_parent:
        typer.echo(f"Dataset {card.dataset} differs from {card.dataset_parent}, which it was made from:")
        for change in card.dataset_changes:
            typer.echo(f"  {change}")
    size = out.stat().st_size / 1e6
    typer.echo(f"Model {card.version} is in {out} ({size:.1f} MB); try `defectory inspect predict {out} PHOTO`")


def _show_answer(answer: dict[str, object]) -> None:
    if "error" in answer:
        typer.secho(f"ERROR   {answer['error']}", err=True, fg=typer.colors.RED)
        return
    reasons = answer["reasons"]
    because = f"  ({'; '.join(reasons)})" if isinstance(reasons, list) and reasons else ""
    verdict = str(answer["verdict"])
    typer.secho(f"{verdict:7}", fg=_COLOURS[verdict], nl=False)
    typer.echo(f" score {answer['score']:.4f}  confidence {answer['confidence']:.3f}  {answer['image']}{because}")


def _write_pictures(folder: Path, path: Path, image: object, inspection: Inspection, number: int) -> None:
    from defectory.inspection.images import encode_png, heatmap_overlay

    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Photos of several folders may share a name.
        stem = f"{number + 1:04d}-{path.stem}"[:200]
        (folder / f"{stem}-overlay.png").write_bytes(encode_png(heatmap_overlay(image, inspection.heatmap)))  # type: ignore[arg-type]
        (folder / f"{stem}-mask.png").write_bytes(encode_png(inspection.mask))
    except OSError as error:
        raise InputError("out", f"a folder that can be written to ({error.strerror})", str(folder)) from None
