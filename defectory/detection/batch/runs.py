"""Runs: which layouts one execution makes scenes of, shard by shard, and what became of each.

```
<user_id>/<dataset>/
  recipe.json, classes.json         what all scenes have in common; never changed
  work/shards/<shard>.jsonl         a layout a line; who is in one is in no other
  work/records/<shard>.jsonl        what became of each: all there is to go on with
  work/answers/<shard>.jsonl.out    what a transform painted
  runs/<execution>/run.json         what an execution is to make
  runs/<execution>/manifest.jsonl   its shards, a line each
  runs/<execution>/refused.jsonl    lines that are no layouts
  runs/<execution>/requests/        what the transform is to paint
  runs/<execution>/results/         what Step Functions says of calls that failed
  status.json                       what became of the latest execution
```

Beside them is the dataset, a folder of scenes as `defectory.detection.scenes.folder` has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self, get_args

from pydantic import Field, ValidationError

from defectory.aws.bucket import Bucket
from defectory.datasets.batches import BatchStatus, Folder
from defectory.detection.batch.requests import Recipe
from defectory.errors import InputError
from defectory.validation import FrozenModel

Fate = Literal["made", "rejected", "blank", "withheld", "failed"]
"""What became of a layout.

``rejected``, ``blank`` and ``withheld`` are a check's word on what was painted (`scenes.acceptance.Outcome`), which
stays; ``failed`` may be made another time.
"""

SCENE_OUTCOMES = (*get_args(Fate), "pending")
"""What the layouts of a run are counted as; ``pending`` are those that a run which was stopped never came to."""


class SceneFailure(FrozenModel):
    """A layout that is no scene, or a line that is no layout (``line 7``), and why."""

    image_id: str
    fate: Fate
    reason: str

    @property
    def line(self) -> bytes:
        """As it is stored."""
        return self.model_dump_json().encode() + b"\n"


class ShardItem(FrozenModel):
    """A line of a manifest: a shard, and how many layouts are in it."""

    shard: str
    count: int = Field(ge=1)

    @property
    def line(self) -> bytes:
        """As it is stored."""
        return self.model_dump_json().encode() + b"\n"


class SceneDataset(Folder):
    """Where a dataset of scenes is in the bucket, and what it is made of."""

    @property
    def recipe_key(self) -> str:
        """The key of what all its scenes have in common."""
        return f"{self.prefix}recipe.json"

    @property
    def shards_prefix(self) -> str:
        """What the keys of its shards start with."""
        return f"{self.prefix}work/shards/"

    @property
    def records_prefix(self) -> str:
        """What the keys of its shards' records start with."""
        return f"{self.prefix}work/records/"

    @property
    def answers_prefix(self) -> str:
        """What the keys of a transform's answers start with."""
        return f"{self.prefix}work/answers/"

    def shard_key(self, shard: str) -> str:
        """The key of a shard's layouts."""
        return f"{self.shards_prefix}{shard}.jsonl"

    def records_key(self, shard: str) -> str:
        """The key of what became of a shard's layouts."""
        return f"{self.records_prefix}{shard}.jsonl"

    def answers_key(self, shard: str) -> str:
        """The key of what a transform painted of a shard's layouts."""
        return f"{self.answers_prefix}{shard}.jsonl.out"

    def refused_key(self, execution: str) -> str:
        """The key of what an execution's request has in the place of layouts."""
        return f"{self.prefix}runs/{execution}/refused.jsonl"

    def requests_prefix(self, execution: str) -> str:
        """What the keys of an execution's requests to a transform start with."""
        return f"{self.prefix}runs/{execution}/requests/"


class SceneRun(SceneDataset):
    """What one execution is to make; its shards are in the manifest.

    ``planned`` counts the layouts of its shards and the lines that were refused, ``repeated`` those that were given
    twice, ``sizes`` are the canvases, ``model`` is what paints, where something does, and ``calls`` is how often one of
    Bedrock's is asked at most.
    """

    execution: str
    recipe: Recipe
    classes: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    planned: int
    repeated: int = 0
    model: str = ""
    calls: int = 0

    @classmethod
    def read(cls, key: str, bucket: Bucket) -> Self:
        """Read a stored run.

        Raises:
            InputError: there is none at ``key``.
            ServiceError: S3 failed.
        """
        try:
            return cls.model_validate_json(bucket.read(key))
        except ValidationError as error:
            raise InputError(key, "what an execution is to make, as its plan step stored it", str(error)) from None

    def shards(self, bucket: Bucket) -> Iterator[ShardItem]:
        """Its shards.

        Raises:
            ServiceError: S3 failed.
        """
        yield from map(ShardItem.model_validate_json, bucket.lines(self.manifest_key(self.execution)))


class SceneBatchStatus(BatchStatus):
    """What became of the latest execution for a dataset of scenes.

    COMPLETE means that nothing failed: what a check turned down is counted in ``outcomes`` as what it is.  ``calls`` is
    how often an image model of Bedrock is asked at most.
    """

    repeated: int = 0
    calls: int = 0
    not_made: tuple[SceneFailure, ...] = ()
