"""Batches: datasets that a state machine makes in a bucket, from a request to what became of it.

What makes them is a capability's own matter.  Alike are where everything lies, how a request is checked, how much may
fail before all is stopped, and how the state of the latest execution is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from defectory.aws.bucket import Bucket
from defectory.errors import InputError, shorten

MAX_BATCH = 75_000
"""The most pictures of one execution: what one function assembles well within its 15 minutes."""

NAMED_FAILURES = 100
"""So many pictures that were not made are named in the status with the reason; the dataset's own files name all."""

TOLERATED_SHARE = 0.2
"""So much of a run may fail by the services' fault.  Of more it is not the pictures that are to blame: the account, a
quota or a model is, and every further one would cost time and money for nothing."""

REASON_LIMIT = 600
"""Characters of a reason that is stored."""

NAME_RULE = "1 to 64 ASCII letters, digits or . _ -, starting with a letter or a digit"

_NAME = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z"


class Folder(BaseModel):
    """Where a dataset is in the bucket: below ``<user_id>/<dataset>/``."""

    model_config = ConfigDict(frozen=True, strict=True)

    user_id: str = Field(pattern=_NAME)
    dataset: str = Field(pattern=_NAME)

    @property
    def prefix(self) -> str:
        """What all keys of the dataset start with."""
        return f"{self.user_id}/{self.dataset}/"

    def run_key(self, execution: str) -> str:
        """The key of what an execution is to make."""
        return f"{self.prefix}runs/{execution}/run.json"

    def manifest_key(self, execution: str) -> str:
        """The key of an execution's items, one a line."""
        return f"{self.prefix}runs/{execution}/manifest.jsonl"

    def results_prefix(self, execution: str) -> str:
        """What the keys of Step Functions' results of an execution start with, and a slash."""
        return f"{self.prefix}runs/{execution}/results"

    @property
    def classes_key(self) -> str:
        """The key of the dataset's classes."""
        return f"{self.prefix}classes.json"

    @property
    def status_key(self) -> str:
        """The key of the latest execution's status."""
        return f"{self.prefix}status.json"

    def is_own(self, key: str) -> bool:
        """Whether a key, or a prefix of keys, is one of the user's, below ``<user_id>/``."""
        return key.startswith(f"{self.user_id}/") and bool(key.removeprefix(f"{self.user_id}/").strip("/"))

    def has(self, key: str) -> bool:
        """Whether a key, or a prefix of keys, lies within the dataset."""
        return f"{key}/".startswith(self.prefix)


class BatchStatus(BaseModel):
    """What became of the latest execution for a dataset, stored as ``status.json``.

    ``status`` is RUNNING, COMPLETE (every picture was made), PARTIAL, or FAILED (none was, or the execution failed);
    ``outcomes`` count the execution's pictures (``pending`` are those that a run which was stopped never came to),
    ``pictures`` those of the whole dataset.
    """

    model_config = ConfigDict(frozen=True)

    status: Literal["RUNNING", "COMPLETE", "PARTIAL", "FAILED"]
    reason: str = ""
    execution: str
    planned: int = 0
    outcomes: dict[str, int] = Field(default_factory=dict)
    pictures: int = 0
    updated_at: str

    def store(self, folder: Folder, bucket: Bucket) -> None:
        """Write it for ``folder``.

        Raises:
            ServiceError: S3 failed.
        """
        bucket.write({folder.status_key: (self.model_dump_json(indent=1) + "\n").encode()})


_Kind = TypeVar("_Kind", bound=BaseModel)


def parse_event(
    kind: type[_Kind],
    event: object,
    rules: Mapping[str, str],
    *,
    example: str,
    too_large: Mapping[str, str] | None = None,
) -> _Kind:
    """Check an event.

    Args:
        kind: what it has to be.
        event: what came.
        rules: what each field has to be, in the user's words.
        example: the fields that an event has at least, in words.
        too_large: what to do where a field's number is above its limit.

    Raises:
        InputError: names the first offending field and its rule.
    """
    if not isinstance(event, dict):
        raise InputError("event", f"a JSON object with {example}", event)
    try:
        return kind.model_validate(event)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "event"
    if first["type"] == "extra_forbidden":
        raise InputError(field, f"left out: the known fields are {', '.join(kind.model_fields)}", first["input"])
    if first["type"] == "missing":
        raise InputError(field, rules[field], fix="It is missing.")
    fix = (too_large or {}).get(field, "") if first["type"] == "less_than_equal" else ""
    raise InputError(field, rules[field], event[field], fix)


def parse_folder(event: object) -> Folder:
    """Find out which dataset an event is about, whatever else is in it.

    Raises:
        InputError: names the first offending field and its rule.
    """
    rules = {"user_id": NAME_RULE, "dataset": NAME_RULE}
    return parse_event(Folder, event, rules, example="user_id and dataset")


def tolerated(count: int, *, at_least: int) -> int:
    """How many of ``count`` may fail; ``at_least`` so few never stop a run."""
    return max(at_least, round(TOLERATED_SHARE * count))


def store_failure(request: object, execution: str, problem: str, bucket: Bucket, now: datetime) -> bool:
    """Store that an execution failed as a whole; return False where the request does not say for which dataset.

    Raises:
        ServiceError: S3 failed.
    """
    try:
        folder = parse_folder(request)
    except InputError:
        return False
    status = BatchStatus(status="FAILED", reason=problem, execution=execution, updated_at=now.isoformat())
    status.store(folder, bucket)
    return True


def failed_inputs(prefix: str, bucket: Bucket) -> Iterator[tuple[Any, str]]:
    """The items of a Distributed Map's calls that failed in the end, each with the reason; those of one call share it.

    The format is that of a ResultWriter in JSON lines: ``<prefix>/<map run>/manifest.json`` names the files of
    executions that succeeded, failed and never began
    (https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html).

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
                failed = json.loads(line)
                reason = f"{failed.get('Error', failed['Status'])}: {_in_words(failed.get('Cause', ''))}"
                for item in json.loads(failed["Input"])["Items"]:
                    yield item, shorten(reason, REASON_LIMIT)


def _in_words(cause: str) -> str:
    """A failed function's own words, which are in the JSON that is the cause of its failure."""
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return cause or "no cause was given"
