"""Batch Transform: what GLIGEN is asked to paint of a run's shards, and what it answered."""

from __future__ import annotations

from collections.abc import Iterator

from defectory.aws.bucket import Bucket
from defectory.detection.batch.outcomes import is_settled, read_layouts, read_outcomes
from defectory.detection.batch.runs import SceneRun, ShardItem
from defectory.detection.generative.gligen import TransformAnswer, TransformRequest, parse_answer


def write_requests(run: SceneRun, bucket: Bucket) -> int:
    """Write what is to be painted of a run's shards, one object a shard; return how many pictures that is.

    What is painted and was not looked at yet is not painted again, nor is what has become a scene or was turned down.

    Raises:
        InputError: a shard or its records hold something else.
        ServiceError: S3 failed.
    """
    answered = set(bucket.keys(run.answers_prefix))
    painted = 0

    def files() -> Iterator[tuple[str, bytes]]:
        nonlocal painted
        for item in run.shards(bucket):
            requests = _requests(run, item, bucket, is_answered=run.answers_key(item.shard) in answered)
            if requests:
                painted += len(requests)
                content = "".join(f"{request.model_dump_json()}\n" for request in requests).encode()
                yield f"{run.requests_prefix(run.execution)}{item.shard}.jsonl", content

    bucket.write_all(files())
    return painted


def _requests(run: SceneRun, item: ShardItem, bucket: Bucket, *, is_answered: bool) -> list[TransformRequest]:
    outcomes = read_outcomes(run, item.shard, bucket)
    if is_answered and not any(outcome.fate == "failed" for outcome in outcomes.values()):
        return []
    return [
        TransformRequest(image_id=layout.image_id, layout=layout, steps=run.recipe.steps, guidance=run.recipe.guidance)
        for layout in read_layouts(run, item.shard, bucket)
        if not is_settled(layout, outcomes)
    ]


def read_answers(run: SceneRun, shard: str, bucket: Bucket) -> dict[str, TransformAnswer]:
    """What was painted of a shard's layouts, by their names; none where the transform came to none of it.

    Raises:
        InputError: a line is no answer.
        ServiceError: S3 failed.
    """
    key = run.answers_key(shard)
    answers = (parse_answer(line, f"{key}:{number}") for number, line in enumerate(bucket.lines(key), 1) if line)
    return {answer.image_id: answer for answer in answers}
