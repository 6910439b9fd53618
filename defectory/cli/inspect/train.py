"""``defectory inspect train``: make a model from photos.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.options import JsonOption, out_file
from defectory.cli.output import print_json, progress_bars, remark
from defectory.errors import InputError

if TYPE_CHECKING:
    from defectory.inspection.model import Model
    from defectory.inspection.thresholds import Costs
    from defectory.inspection.training import TrainingOptions


class DetectorChoice(StrEnum):
    """How good parts are remembered."""

    auto = "auto"
    patchcore = "patchcore"
    padim = "padim"


# What is learned from.
GoodOption = Annotated[Path | None, typer.Option(help="Folder of photos of good parts.", file_okay=False)]
DefectsOption = Annotated[
    Path | None,
    typer.Option(help="Folder of photos of defective parts, or of one folder a class.", file_okay=False),
]
MasksOption = Annotated[
    Path | None,
    typer.Option(help="Folder of masks named as the photos in --defects; not black = defect.", file_okay=False),
]
DatasetOption = Annotated[
    Path | None, typer.Option(help="In place of the three: a dataset (folder, manifest, CSV or dataset.json).")
]

# What the network sees.
DetectorOption = Annotated[DetectorChoice, typer.Option(help="auto: the best on held-out images.")]
ResolutionOption = Annotated[
    int, typer.Option(min=64, max=1024, help="Pixels on the shorter side of what the network sees.")
]
TilesOption = Annotated[str, typer.Option(help="ROWSxCOLUMNS, for small defects on large photos.")]
RegionOption = Annotated[
    str | None, typer.Option(help="Inspect only left,top,right,bottom, in fractions of the photo.")
]
IgnoreOption = Annotated[
    Path | None, typer.Option(help="A grey image, not black where nothing is to be inspected.", dir_okay=False)
]
SuspectsOption = Annotated[
    bool, typer.Option("--exclude-suspects", help="Forget good photos that look unlike all others.")
]
BackboneOption = Annotated[
    str | None,
    typer.Option(
        help="The network: efficientnet_lite0 (the default), mobilenet_v2 (if its weights are there), or an ONNX file.",
        metavar="NAME|FILE",
    ),
]

# What decides.
ReviewRateOption = Annotated[float, typer.Option(help="Share of good parts that may be held back.")]
FailRateOption = Annotated[float, typer.Option(help="Share of good parts that may FAIL.")]
EscapeCostOption = Annotated[
    float | None, typer.Option(help="Cost of a missed defect; thresholds then come from costs.")
]
RejectCostOption = Annotated[float | None, typer.Option(help="Cost of a good part that FAILs.")]
ReviewCostOption = Annotated[float, typer.Option(help="Cost of a look by a person; 0: no REVIEW.")]
DefectRateOption = Annotated[float, typer.Option(help="Share of defective parts on the line, for the costs.")]
RulesOption = Annotated[
    Path | None, typer.Option(help="JSON file of rules on areas, counts and classes.", dir_okay=False)
]


def train(
    out: Annotated[Path, out_file("The model's file, such as model.tar.gz.")],
    good: GoodOption = None,
    defects: DefectsOption = None,
    masks: MasksOption = None,
    dataset: DatasetOption = None,
    detector: DetectorOption = DetectorChoice.auto,
    resolution: ResolutionOption = 256,
    tiles: TilesOption = "1x1",
    roi: RegionOption = None,
    ignore: IgnoreOption = None,
    exclude_suspects: SuspectsOption = False,
    review_rate: ReviewRateOption = 0.05,
    fail_rate: FailRateOption = 0.01,
    escape_cost: EscapeCostOption = None,
    reject_cost: RejectCostOption = None,
    review_cost: ReviewCostOption = 0.0,
    defect_rate: DefectRateOption = 0.01,
    rules: RulesOption = None,
    backbone: BackboneOption = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and photos give the same model.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Train an inspection model from photos of good parts; labelled defects make it better, masks better still.

    Examples:

        defectory inspect train --good photos/normal --out model.tar.gz

        defectory inspect train --good photos/normal --defects photos/anomaly --masks photos/masks --out model.tar.gz

        defectory inspect train --dataset train.manifest --out model.tar.gz
    """
    if (good is None) == (dataset is None) or (dataset and (defects or masks)):
        raise InputError("train", "given --good (with --defects and --masks), or --dataset in their place")
    options = _parse_options(
        detector=detector.value,
        resolution=resolution,
        tiles=tiles,
        roi=roi,
        ignore=ignore,
        exclude_suspects=exclude_suspects,
        rates=(review_rate, fail_rate),
        costs=(escape_cost, reject_cost, review_cost, defect_rate),
        rules=rules,
        backbone=backbone,
        seed=seed,
    )
    model = _train(good, defects, masks, dataset, options)
    model.save(out)
    if as_json:
        print_json({"model": str(out), **model.card.model_dump(mode="json")})
    else:
        _show_model(model, out)


def _parse_options(
    *,
    tiles: str,
    roi: str | None,
    rates: tuple[float, float],
    costs: tuple[float | None, float | None, float, float],
    rules: Path | None,
    backbone: str | None,
    **others: object,
) -> TrainingOptions:
    """The options as training takes them; ``others`` are called the same there."""
    from pydantic import ValidationError

    from defectory.inspection.backbone import EMBEDDED
    from defectory.inspection.preparation import Region
    from defectory.inspection.rules import RuleSet, load_rules
    from defectory.inspection.thresholds import Rates
    from defectory.inspection.training import TrainingOptions
    from defectory.validation import explain

    if (costs[0] is None) != (costs[1] is None):
        raise InputError("costs", "given as both --escape-cost and --reject-cost")
    review_rate, fail_rate = rates
    try:
        return TrainingOptions.model_validate(
            {
                "tiles": _parse_tiles(tiles),
                "region": Region.parse(roi) if roi else Region(),
                "rates": Rates(review=review_rate, fail=fail_rate),
                "costs": _parse_costs(*costs),
                "rules": load_rules(rules) if rules else RuleSet(),
                "backbone": Path(backbone) if backbone and backbone not in EMBEDDED else backbone,
                **others,
            }
        )
    except ValidationError as error:
        raise explain(error) from None


def _parse_costs(escape: float | None, reject: float | None, review: float, defect_rate: float) -> Costs | None:
    from defectory.inspection.thresholds import Costs

    if escape is None or reject is None:
        return None
    return Costs(escape=escape, false_reject=reject, review=review, defect_rate=defect_rate)


def _parse_tiles(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and 1 <= int(rows) <= 8 and 1 <= int(columns) <= 8):
        raise InputError("tiles", "ROWSxCOLUMNS of 1 to 8 each, such as 2x3", text)
    return int(rows), int(columns)


def _train(
    good: Path | None, defects: Path | None, masks: Path | None, dataset: Path | None, options: TrainingOptions
) -> Model:
    from defectory.datasets.sources import load_dataset
    from defectory.inspection.training import train_dataset, train_folders

    with progress_bars() as show:
        if dataset:
            return train_dataset(load_dataset(dataset), options=options, on_progress=show)
        assert good is not None  # one of both was given
        return train_folders(good, defects=defects, masks=masks, options=options, on_progress=show)


def _show_model(model: Model, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    card = model.card
    table = Table(title=f"Candidates, on {card.leaderboard_basis}", title_justify="left")
    for column in ("detector", "AUROC", "average precision", ""):
        table.add_column(column)
    for entry in card.leaderboard:
        mark = "chosen" if entry.chosen else ""
        table.add_row(entry.name, f"{entry.auroc:.3f}", f"{entry.average_precision:.3f}", mark)
    Console().print(table)
    thresholds = card.thresholds
    typer.echo(f"REVIEW from {thresholds.review:.4f}, FAIL from {thresholds.fail:.4f} ({card.threshold_basis})")
    if card.synthetic_basis:
        typer.echo(f"Synthetic defects {card.synthetic_basis}")
    for warning in card.warnings:
        remark(warning)
    for name in card.suspects:
        remark(f"Unlike the other good parts, is it one? {name}")
    if card.dataset_parent:
        typer.echo(f"Dataset {card.dataset} differs from {card.dataset_parent}, which it was made from:")
        for change in card.dataset_changes:
            typer.echo(f"  {change}")
    size = out.stat().st_size / 1e6
    typer.echo(f"Model {card.version} is in {out} ({size:.1f} MB); try `defectory inspect predict {out} PHOTO`")
