"""Planning a run: its layouts, sampled or given, in shards, each in one that is there already or in a new one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from pydantic import TypeAdapter

from defectory.aws.bucket import Bucket
from defectory.datasets.batches import MAX_BATCH, tolerated
from defectory.detection.batch.requests import Recipe, RendererName, ScenesRequest
from defectory.detection.batch.runs import SceneBatchStatus, SceneDataset, SceneFailure, SceneRun, ShardItem
from defectory.detection.layouts.presets import Preset, load_preset, parse_preset
from defectory.detection.layouts.records import Layout, layout_digest, layout_line, painted_places, parse_layout
from defectory.detection.layouts.sampler import sample_chunks
from defectory.errors import InputError

SHARD_LAYOUTS: dict[RendererName, int] = {"compositor": 64, "bedrock": 1, "gligen": 64}
"""Layouts of a shard: a few seconds' work, or, where a model is paid for each, one that is tried again by itself."""

SHARD_PIXELS = 64 * 512 * 512
"""Pixels of a shard's canvases: of large ones fewer make a shard."""

ALWAYS_TOLERATED = 3
"""So few shards that fail never stop a run."""


_CLASSES = TypeAdapter(tuple[str, ...])


@dataclass(frozen=True, slots=True)
class PaintingModels:
    """What is deployed to paint: a Bedrock model that inpaints, and a model of SageMaker; "" is none."""

    inpaint_model_id: str = ""
    scene_model: str = ""

    def of(self, name: RendererName) -> str:
        """The model that a renderer needs, "" if it needs none.

        Raises:
            InputError: it is not deployed.
        """
        match name:
            case "compositor":
                return ""
            case "bedrock":
                model, setting, how = self.inpaint_model_id, "inpaint_model_id", "with one"
            case "gligen":
                model, setting, how = self.scene_model, "scene_model", "with the name of one made of models/gligen"
        if not model:
            fix = f"This deployment has no {setting}; deploy it {how}, or use compositor."
            raise InputError("renderer", "one whose model is deployed", name, fix)
        return model


@dataclass(frozen=True, slots=True)
class ScenePlanner:
    """Plans what scenes are made in ``bucket``, as far as ``models`` allow."""

    bucket: Bucket
    models: PaintingModels

    def store(self, request: ScenesRequest, execution: str, now: datetime) -> dict[str, Any]:
        """Plan an execution, store what it is to make, and that it runs.

        Layouts that are in a shard of the dataset stay in it: the same request again, or one for more of the same, goes
        on where the last one ended.

        Returns:
            ``run``, ``manifest`` and ``results`` (where what is to be made, its shards, and what became of them are
            stored), ``count`` of layouts, ``shards``, ``tolerated`` (so many may fail), ``renderer``; and for a
            transform what ends its name (``job``), and where what it is asked and answers lies (``asked``,
            ``answers``).

        Raises:
            InputError: something that it names is not there, is none of what it should be, or the dataset is made
                otherwise or of other classes.
            ServiceError: S3 failed.
        """
        model = self.models.of(request.renderer)
        plan = self._read(request)
        dataset = SceneDataset(user_id=request.user_id, dataset=request.dataset)
        known = _Known.read(dataset, self.bucket)
        calls = self._check_calls(request, plan, dataset, known) if request.renderer == "bedrock" else 0
        self._agree(dataset, request)
        classes = self._classes(dataset, plan.classes)
        shards = _Shards(dataset, known, SHARD_LAYOUTS[request.renderer])
        self.bucket.write_all(shards.new(plan.lines()))
        run = SceneRun(
            user_id=request.user_id,
            dataset=request.dataset,
            execution=execution,
            recipe=request.recipe,
            classes=classes,
            sizes=tuple(sorted(shards.sizes)),
            planned=sum(item.count for item in shards.items.values()) + len(shards.refused),
            repeated=shards.repeated,
            model=model,
            calls=calls,
        )
        return self._store(run, shards, now)

    def _store(self, run: SceneRun, shards: _Shards, now: datetime) -> dict[str, Any]:
        key, manifest = run.run_key(run.execution), run.manifest_key(run.execution)
        items = [shards.items[name] for name in sorted(shards.items)]
        self.bucket.write_stream(run.refused_key(run.execution), (outcome.line for outcome in shards.refused))
        self.bucket.write_stream(manifest, (item.line for item in items))
        self.bucket.write({key: run.model_dump_json(indent=1).encode()})
        SceneBatchStatus(
            status="RUNNING",
            execution=run.execution,
            planned=run.planned,
            repeated=run.repeated,
            calls=run.calls,
            updated_at=now.isoformat(),
        ).store(run, self.bucket)
        return {
            "run": key,
            "manifest": manifest,
            "results": run.results_prefix(run.execution),
            "count": run.planned,
            "shards": len(items),
            "tolerated": tolerated(len(items), at_least=ALWAYS_TOLERATED),
            "renderer": run.recipe.renderer,
            "job": hashlib.sha256(key.encode()).hexdigest()[:16],
            "asked": run.requests_prefix(run.execution),
            "answers": run.answers_prefix.rstrip("/"),
        }

    def _read(self, request: ScenesRequest) -> _Plan:
        """What is asked for, looked through before anything is written."""
        for name in ("layouts", "cutouts", "backgrounds", "detector"):
            place = getattr(request, name)
            is_file = name in ("layouts", "detector")
            if place and not self.bucket.keys(place if is_file else f"{place.rstrip('/')}/"):
                raise InputError(name, "one that is in the bucket", place, "There is nothing; upload it.")
        return self._given_plan(request) if request.layouts else self._sampled_plan(request)

    def _sampled_plan(self, request: ScenesRequest) -> _Plan:
        assert request.count is not None
        preset, count, side = self._preset(request.preset), request.count, request.size

        def lines() -> Iterator[bytes]:
            for chunk in sample_chunks(preset, count, seed=request.seed, split=request.split, size=(side, side)):
                yield from chunk.lines.splitlines()

        return _Plan(lines, preset.labels)

    def _given_plan(self, request: ScenesRequest) -> _Plan:
        def lines() -> Iterator[bytes]:
            given = (line for line in self.bucket.lines(request.layouts) if line.strip())
            return islice(given, request.count)

        labels: dict[str, None] = {}
        layouts, reason = 0, None
        for number, line in enumerate(lines(), 1):
            if number > MAX_BATCH:
                fix = "Divide it among several executions, or give a count: the first so many are taken."
                raise InputError("layouts", f"a file of at most {MAX_BATCH} layouts", request.layouts, fix)
            try:
                layout = parse_layout(line, f"layouts, line {number}")
            except InputError as error:
                reason = reason or error
                continue
            layouts += 1
            labels |= dict.fromkeys(item.label for item in layout.objects)
        if not layouts:
            fix = "`defectory detect layouts` writes one."
            raise reason or InputError("layouts", "a file with a layout a line", request.layouts, fix)
        return _Plan(lines, tuple(labels))

    def _check_calls(self, request: ScenesRequest, plan: _Plan, dataset: SceneDataset, known: _Known) -> int:
        """How often the image model will be asked at most, which the request has to allow."""
        records = self.bucket.keys(dataset.records_prefix)
        begun = {key.removeprefix(dataset.records_prefix).removesuffix(".jsonl") for key in records}
        calls = 0
        for line in plan.lines():
            with suppress(InputError):
                layout = parse_layout(line, "layout")
                _, shard = known.layouts.get(layout.image_id, (0, ""))
                calls += len(painted_places(layout)) if shard not in begun else 0
        if calls > request.call_limit:
            fix = "Each is paid for: allow so many, or ask for fewer scenes."
            raise InputError("call_limit", f"at least {calls}, which these scenes take", request.call_limit, fix)
        return calls

    def _preset(self, name: str) -> Preset:
        return parse_preset(self.bucket.read(name), name) if "/" in name else load_preset(name)

    def _agree(self, dataset: SceneDataset, request: ScenesRequest) -> None:
        """Keep what the dataset is made of, once for all its executions."""
        content = request.recipe.model_dump_json(indent=1).encode()
        if self.bucket.write_new(dataset.recipe_key, content):
            return
        known = Recipe.model_validate_json(self.bucket.read(dataset.recipe_key))
        for name in Recipe.model_fields:
            if getattr(known, name) != getattr(request, name):
                rule = f"{getattr(known, name) or 'left out'}, as for the other scenes of {request.dataset}"
                raise InputError(name, rule, getattr(request, name), "Take another dataset.")

    def _classes(self, dataset: SceneDataset, asked: tuple[str, ...]) -> tuple[str, ...]:
        """The dataset's classes, which its first execution decides: on scenes of fewer, others have no labels."""
        content = _CLASSES.dump_json(asked)
        if self.bucket.write_new(dataset.classes_key, content):
            return asked
        known = _CLASSES.validate_json(self.bucket.read(dataset.classes_key))
        if unknown := [name for name in asked if name not in known]:
            rule = f"of the classes of {dataset.dataset} alone ({', '.join(known)})"
            raise InputError("layouts", rule, unknown[0], "Take another dataset.")
        return known


@dataclass(frozen=True, slots=True)
class _Plan:
    """Layouts: ``lines()`` gives them, ``classes`` are to be labelled."""

    lines: Callable[[], Iterator[bytes]]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """The layouts of a dataset by their names: each one's digest and shard; and how many are in each shard."""

    layouts: dict[str, tuple[int, str]]
    counts: dict[str, int]

    @classmethod
    def read(cls, dataset: SceneDataset, bucket: Bucket) -> _Known:
        layouts: dict[str, tuple[int, str]] = {}
        counts: dict[str, int] = {}
        for key, content in bucket.read_all(bucket.keys(dataset.shards_prefix)):
            shard = key.removeprefix(dataset.shards_prefix).removesuffix(".jsonl")
            lines = content.splitlines()
            counts[shard] = len(lines)
            for layout in (parse_layout(line, key) for line in lines):
                layouts.setdefault(layout.image_id, (layout_digest(layout), shard))
        return cls(layouts, counts)


@dataclass(slots=True)
class _Shards:
    """Sorts the layouts of one plan into shards: ``items`` are all that it needs, the others say what was in it."""

    dataset: SceneDataset
    known: _Known
    most: int
    items: dict[str, ShardItem] = field(default_factory=dict)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    refused: list[SceneFailure] = field(default_factory=list)
    repeated: int = 0

    def new(self, lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
        """The keys and contents of the shards that are to be written."""
        first = len(self.known.counts)
        for number, layouts in enumerate(self._divide(self._new_layouts(lines)), first):
            content = "".join(f"{layout_line(layout)}\n" for layout in layouts).encode()
            name = f"{number:05d}-{hashlib.sha256(content).hexdigest()[:16]}"
            self.items[name] = ShardItem(shard=name, count=len(layouts))
            yield self.dataset.shard_key(name), content

    def _divide(self, layouts: Iterable[Layout]) -> Iterator[list[Layout]]:
        shard: list[Layout] = []
        pixels = 0
        for layout in layouts:
            area = layout.size[0] * layout.size[1]
            if shard and (len(shard) == self.most or pixels + area > SHARD_PIXELS):
                yield shard
                shard, pixels = [], 0
            shard.append(layout)
            pixels += area
        if shard:
            yield shard

    def _new_layouts(self, lines: Iterable[bytes]) -> Iterator[Layout]:
        """Those that are in no shard; of the others it is noted where they are, or what is wrong with them."""
        new: dict[str, int] = {}
        for number, line in enumerate(lines, 1):
            try:
                layout = parse_layout(line, f"line {number}")
                digest = layout_digest(layout)
                before, shard = self.known.layouts.get(layout.image_id, (new.get(layout.image_id), ""))
                if before not in (None, digest):
                    fix = "Give it a name of its own, or take another dataset."
                    raise InputError(f"line {number}: image_id", "one that no other layout has", layout.image_id, fix)
            except InputError as error:
                self.refused.append(SceneFailure(image_id=f"line {number}", fate="failed", reason=str(error)))
                continue
            self.sizes.add(layout.size)
            if before is None:
                new[layout.image_id] = digest
                yield layout
            elif shard:
                self.items[shard] = ShardItem(shard=shard, count=self.known.counts[shard])
            else:
                self.repeated += 1
