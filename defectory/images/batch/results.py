"""Results: what Step Functions' Distributed Map wrote of the calls that failed, and the reasons in it.

The format is that of its ResultWriter in JSON lines: ``<prefix>/<map run>/manifest.json`` names the files of executions
that succeeded, failed and never began
(https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from defectory.errors import shorten
from defectory.images.batch.images_bucket import ImagesBucket
from defectory.images.batch.runs import ManifestItem

REASON_LIMIT = 600


def failed_items(prefix: str, bucket: ImagesBucket) -> Iterator[tuple[ManifestItem, str]]:
    """The items of the calls that failed in the end, each with the reason; those of one call have the same.

    Args:
        prefix: what the results' keys start with.
        bucket: where they are.

    Raises:
        ServiceError: S3 failed.
    """
    for key in bucket.keys(f"{prefix}/"):
        if not key.endswith("/manifest.json"):
            continue
        for file in json.loads(bucket.read(key))["ResultFiles"]["FAILED"]:
            for line in bucket.lines(file["Key"]):
                yield from _items_of(json.loads(line))


def _items_of(execution: dict[str, str]) -> Iterator[tuple[ManifestItem, str]]:
    reason = f"{execution.get('Error', execution['Status'])}: {_in_words(execution.get('Cause', ''))}"
    for item in json.loads(execution["Input"])["Items"]:
        yield ManifestItem.model_validate(item), shorten(reason, REASON_LIMIT)


def _in_words(cause: str) -> str:
    """A failed function's own words, which are in the JSON that is the cause of its failure."""
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return cause or "no cause was given"
