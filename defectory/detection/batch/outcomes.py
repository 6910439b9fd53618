"""Outcomes: what became of each layout of a shard, and which are still to be made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from pydantic import ValidationError

from defectory.aws.bucket import Bucket
from defectory.detection.batch.runs import Fate, SceneDataset
from defectory.detection.layouts.records import Layout, layout_digest, parse_layout
from defectory.detection.scenes.acceptance import CheckRecord
from defectory.detection.scenes.records import SceneRecord
from defectory.errors import InputError
from defectory.validation import FrozenModel


class SceneOutcome(FrozenModel):
    """What became of one layout: a line of its shard's records.

    Args:
        image_id: of the layout.
        layout: its digest.
        fate: what became of it.
        reason: why there is no scene.
        scene: the scene that was made.
        check: what a detector saw on what was painted.
    """

    image_id: str
    layout: int
    fate: Fate
    reason: str = ""
    scene: SceneRecord | None = None
    check: CheckRecord | None = None

    @classmethod
    def failed(cls, layout: Layout, reason: str) -> Self:
        """Of a layout that no scene could be made of."""
        return cls(image_id=layout.image_id, layout=layout_digest(layout), fate="failed", reason=reason)

    @property
    def line(self) -> bytes:
        """As it is stored."""
        return self.model_dump_json(exclude_defaults=True).encode() + b"\n"


def read_layouts(dataset: SceneDataset, shard: str, bucket: Bucket) -> list[Layout]:
    """The layouts of a shard.

    Raises:
        InputError: there is no such shard, or a line is no layout.
        ServiceError: S3 failed.
    """
    key = dataset.shard_key(shard)
    return [parse_layout(line, key) for line in bucket.read(key).splitlines()]


def read_outcomes(dataset: SceneDataset, shard: str, bucket: Bucket) -> dict[str, SceneOutcome]:
    """What became of a shard's layouts so far, by their names.

    Raises:
        InputError: its records hold something else.
        ServiceError: S3 failed.
    """
    key = dataset.records_key(shard)
    content = bucket.find(key) or b""
    return {outcome.image_id: outcome for outcome in parse_outcomes(content.splitlines(), key)}


def parse_outcomes(lines: Iterable[bytes], key: str) -> Iterator[SceneOutcome]:
    """What became of layouts, from the lines of their records.

    Raises:
        InputError: a line is something else; ``key`` is named.
    """
    for line in lines:
        try:
            yield SceneOutcome.model_validate_json(line)
        except ValidationError as error:
            raise InputError(key, "what became of layouts, one a line, as they are stored", str(error)) from None


def is_settled(layout: Layout, outcomes: Mapping[str, SceneOutcome]) -> bool:
    """Whether a layout needs no other try: its scene was made, or a check has turned down what was painted."""
    outcome = outcomes.get(layout.image_id)
    return outcome is not None and outcome.fate != "failed" and outcome.layout == layout_digest(layout)
