"""Balance: a dataset with too few defects becomes one to train on: planned, made, filtered, tried and exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from defectory.datasets.exports import DETECTOR_FORMS, Form, export, fit_to_form
from defectory.datasets.records import Dataset
from defectory.datasets.sources import join
from defectory.datasets.versions import DATASET_FILE, load_stored
from defectory.errors import InputError, ServiceError
from defectory.images.dataset_folder import DatasetFolder
from defectory.images.gate_result import GateResult
from defectory.images.plan import Plan, expand
from defectory.images.renderers import Renderer, RendererName
from defectory.images.renderers.names import needs_photo
from defectory.images.synthesis import Sources, Summary, choose_photos, photos_of, synthesize
from defectory.progress import OnProgress, ignore_progress

Gate = Callable[[Dataset, Dataset], GateResult]
"""Says of real images and synthetic ones whether the synthetic ones help."""


@dataclass(frozen=True, slots=True)
class Balanced:
    """What came of it: the pictures made, what the gate found (None: not asked), and the dataset to train on.

    ``kept`` says whether the synthetic images are in it; ``file`` describes it for its readers; ``left_out`` are images
    that its form cannot take, and why; ``refused_photos`` are those that no defect could be made on, and why.
    """

    summary: Summary
    gate: GateResult | None
    kept: bool
    dataset: Dataset
    file: Path
    left_out: tuple[tuple[str, str], ...]
    refused_photos: dict[str, str]


def balance(
    dataset: Dataset,
    plan: Plan,
    renderers: Mapping[RendererName, Renderer],
    out: Path,
    *,
    gate: Gate | None,
    form: Form = "manifest",
    validation: float = 0.2,
    skip_unmasked: bool = False,
    seed: int = 0,
    workers: int = 1,
    on_progress: OnProgress = ignore_progress,
) -> Balanced:
    """Make what ``plan`` says of ``dataset``, and write ``out/synthetic`` and ``out/dataset``, the latter to train on.

    The dataset to train on is the real one, with the synthetic images if the gate keeps them.  What the gate found, and
    how the images were made, stand in its ``dataset.json``.

    Args:
        dataset: real images, those to train on: of what is tested on, nothing may be learnt.
        plan: made for its `part_to_learn_from`, see `plan_balance`.
        renderers: by name, all that the plan asks for; what they learn from is to be of that part, too.
        out: a new or empty folder, or one in which this was interrupted.
        gate: None keeps the synthetic images unasked, which ``dataset.json`` then says.
        form: as what to export.
        validation: the share of the real images to validate on, for YOLO.
        skip_unmasked: leave out, for COCO and YOLO, real defects without a mask, instead of refusing them.
        seed: another seed, other pictures.
        workers: how many pictures are made at the same time.
        on_progress: hears of each picture that is done.

    Raises:
        InputError: a folder cannot be used or written, the plan is of another dataset, or the form cannot say what the
            dataset says.
        ServiceError: a service failed for so many pictures in a row that the others were left; what is made stays.

    >>> from defectory import ProceduralRenderer, load_dataset
    >>> from defectory.images.plan import plan_balance
    >>> dataset = load_dataset(Path("parts"))
    >>> plan = plan_balance(dataset, target=2, renderer="procedural", defects=["scratch"])
    >>> balanced = balance(dataset, plan, {"procedural": ProceduralRenderer()}, Path("balanced"), gate=None)
    >>> len(load_dataset(Path("balanced/dataset")).records) - len(dataset.records)
    2
    """
    _check_out(out / "dataset")
    learnt_from = part_to_learn_from(dataset, form, validation=validation, skip_unmasked=skip_unmasked, seed=seed)
    _check_plan(plan, learnt_from, form, skip_unmasked=skip_unmasked)
    photos, refused = choose_photos(plan, photos_of(learnt_from), seed)
    title = f"Synthetic defects for dataset {dataset.version}"
    summary = synthesize(
        expand(plan, list(photos), seed),
        Sources(photos),
        renderers,
        out / "synthetic",
        title=title,
        classes=plan.classes,
        workers=workers,
        on_progress=on_progress,
    )
    if summary.stopped:
        raise ServiceError(
            f"{summary.untried} of {summary.asked} pictures are still to be made: {summary.stopped} "
            "Run the same command again for them."
        )
    synthetic, result = _try_gate(gate, dataset, out / "synthetic", title)
    keeps_synthetic = bool(synthetic.records) and (result is None or result.decision == "kept")
    joined = _joined(dataset, synthetic if keeps_synthetic else None, result)
    fitted = fit_to_form(joined, form, validation=validation, seed=seed, skip=skip_unmasked)
    file = export(fitted.dataset, form, out / "dataset", validation=fitted.validation)
    return Balanced(summary, result, keeps_synthetic, fitted.dataset, file, fitted.left_out, refused)


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("out", "a folder without a finished dataset in it", str(out), "Choose another.")


def _check_plan(plan: Plan, learnt_from: Dataset, form: Form, *, skip_unmasked: bool) -> None:
    if plan.dataset and plan.dataset != learnt_from.version:
        raise InputError("plan", f"one for dataset {learnt_from.version}", plan.dataset, "Plan again.")
    if form in DETECTOR_FORMS and not skip_unmasked and not all(needs_photo(want.renderer) for want in plan.wants):
        fix = "Use manifest, csv or folders, or another renderer."
        raise InputError("form", "one that takes defects without a mask, as pictures from a text have none", form, fix)


def _try_gate(gate: Gate | None, real: Dataset, folder: Path, title: str) -> tuple[Dataset, GateResult | None]:
    """The synthetic dataset in ``folder``, and what the gate found; it stands in the folder then, too."""
    synthetic = load_stored(folder / DATASET_FILE)
    if gate is None or not synthetic.records:
        return synthetic, None
    result = gate(real, synthetic)
    stored = DatasetFolder(folder)
    synthetic, _ = stored.publish(stored.records(), title=title, gate=result)
    return synthetic, result


def _joined(dataset: Dataset, synthetic: Dataset | None, result: GateResult | None) -> Dataset:
    """The dataset to train on, with its notes: the real one, and the synthetic one where it is kept."""
    notes: dict[str, JsonValue] = {**dataset.notes, **(synthetic.notes if synthetic else {})}
    if result is not None:
        notes["gate"] = result.model_dump(mode="json")
    elif synthetic:
        notes["gate"] = {"decision": "not asked", "reason": "nobody has measured whether the synthetic images help"}
    joined = dataset
    if synthetic:
        change = f"added: {len(synthetic.records)} synthetic images of defects"
        joined = replace(join([dataset, synthetic]), parent=dataset.version, changes=(change,))
    return replace(joined, notes=notes)


def part_to_learn_from(
    dataset: Dataset, form: Form, *, validation: float = 0.2, skip_unmasked: bool = False, seed: int = 0
) -> Dataset:
    """The part of ``dataset`` that pictures may be made from: for YOLO, nothing that is validated on; else all.

    Raises:
        InputError: the form cannot say what the dataset says; better known before hours of work than after them.
    """
    held_out = fit_to_form(dataset, form, validation=validation, seed=seed, skip=skip_unmasked).validation
    return (
        dataset.select([record for record in dataset.records if record.path not in held_out]) if held_out else dataset
    )
