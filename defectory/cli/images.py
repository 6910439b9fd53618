"""``defectory images``: plan, make and try pictures of defects, so that a dataset has enough of each.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.errors import InputError

if TYPE_CHECKING:
    from defectory.datasets import Dataset
    from defectory.images.balancing import Balanced
    from defectory.images.costs import Cost
    from defectory.images.gate_result import GateResult
    from defectory.images.items import Item
    from defectory.images.plan import Plan, RendererChoice
    from defectory.images.prompts import Mode
    from defectory.images.renderers import Renderer, RendererName
    from defectory.images.renderers.bedrock_models import ImageModel
    from defectory.images.synthesis import Sources, Summary

app = typer.Typer(no_args_is_help=True, help="Pictures of defects, with masks, made from photos of good parts.")


class RendererOption(StrEnum):
    """What makes the pictures."""

    procedural = "procedural"
    transplant = "transplant"
    bedrock = "bedrock"


class PlannedRenderer(StrEnum):
    """What makes the pictures of a plan."""

    auto = "auto"
    procedural = "procedural"
    transplant = "transplant"
    bedrock = "bedrock"


class ModeOption(StrEnum):
    """How Bedrock makes a picture."""

    inpaint = "inpaint"
    image_to_image = "image-to-image"
    zero_shot = "zero-shot"


class FormChoice(StrEnum):
    """What the dataset is written as."""

    manifest = "manifest"
    folders = "folders"
    csv = "csv"
    coco = "coco"
    yolo = "yolo"


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Real images: a stored dataset, a folder, a manifest or a CSV file.")
]
NormalOption = Annotated[
    str | None, typer.Option(help="Name of the dataset's folder of good parts, if not normal, good, ok...")
]
TargetOption = Annotated[
    int | None,
    typer.Option(help="Images that each kind is to have.", show_default="so many that defects equal good parts"),
]
KindsOption = Annotated[
    list[str] | None, typer.Option("--defect", metavar="KIND", help="A kind to make though there is none; repeatable.")
]
PlannedRendererOption = Annotated[
    PlannedRenderer, typer.Option(help="auto: transplant where a real defect is masked, else procedural.")
]
ModeChoice = Annotated[ModeOption | None, typer.Option(help="How Bedrock makes them.", show_default="inpaint")]
OutOption = Annotated[Path, typer.Option(help="Folder for the result.", file_okay=False)]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed and photos give the same pictures.")]
WorkersOption = Annotated[
    int, typer.Option(min=1, max=64, help="Pictures made at a time.", show_default="one for each core, 4 at most")
]
PartOption = Annotated[
    str, typer.Option(help="What the photos show, for Bedrock: 'ceramic tile'.", show_default="manufactured part")
]
PromptsOption = Annotated[
    Path | None, typer.Option(help="YAML file of prompts and defects, for Bedrock.", dir_okay=False)
]
ModelOption = Annotated[str, typer.Option("--model", help="Bedrock's image model.", show_default="the mode's")]
RegionOption = Annotated[str, typer.Option("--region", help="AWS region of the image model.", show_default="us-west-2")]
BudgetOption = Annotated[float, typer.Option(min=0, help="US dollars that Bedrock may cost; more is not begun.")]

_DRAWN = "scratch, crack, dent, oil, stain, contamination, missing_component"
_WORKERS = min(4, os.cpu_count() or 1)
_BUDGET = 5.0
MOST_LINES = 10


@app.command()
def plan(
    dataset: DatasetArgument,
    target: TargetOption = None,
    normal: NormalOption = None,
    defect: KindsOption = None,
    renderer: PlannedRendererOption = PlannedRenderer.auto,
    mode: ModeChoice = None,
    out: Annotated[Path | None, typer.Option(help="Write the plan to this JSON file.", dir_okay=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many pictures of which defect would balance a dataset.

    Give it the part that is trained on: of what is tested on, nothing may be learnt. The file can be changed by hand;
    `defectory images synthesize --plan` makes what it says.

    Examples:

        defectory images plan split/train.json --out plan.json

        defectory images plan parts --defect scratch --defect oil --target 50
    """
    from defectory.datasets import load_dataset
    from defectory.images.plan import plan_balance, save_plan

    chosen = _renderer_name(renderer, mode)
    made = plan_balance(load_dataset(dataset, normal=normal), target, renderer=chosen, defects=defect or ())
    if out:
        save_plan(made, out)
    if as_json:
        _print_json(made.model_dump(mode="json"))
        return
    _show_plan(made)
    if out:
        typer.echo(f"{out}: make it with `defectory images synthesize --plan {out} --dataset {dataset} --out DIR`")


@app.command()
def synthesize(
    out: Annotated[Path, typer.Option(help="New folder, or one of an earlier run to add to.", file_okay=False)],
    good: Annotated[Path | None, typer.Option(help="Folder of photos of good parts.", file_okay=False)] = None,
    defect: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help=f"Kind of defect, repeatable; drawn without an example: {_DRAWN}."),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Pictures of each kind.")] = None,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="In place of kinds and count: what `plan` wrote.", dir_okay=False)
    ] = None,
    renderer: Annotated[
        RendererOption | None, typer.Option(help="What makes the pictures.", show_default="procedural")
    ] = None,
    mode: ModeChoice = None,
    defects: Annotated[
        Path | None,
        typer.Option(help="Photos of real defects, or one folder of them a kind, to transplant.", file_okay=False),
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Their masks, named as the photos: white = defect.", file_okay=False)
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="In place of --good, --defects, --masks: a dataset (folder, manifest, CSV...).")
    ] = None,
    normal: NormalOption = None,
    mask: Annotated[
        Path | None, typer.Option(help="Where the defect is to be (white): one mask, or a folder named as the photos.")
    ] = None,
    within: Annotated[
        Path | None, typer.Option(help="Where defects may be (white), on every photo.", dir_okay=False)
    ] = None,
    prompt: Annotated[str, typer.Option(help="What Bedrock is told.", show_default="the kind's own")] = "",
    part: PartOption = "",
    prompts: PromptsOption = None,
    model: ModelOption = "",
    region: RegionOption = "",
    budget: BudgetOption = _BUDGET,
    seed: SeedOption = 0,
    workers: WorkersOption = _WORKERS,
    as_json: JsonOption = False,
) -> None:
    """Make pictures of defects from photos of good parts: images, masks, labels for COCO and YOLO, a contact sheet.

    Run again, it goes on where it was interrupted; a larger count adds to what is there, and so does another kind.
    Defects nobody could see and near-duplicates are left out and counted.

    Exit code 1 if a picture could not be made; the others are.

    Examples:

        defectory images synthesize --good photos/normal --defect scratch --count 20 --out scratches

        defectory images synthesize --good normal --defects cracked --masks masks --renderer transplant --defect crack
        --count 50 --out cracks

        defectory images synthesize --dataset split/train.json --plan plan.json --out made --json
    """
    from defectory.datasets import load_dataset
    from defectory.images.items import item_id, record_file
    from defectory.images.plan import expand
    from defectory.images.synthesis import synthesize as make_all

    if plan_file and (defect or count or renderer or mode or prompt):
        raise InputError("--plan", "given without --defect, --count, --renderer, --mode and --prompt, which it has")
    wanted = _wanted(
        plan_file, defect or (), count, _renderer_name(renderer or RendererOption.procedural, mode), prompt
    )
    if (mask or within) and any(want.renderer == "bedrock-zero-shot" for want in wanted.wants):
        raise InputError("--mask, --within", "left out where pictures are made from a text, which has no places")
    if dataset and (good or defects or masks):
        raise InputError("--dataset", "given without --good, --defects and --masks, which it has")
    real = load_dataset(dataset, normal=normal) if dataset else None
    examples = real or _examples(defects, masks, [want.defect for want in wanted.wants])
    bedrock = _Bedrock(model, region, prompts, part, budget)
    renderers = _create_renderers(wanted, examples, bedrock)
    sources, refused = _find_sources(wanted, _photos(good, real), mask, within, seed)
    items = expand(wanted, list(sources.photos), seed)
    if mask:
        items = [item.model_copy(update={"mask": _mask_name(mask, item.source)}) for item in items]
    bedrock.estimate([item for item in items if not (out / record_file(item_id(item))).is_file()])
    with _progress_bars("making pictures") as (show,):
        summary = make_all(items, sources, renderers, out, classes=wanted.classes, workers=workers, on_progress=show)
    if as_json:
        content = summary.model_dump(mode="json")
        cost = bedrock.actual()
        content |= {"refused_photos": refused, "cost": cost.model_dump(mode="json") if cost else None}
        _print_json({"out": str(out), "made": summary.made, **content})
    else:
        _show_refused(refused)
        _show_summary(summary, out)
        _show_cost(bedrock.actual())
    if summary.count("failed") or summary.stopped or not summary.made:
        raise typer.Exit(1)


@app.command()
def balance(
    dataset: DatasetArgument,
    out: OutOption,
    target: TargetOption = None,
    normal: NormalOption = None,
    defect: KindsOption = None,
    renderer: PlannedRendererOption = PlannedRenderer.auto,
    mode: ModeChoice = None,
    form: Annotated[FormChoice, typer.Option("--format", help="What OUT/dataset is written as.")] = FormChoice.manifest,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Keep the synthetic images without asking whether they help.")
    ] = False,
    trials: Annotated[int, typer.Option(min=3, max=20, help="Seeds that the gate tries.")] = 3,
    val: Annotated[float, typer.Option(help="For yolo: share of the real images to validate on; 0: none.")] = 0.2,
    skip_unmasked: Annotated[
        bool, typer.Option("--skip-unmasked", help="For coco, yolo: leave out real defects without a mask.")
    ] = False,
    part: PartOption = "",
    prompts: PromptsOption = None,
    model: ModelOption = "",
    region: RegionOption = "",
    budget: BudgetOption = _BUDGET,
    seed: SeedOption = 0,
    workers: WorkersOption = _WORKERS,
    as_json: JsonOption = False,
) -> None:
    """Write a dataset to train on, in one go: plan, make pictures of defects, keep them only if they help, export.

    The gate trains with and without the synthetic images and compares both on real defects that neither has seen;
    with too few of those nobody knows, and the images are not kept. OUT/synthetic has them in any case, with a contact
    sheet; OUT/dataset is the result, and its dataset.json says what the gate found.

    Examples:

        defectory images balance split/train.json --out balanced

        defectory images balance parts --defect scratch --target 50 --keep-all --format yolo --val 0 --out balanced
    """
    from defectory.datasets import load_dataset
    from defectory.images.balancing import balance as balance_dataset
    from defectory.images.balancing import part_to_learn_from
    from defectory.images.gate import run_gate
    from defectory.images.plan import expand, plan_balance

    loaded = load_dataset(dataset, normal=normal)
    part_of_it = part_to_learn_from(loaded, form.value, validation=val, skip_unmasked=skip_unmasked, seed=seed)
    wanted = plan_balance(part_of_it, target, renderer=_renderer_name(renderer, mode), defects=defect or ())
    if not as_json:
        _show_plan(wanted)
    if not wanted.wants:
        raise InputError(
            "dataset", "one that lacks defects which can be made", f"nothing to make for {wanted.target} each"
        )
    bedrock = _Bedrock(model, region, prompts, part, budget)
    renderers = _create_renderers(wanted, part_of_it, bedrock)
    bedrock.estimate(expand(wanted, [record.path.name for record in part_of_it.normal], seed))
    with _progress_bars("making pictures", "trying whether they help") as (show, show_gate):

        def gate(real: Dataset, synthetic: Dataset) -> GateResult:
            return run_gate(real, synthetic, seeds=trials, progress=show_gate)

        done = balance_dataset(
            loaded,
            wanted,
            renderers,
            out,
            gate=None if keep_all else gate,
            form=form.value,
            validation=val,
            skip_unmasked=skip_unmasked,
            seed=seed,
            workers=workers,
            on_progress=show,
        )
    if as_json:
        cost = bedrock.actual()
        _print_json(_described(done) | {"cost": cost.model_dump(mode="json") if cost else None})
    else:
        _show_balanced(done, out)
        _show_cost(bedrock.actual())
    if done.summary.count("failed") or not done.summary.made:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Bedrock:
    """What the Bedrock renderers are to work with ("" is the default), and the models that they came to."""

    model_id: str
    region: str
    prompts: Path | None
    part: str
    budget: float
    models: dict[RendererName, ImageModel] = field(default_factory=dict)

    def create(self, name: RendererName) -> Renderer:
        """The renderer ``name``, one of Bedrock's."""
        from pydantic import ValidationError

        from defectory.config import Config
        from defectory.images.prompts import Prompts, load_prompts
        from defectory.images.renderers.bedrock import BedrockRenderer
        from defectory.images.renderers.bedrock_models import create_image_model

        setting = "inpaint_model_id" if name == "bedrock-inpaint" else "image_model_id"
        model_id = self.model_id or Config.model_fields[setting].default
        # One for all renderers of it, which counts what they ask together.
        known = (model for model in self.models.values() if model.model_id == model_id)
        model = next(known, None) or create_image_model(model_id, self.region or None)
        prompts = load_prompts(self.prompts)
        try:
            # The prompts have an article of their own.
            part = re.sub(r"^(an?|the)\s+", "", self.part.strip(), flags=re.IGNORECASE)
            prompts = Prompts.model_validate(prompts.model_dump() | ({"part": part} if part else {}))
        except ValidationError as error:
            raise InputError(
                "--part", f"words for what the photos show ({error.errors()[0]['msg']})", self.part
            ) from None
        self.models[name] = model
        mode: Mode = (
            "zero-shot" if name == "bedrock-zero-shot" else "inpaint" if name == "bedrock-inpaint" else "image-to-image"
        )
        return BedrockRenderer(mode, model, prompts)

    def estimate(self, items: Sequence[Item]) -> None:
        """Say what ``items`` will cost, and refuse what is more than the budget."""
        from defectory.images.costs import estimate_cost

        if not self.models:
            return
        cost = estimate_cost(items, {name: model.model_id for name, model in self.models.items()})
        typer.echo(f"Estimate: {cost}.", err=True)
        if cost.total > self.budget:
            got = f"{self.budget:.2f} for {cost.total:.2f} {cost.currency}"
            raise InputError("--budget", "enough for all pictures", got, "Raise it, or make fewer.")

    def actual(self) -> Cost | None:
        """What it did cost; None where nothing was asked of Bedrock."""
        from defectory.images.costs import actual_cost

        return actual_cost({model.model_id: model.usage for model in self.models.values()}) if self.models else None


def _renderer_name(renderer: RendererOption | PlannedRenderer, mode: ModeOption | None) -> RendererChoice:
    match renderer.value:
        case "bedrock":
            match mode:
                case ModeOption.zero_shot:
                    return "bedrock-zero-shot"
                case ModeOption.image_to_image:
                    return "bedrock-image-to-image"
                case _:
                    return "bedrock-inpaint"
        case _ if mode:
            raise InputError("--mode", "given with --renderer bedrock", mode.value)
        case "transplant":
            return "transplant"
        case "auto":
            return "auto"
        case _:
            return "procedural"


def _wanted(file: Path | None, kinds: Sequence[str], count: int | None, renderer: RendererChoice, prompt: str) -> Plan:
    from pydantic import ValidationError

    from defectory.images.plan import Plan, Want, load_plan

    if file:
        return load_plan(file)
    if not kinds or count is None:
        raise InputError("synthesize", "given --defect and --count, or a --plan")
    try:
        return Plan.model_validate(
            {
                "wants": [
                    Want(renderer=renderer, defect=kind, count=count, prompt=prompt) for kind in dict.fromkeys(kinds)
                ]
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = f"--{first['loc'][0]}"
        rule = {
            "--defect": "a name of lower-case letters, digits and _, a letter first",
            "--count": "a number of pictures from 1 to 10000",
        }
        raise InputError(field, rule.get(field, first["msg"]), first["input"]) from None


def _examples(defects: Path | None, masks: Path | None, kinds: Sequence[str]) -> Dataset | None:
    """Real defects with their masks: of the kinds that their folders are called, or of the only kind asked for."""
    from defectory.cli.inspect_model import labelled_photos, match_masks
    from defectory.datasets import Dataset, ImageRecord

    if masks and not defects:
        raise InputError("--masks", "given with --defects, whose masks they are")
    if defects is None:
        return None
    photos, classes = labelled_photos(defects)
    if masks is None:
        raise InputError("--defects", "given with --masks, which say where the defects are")
    of = match_masks(masks, photos)
    if not classes and len(set(kinds)) > 1:
        fix = "Sort them into folders named as the kinds."
        raise InputError("--defects", "one folder for each kind where several are asked for", str(defects), fix)
    only = tuple(kinds[:1])
    records = [
        ImageRecord(photo, "anomaly", tuple(classes.get(photo, only)), of[photo]) for photo in photos if photo in of
    ]
    return Dataset(tuple(records), defects)


def _create_renderers(wanted: Plan, examples: Dataset | None, bedrock: _Bedrock) -> dict[RendererName, Renderer]:
    from defectory.images.renderers.creation import create_offline_renderer
    from defectory.images.renderers.procedural import KINDS
    from defectory.images.renderers.transplant import TransplantRenderer

    renderers: dict[RendererName, Renderer] = {}
    for want in wanted.wants:
        if want.renderer == "procedural" and want.defect not in KINDS:
            fix = "Others need --renderer transplant or bedrock."
            raise InputError("--defect", f"one of {', '.join(KINDS)}", want.defect, fix)
        if want.renderer == "transplant" and examples is None:
            fix = "Or draw it: --renderer procedural."
            raise InputError("transplant", "given photos of real defects: --defects and --masks", None, fix)
        if want.renderer in renderers:
            renderer = renderers[want.renderer]
        elif want.renderer.startswith("bedrock"):
            renderer = bedrock.create(want.renderer)
        else:
            renderer = create_offline_renderer(want.renderer, examples)
            for reason in renderer.unusable if isinstance(renderer, TransplantRenderer) else ():
                typer.secho(f"Real defect left out: {reason}", err=True, fg=typer.colors.YELLOW)
        renderers[want.renderer] = renderer
        if isinstance(renderer, TransplantRenderer) and want.defect not in renderer.kinds:
            rule = f"a kind whose real defects can be moved ({', '.join(renderer.kinds)})"
            raise InputError("--defect", rule, want.defect, "Mask one, or draw it: --renderer procedural.")
    return renderers


def _photos(good: Path | None, dataset: Dataset | None) -> dict[str, Path]:
    """The photos of good parts, by the names that items have for them."""
    from defectory.cli.inspect_model import find_images
    from defectory.vision.photos import storable

    if dataset:
        from defectory.images.synthesis import photos_of

        return photos_of(dataset)
    return {storable(path.name): path for path in find_images(good, "--good")} if good else {}


def _find_sources(
    wanted: Plan, photos: dict[str, Path], mask: Path | None, within: Path | None, seed: int
) -> tuple[Sources, dict[str, str]]:
    """The photos to work on, with their masks, and those that cannot be worked on, with the reason."""
    from defectory.cli.inspect_model import find_images
    from defectory.images.plan import expand
    from defectory.images.synthesis import Sources, choose_photos
    from defectory.vision.photos import load_mask, load_photo, load_region, storable

    if all(want.renderer == "bedrock-zero-shot" for want in wanted.wants):
        return Sources({}), {}
    if not photos:
        raise InputError("--good", "given: a folder of photos of good parts, on which defects are made")
    photos, refused = choose_photos(wanted, photos, seed)
    masks = {}
    if mask and mask.is_dir():
        by_stem = {storable(path.stem).removesuffix("_mask"): path for path in find_images(mask, "--mask")}
        missing = [name for name in photos if Path(name).stem not in by_stem]
        if missing:
            raise InputError("--mask", "a folder with a mask for each photo, named as it", f"none for {missing[0]}")
        masks = {name: by_stem[Path(name).stem] for name in photos}
    elif mask:
        masks = {storable(mask.name): mask}
    # A mask for all photos that fits none of them is better refused now than for every picture.
    first = next(item.source for item in expand(wanted, list(photos), seed) if item.source)
    photo = load_photo(photos[first], name=first)
    if mask and not mask.is_dir():
        load_mask(mask, photo)
    if within:
        load_region(within, photo)
    return Sources(photos, masks, within), refused


def _mask_name(mask: Path, source: str) -> str:
    from defectory.vision.photos import storable

    return source if mask.is_dir() else storable(mask.name)


def _show_plan(plan: Plan) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{plan.good} good parts; target: {plan.target} of each defect", title_justify="left")
    for column, justify in (
        ("defect", "left"),
        ("there", "right"),
        ("to make", "right"),
        ("by", "left"),
        ("why", "left"),
    ):
        table.add_column(column, justify="right" if justify == "right" else "left")
    wants = {want.defect: want for want in plan.wants}
    for kind, have in sorted(plan.have.items()):
        want = wants.get(kind)
        if want:
            table.add_row(kind, str(have), str(want.count), want.renderer, want.why)
        else:
            table.add_row(kind, str(have), "0", "", plan.left_out.get(kind, "there are enough"))
    Console().print(table)
    if plan.left_out:
        typer.secho(f"Not planned: {', '.join(plan.left_out)}; see why above.", err=True, fg=typer.colors.YELLOW)


def _show_refused(refused: dict[str, str]) -> None:
    for name, reason in refused.items():
        typer.secho(f"Photo left out: {name}: {reason}", err=True, fg=typer.colors.YELLOW)


def _show_summary(summary: Summary, out: Path) -> None:
    from defectory.images.contact_sheet import CONTACT_SHEET

    lines = Counter(
        f"{each.outcome}: {each.defect}{f' on {each.source}' if each.source else ''}: {each.reason}"
        for each in summary.unmade
    )
    for line, times in list(lines.items())[:MOST_LINES]:
        typer.secho(f"{line}{f' ({times} times)' if times > 1 else ''}", err=True, fg=typer.colors.YELLOW)
    if len(lines) > MOST_LINES:
        typer.secho(f"... and more: {out / CONTACT_SHEET} names them.", err=True, fg=typer.colors.YELLOW)
    if summary.stopped:
        typer.secho(f"Stopped with {summary.untried} still to make: {summary.stopped}", err=True, fg=typer.colors.RED)
        typer.secho("Run the same command again for them.", err=True, fg=typer.colors.RED)
    for kind, found in summary.outcomes.items():
        typer.echo(f"{kind}: {', '.join(f'{count} {outcome}' for outcome, count in found.items())}")
    before = f" ({summary.present} were there before)" if summary.present else ""
    typer.echo(f"{summary.made} of {summary.asked} pictures{before}; {out} holds {summary.images}.")
    if summary.images:
        typer.echo(f"Look at them: {out / CONTACT_SHEET}")


def _show_cost(cost: Cost | None) -> None:
    if cost:
        typer.echo(f"Cost: {cost}.")


def _described(done: Balanced) -> dict[str, object]:
    return {
        "file": str(done.file),
        "kept": done.kept,
        "gate": done.gate.model_dump(mode="json") if done.gate else None,
        "version": done.dataset.version,
        "images": len(done.dataset.records),
        "synthetic": sum(record.synthetic for record in done.dataset.records),
        "left_out": done.left_out,
        "synthesis": done.summary.model_dump(mode="json"),
    }


def _show_balanced(done: Balanced, out: Path) -> None:
    _show_refused(done.refused_photos)
    _show_summary(done.summary, out / "synthetic")
    if done.gate:
        colour = typer.colors.GREEN if done.gate.decision == "kept" else typer.colors.YELLOW
        typer.secho(f"Gate: {done.gate.decision}. {done.gate.reason}", fg=colour)
        for name, figure in done.gate.figures.items():
            typer.echo(
                f"  {name}: {_mean(figure.without):.3f} without, {_mean(figure.with_synthetic):.3f} with "
                f"({figure.difference:+.3f}, 95 % {figure.low:+.3f} to {figure.high:+.3f})"
            )
    for name, reason in done.left_out:
        typer.secho(f"Left out: {name} ({reason})", err=True, fg=typer.colors.YELLOW)
    synthetic = sum(record.synthetic for record in done.dataset.records)
    typer.echo(
        f"{done.file}: {len(done.dataset.normal)} good parts and {len(done.dataset.anomalous)} defects, "
        f"{synthetic} of them synthetic, version {done.dataset.version}."
    )
    if not done.kept and done.summary.made:
        typer.echo(f"The synthetic images are not in it, but in {out / 'synthetic'}; --keep-all keeps them unasked.")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@contextmanager
def _progress_bars(*titles: str) -> Iterator[tuple[Callable[[int, int], None], ...]]:
    """A bar for each stage, on stderr, from its beginning on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def shower(title: str) -> Callable[[int, int], None]:
            def show(done: int, total: int) -> None:
                if title not in tasks:
                    tasks[title] = bars.add_task(title, total=total)
                bars.update(tasks[title], completed=done, total=total)

            return show

        yield tuple(map(shower, titles))


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
