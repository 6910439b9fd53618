"""Rendering a shard: a scene of each of its layouts, each once, however often the shard is asked for."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from defectory.aws.bucket import Bucket
from defectory.datasets.batches import REASON_LIMIT
from defectory.detection.batch.makers import LayoutMaker, SceneMakers
from defectory.detection.batch.outcomes import SceneOutcome, is_settled, read_layouts, read_outcomes
from defectory.detection.batch.runs import Fate, SceneRun, ShardItem
from defectory.detection.layouts.records import Layout, layout_digest
from defectory.detection.scenes.files import scene_files
from defectory.errors import DefectoryError, ServiceError, shorten

logger = logging.getLogger(__name__)

UNSTORED_SECONDS = 5.0
"""Work that is lost at most where a function is killed, and one scene's."""

RESERVE_SECONDS = 60.0
"""A function that has less time left begins no other scene: one that is painted takes as long."""


class ShardUnfinishedError(ServiceError):
    """Time ran out before all of a shard's layouts had their turn; what was made is stored, and the rest goes on."""

    code = "ShardUnfinished"


@dataclass(frozen=True, slots=True)
class ShardRenderer:
    """Makes scenes of what is in ``bucket``, and stores them there; ``clock`` gives seconds."""

    bucket: Bucket
    makers: SceneMakers
    clock: Callable[[], float] = time.monotonic

    def render(self, key: str, items: Iterable[ShardItem], time_left: Callable[[], float]) -> dict[Fate, int]:
        """Make what is missing of some shards of the run stored at ``key``.

        A layout that no scene can be made of is recorded with the reason; the others are made.

        Args:
            key: where the run is stored.
            items: the shards.
            time_left: says how many seconds there are still.

        Returns:
            How often each fate came of their layouts.

        Raises:
            InputError: there is no such run, or what it names is none of what it should be.
            ServiceError: S3 or a model failed, for one scene at least; the others are made.
            ShardUnfinishedError: time ran out.
        """
        run = SceneRun.read(key, self.bucket)
        fates: Counter[Fate] = Counter()
        for item in items:
            fates.update(self._render(run, item.shard, time_left))
        return dict(sorted(fates.items()))

    def _render(self, run: SceneRun, shard: str, time_left: Callable[[], float]) -> Counter[Fate]:
        layouts, outcomes = read_layouts(run, shard, self.bucket), read_outcomes(run, shard, self.bucket)
        waiting = [layout for layout in layouts if not is_settled(layout, outcomes)]
        maker = self.makers.open(run, shard) if waiting else None
        problem: ServiceError | None = None
        stored_at = self.clock()
        for number, layout in enumerate(waiting):
            if time_left() < RESERVE_SECONDS:
                left = len(waiting) - number
                problem = ShardUnfinishedError(f"Time ran out with {left} of {len(layouts)} scenes of {shard} to make.")
                break
            assert maker is not None
            try:
                outcomes[layout.image_id] = self._make(run, layout, maker)
            except ServiceError as error:
                # In case it is the last attempt; another one takes nothing that failed for done.
                outcomes[layout.image_id] = SceneOutcome.failed(layout, str(error))
                problem = problem or error
            if self.clock() - stored_at > UNSTORED_SECONDS:
                self._store(run, shard, layouts, outcomes)
                stored_at = self.clock()
        if waiting:
            self._store(run, shard, layouts, outcomes)
        if problem is not None:
            raise problem
        return Counter(outcomes[layout.image_id].fate for layout in layouts)

    def _make(self, run: SceneRun, layout: Layout, maker: LayoutMaker) -> SceneOutcome:
        try:
            result = maker.make(layout)
        except ServiceError:
            raise
        except DefectoryError as error:
            return SceneOutcome.failed(layout, str(error))
        except Exception as error:
            # Whatever is wrong with it, the other layouts of the shard have their turn.
            logger.exception("No scene of %s", layout.image_id)
            return SceneOutcome.failed(layout, shorten(f"{type(error).__name__}: {error}", REASON_LIMIT))
        record = None
        if result.scene is not None:
            # The picture is there before anything says so.
            record, files = scene_files(result.scene, run.recipe.split, run.recipe.format, run.classes)
            self.bucket.write({run.prefix + name: content for name, content in files.items()})
        return SceneOutcome(
            image_id=layout.image_id,
            layout=layout_digest(layout),
            fate=result.fate,
            reason=result.reason,
            scene=record,
            check=result.check,
        )

    def _store(self, run: SceneRun, shard: str, layouts: list[Layout], outcomes: dict[str, SceneOutcome]) -> None:
        lines = (outcomes[layout.image_id].line for layout in layouts if layout.image_id in outcomes)
        self.bucket.write({run.records_key(shard): b"".join(lines)})
