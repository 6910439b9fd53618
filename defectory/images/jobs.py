"""Jobs: pictures that a person asks for, with everything checked and priced before the first of them is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from defectory.datasets.exports import Form
from defectory.datasets.records import Dataset
from defectory.errors import InputError
from defectory.images.balancing import Balanced, Gate, balance, part_to_learn_from
from defectory.images.costs import Cost
from defectory.images.defaults import VALIDATION_SHARE, WORKERS
from defectory.images.items import Item, item_id, record_file
from defectory.images.plan import Plan, RendererChoice, expand, plan_balance
from defectory.images.renderers.names import needs_photo
from defectory.images.selection import BedrockOptions, Selection, select_renderers
from defectory.images.sources import SourceFiles
from defectory.images.synthesis import Sources, Summary, synthesize
from defectory.progress import OnProgress, ignore_progress


@dataclass(frozen=True, slots=True)
class SynthesisJob:
    """Pictures that can be made: ``items`` of ``sources``, by the renderers of ``selection``, into the folder ``out``.

    ``estimate`` is what those will cost that are not there yet; ``refused`` are photos that cannot be worked on, each
    with the reason.
    """

    items: Sequence[Item]
    sources: Sources
    selection: Selection
    out: Path
    classes: Mapping[str, str] = field(default_factory=dict)
    estimate: Cost | None = None
    refused: Mapping[str, str] = field(default_factory=dict)

    def run(self, *, workers: int = WORKERS, on_progress: OnProgress = ignore_progress) -> Summary:
        """Make the pictures; see `synthesize`.

        Raises:
            InputError: they cost more than the budget, or the folder cannot be used.
        """
        self.selection.check_budget(self.estimate)
        return synthesize(
            self.items,
            self.sources,
            self.selection.renderers,
            self.out,
            classes=self.classes,
            workers=workers,
            on_progress=on_progress,
        )


def prepare_synthesis(
    plan: Plan, files: SourceFiles, out: Path, *, bedrock: BedrockOptions | None = None, seed: int = 0
) -> SynthesisJob:
    """Find all that ``plan`` needs in ``files``; nothing is written or sent.

    Args:
        plan: what is wanted.
        files: what it is made from.
        out: a new or empty folder, or one of an earlier run, whose pictures are not made again.
        bedrock: what Bedrock's renderers work with.
        seed: another seed, other pictures.

    Raises:
        InputError: something is missing or does not fit the renderers.
        ImageError: a photo or mask cannot be read.
    """
    if (files.mask or files.within) and not all(needs_photo(want.renderer) for want in plan.wants):
        raise InputError("--mask, --within", "left out where pictures are made from a text, which has no places")
    selection = select_renderers(plan, files.examples([want.defect for want in plan.wants]), bedrock)
    sources, refused = files.open(plan, seed)
    items = files.mask_items(expand(plan, list(sources.photos), seed))
    estimate = selection.estimate([item for item in items if not (out / record_file(item_id(item))).is_file()])
    return SynthesisJob(items, sources, selection, out, plan.classes, estimate, refused)


@dataclass(frozen=True, slots=True)
class BalanceOptions:
    """How a dataset is balanced, as `balance` has it: the form to write, what is validated on, what is left out."""

    form: Form = "manifest"
    validation: float = VALIDATION_SHARE
    skip_unmasked: bool = False
    seed: int = 0
    workers: int = WORKERS


def plan_to_balance(
    dataset: Dataset,
    target: int | None = None,
    *,
    renderer: RendererChoice = "auto",
    defects: Sequence[str] = (),
    options: BalanceOptions | None = None,
) -> Plan:
    """A `plan_balance` for the part of ``dataset`` that pictures may be made from.

    Raises:
        InputError: as `plan_balance` does, or the form cannot say what the dataset says.
    """
    return plan_balance(_part_to_learn_from(dataset, options), target, renderer=renderer, defects=defects)


@dataclass(frozen=True, slots=True)
class BalanceJob:
    """A dataset that can be balanced as ``plan`` says; ``estimate`` is what its pictures will cost."""

    dataset: Dataset
    plan: Plan
    selection: Selection
    out: Path
    options: BalanceOptions
    estimate: Cost | None = None

    def run(self, *, gate: Gate | None, on_progress: OnProgress = ignore_progress) -> Balanced:
        """Make the pictures and write the dataset; see `balance`.

        Raises:
            InputError: they cost more than the budget, or a folder cannot be used.
            ServiceError: a service failed for so many pictures in a row that the others were left.
        """
        self.selection.check_budget(self.estimate)
        return balance(
            self.dataset,
            self.plan,
            self.selection.renderers,
            self.out,
            gate=gate,
            form=self.options.form,
            validation=self.options.validation,
            skip_unmasked=self.options.skip_unmasked,
            seed=self.options.seed,
            workers=self.options.workers,
            on_progress=on_progress,
        )


def prepare_balance(
    dataset: Dataset,
    plan: Plan,
    out: Path,
    *,
    bedrock: BedrockOptions | None = None,
    options: BalanceOptions | None = None,
) -> BalanceJob:
    """Find all that ``plan``, of `plan_to_balance`, needs; nothing is written or sent.

    Raises:
        InputError: there is nothing to make, or a renderer lacks what it works with.
        ImageError: an image or mask cannot be read.
    """
    options = options or BalanceOptions()
    if not plan.wants:
        got = f"nothing to make for {plan.target} each"
        raise InputError("dataset", "one that lacks defects which can be made", got)
    part = _part_to_learn_from(dataset, options)
    selection = select_renderers(plan, part, bedrock)
    estimate = selection.estimate(expand(plan, [record.path.name for record in part.normal], options.seed))
    return BalanceJob(dataset, plan, selection, out, options, estimate)


def _part_to_learn_from(dataset: Dataset, options: BalanceOptions | None) -> Dataset:
    options = options or BalanceOptions()
    return part_to_learn_from(
        dataset,
        options.form,
        validation=options.validation,
        skip_unmasked=options.skip_unmasked,
        seed=options.seed,
    )
