"""Planning a run: which defect is put on which photo, with which mask and which donors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from defectory.aws.bucket import Bucket
from defectory.datasets.batches import MAX_BATCH, tolerated
from defectory.errors import InputError, shorten
from defectory.images.batch.models import ImageModels
from defectory.images.batch.requests import (
    MAX_PICTURES,
    RULES,
    BatchRequest,
    PicturesRequest,
    SynthesisRequest,
)
from defectory.images.batch.runs import DonorKeys, ManifestItem, Run, RunStatus
from defectory.images.costs import estimate_cost
from defectory.images.items import Item
from defectory.images.plan import Plan, expand
from defectory.images.renderers.names import needs_photo
from defectory.images.renderers.procedural import check_drawable
from defectory.vision.images import IMAGE_SUFFIXES
from defectory.vision.photos import named_alike

ALWAYS_TOLERATED = 20
"""So few failures never stop a run: two calls that draw ten pictures each, say."""

_KINDS_OF_FILE = ", ".join(sorted(IMAGE_SUFFIXES))


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans what is made from photos in ``bucket``, as far as ``models`` allow, so many pictures ``at_a_time``."""

    bucket: Bucket
    models: ImageModels
    at_a_time: int

    def store(self, request: BatchRequest, execution: str, now: datetime) -> dict[str, Any]:
        """Plan an execution, store what it is to make, and that it runs.

        Returns:
            ``run``, ``manifest`` and ``results`` (where what is to be made, its items, and what became of them are
            stored), ``count``, ``batch`` (so many items are made by one call), ``tolerated`` (so many may fail), and
            ``estimate`` (of costs, in words).

        Raises:
            InputError, ServiceError: as `plan_run`.
        """
        run, manifest = plan_run(request, execution, bucket=self.bucket, models=self.models)
        cost = estimate_cost(map(run.item, manifest), run.models, at_a_time=self.at_a_time)
        run, key = run.model_copy(update={"estimate": cost}), run.run_key(execution)
        status = RunStatus(
            status="RUNNING",
            execution=execution,
            planned=run.count,
            estimate=cost,
            updated_at=now.isoformat(),
        )
        self.bucket.write_stream(run.manifest_key(execution), (entry.line.encode() for entry in manifest))
        self.bucket.write({key: run.model_dump_json(indent=1).encode()})
        status.store(run, self.bucket)
        # A model's pictures take long and cost money: each is tried again by itself.
        asks_models = any(want.renderer in run.models for want in run.wants)
        return {
            "run": key,
            "manifest": run.manifest_key(execution),
            "results": run.results_prefix(execution),
            "count": run.count,
            "batch": 1 if asks_models else MAX_PICTURES,
            "tolerated": tolerated(run.count, at_least=ALWAYS_TOLERATED),
            "estimate": str(cost),
        }


def plan_run(
    request: PicturesRequest | BatchRequest, execution: str, *, bucket: Bucket, models: ImageModels
) -> tuple[Run, list[ManifestItem]]:
    """What ``request`` comes to, and its items: the same request on the same photos always the same.

    Nothing is written.

    Raises:
        InputError: something that it names is not there, or is none of what it should be.
        ServiceError: the bucket cannot be read.
    """
    plan = request.own_plan() or _given_plan(request, bucket)
    for want in plan.wants:
        models.check(want.renderer)
        if want.mask:
            request.check_key("mask", want.mask)
        if want.renderer == "procedural":
            check_drawable(want.defect, fix="Move real ones by transplant, or have them painted by bedrock-inpaint.")
    items = expand(plan, _photos(request, plan, bucket), request.seed)
    masks = {mask: _masks(mask, bucket) for mask in sorted({item.mask for item in items if item.mask})}
    numbers = (number for number, want in enumerate(plan.wants) for _ in range(want.count))
    manifest = [
        ManifestItem(
            want=number,
            seed=item.seed,
            source=item.source,
            mask=_mask_of(item, masks[item.mask]) if item.mask else "",
        )
        for number, item in zip(numbers, items, strict=True)
    ]
    run = Run(
        user_id=request.user_id,
        dataset=request.dataset,
        execution=execution,
        wants=plan.wants,
        donors=tuple(_donors(request, plan, bucket)),
        classes={kind: name for kind, name in plan.classes.items() if name != kind},
        models=models.by_renderer,
    )
    return run, manifest


def _given_plan(request: SynthesisRequest, bucket: Bucket) -> Plan:
    assert isinstance(request, BatchRequest)
    reference = request.plan
    try:
        content = json.loads(bucket.read(reference)) if isinstance(reference, str) else reference
        plan = Plan.model_validate(content)
    except InputError as error:
        raise InputError("plan", RULES["plan"], reference, str(error)) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "plan"
        raise InputError(f"plan, {place}", f"part of a plan ({shorten(first['msg'])})", first["input"]) from None
    except ValueError as error:
        raise InputError("plan", RULES["plan"], reference, f"It is no JSON: {error}") from None
    if not 1 <= plan.count <= MAX_BATCH:
        fix = "Divide it among several executions." if plan.count else "Nothing is missing: the dataset is balanced."
        raise InputError("plan", f"one of 1 to {MAX_BATCH} pictures", plan.count, fix)
    return plan


def _photos(request: SynthesisRequest, plan: Plan, bucket: Bucket) -> list[str]:
    if not request.source:
        if any(needs_photo(want.renderer) for want in plan.wants):
            raise InputError("source", RULES["source"], fix="It is missing; only bedrock-zero-shot needs no photo.")
        return []
    photos = _images(request.source, bucket)
    if not photos:
        fix = f"There is no file named like an image ({_KINDS_OF_FILE}); upload some."
        raise InputError("source", RULES["source"], request.source, fix)
    return photos


def _images(place: str, bucket: Bucket) -> list[str]:
    """The image at the key ``place``, else those in that folder."""
    keys = [key for key in bucket.keys(place) if _is_image(key)]
    return [place] if place in keys else _below(keys, place)


def _below(keys: Iterable[str], folder: str) -> list[str]:
    return [key for key in keys if key.startswith(f"{folder.rstrip('/')}/")]


def _is_image(key: str) -> bool:
    path = PurePosixPath(key)
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _masks(place: str, bucket: Bucket) -> Mapping[str, str]:
    """Masks by the names of the photos that they belong to; by "" the one for all photos."""
    keys = _images(place, bucket)
    if keys == [place]:
        return {"": place}
    if not keys:
        raise InputError("mask", RULES["mask"], place, f"There is no image ({_KINDS_OF_FILE}); upload it.")
    return {named_alike(key): key for key in keys}


def _mask_of(item: Item, masks: Mapping[str, str]) -> str:
    mask = masks.get("") or masks.get(named_alike(item.source))
    if mask is None:
        fix = f"There is none named like {item.source}; draw one, or leave mask out."
        raise InputError("mask", RULES["mask"], item.mask, fix)
    return mask


def _donors(request: SynthesisRequest, plan: Plan, bucket: Bucket) -> Sequence[DonorKeys]:
    # What is drawn can do without, but looks to them for where and how large it is to be.
    transplanted, drawn_kinds = (
        {want.defect for want in plan.wants if want.renderer == name} for name in ("transplant", "procedural")
    )
    if transplanted and not request.donors:
        raise InputError("donors", RULES["donors"], fix="It is missing; transplant moves real defects from there.")
    if not request.donors or not (transplanted or drawn_kinds):
        return []
    prefix = f"{request.donors.rstrip('/')}/"
    keys = [key for key in bucket.keys(prefix) if _is_image(key)]
    images, masks = (
        {key.removeprefix(f"{prefix}{folder}/"): key for key in _below(keys, f"{prefix}{folder}")}
        for folder in ("images", "masks")
    )
    masks_by_name = {_place(name): key for name, key in masks.items()}
    donors = [
        DonorKeys(kind=_place(name)[0], image=key, mask=masks_by_name[_place(name)])
        for name, key in images.items()
        if _place(name) in masks_by_name
    ]
    for kind in sorted(transplanted):
        if not any(donor.kind in (kind, "") for donor in donors):
            fix = f"Put photos in {prefix}images/{kind}/ and masks of the same names in {prefix}masks/{kind}/."
            raise InputError("donors", f"a prefix with a masked defect of each kind ({kind})", request.donors, fix)
    return [donor for donor in donors if donor.kind in {"", *transplanted, *drawn_kinds}]


def _place(name: str) -> tuple[str, str]:
    """The kind of defect that a donor's file says it shows ("" if it does not), and its own name."""
    path = PurePosixPath(name)
    kind = path.parts[0] if len(path.parts) > 1 else ""
    return kind, named_alike(name)
