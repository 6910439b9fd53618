"""Fleets: more machines than one request may have, as requests of up to fifty each, written to a manifest in S3.

```
<user_id>/fleets/<execution>/manifest.jsonl    the events of the fleet's requests, one a line
<user_id>/fleets/<execution>/fleet.json        what became of them, once all have ended
```
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from defectory.aws.object_keys import check_key_length
from defectory.errors import AuthorError, InputError
from defectory.sensors.authors import Author
from defectory.sensors.service.datasets_bucket import DatasetsBucket
from defectory.sensors.service.requests import MAX_MACHINES, RULES, RequestEvent, parse_event

MAX_REQUESTS = 1000
"""The most requests of a fleet: what becomes of all of them has to fit into the 256 KiB of a state's output."""

MAX_SEED = 2**32 - 1

STEM_LENGTH = 40
"""Characters of a request's token before its number."""

_LIST_RULE = "a list of machine names, or the key of one (JSON) below <user_id>/ in the data bucket"
_NUMBER_RULE = "a whole number of machines, from 1 to {limit}, as many as are named where any are"


class FleetRequest(BaseModel):
    """What a user asks for: ``number`` machines of ``industry``, of one year, and a seed that each request adds to.

    ``machines`` names them, itself or by the key of a JSON list; else the author chooses up to fifty kinds of machine,
    and the fleet has as many of each as it takes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    industry: str
    number: int = Field(ge=1)
    user_id: str
    year: int | None = None
    seed: int | None = None
    machines: list[str] | str | None = None

    @model_validator(mode="after")
    def _names_its_users_list(self) -> Self:
        if isinstance(self.machines, str):
            if not self.machines.startswith(f"{self.user_id}/"):
                raise InputError("machines", _LIST_RULE, self.machines, f"Upload it below {self.user_id}/.")
            check_key_length("machines", self.machines)
        return self


def parse_fleet(request: object, limit: int) -> FleetRequest:
    """Check the input of the fleet's state machine; ``limit`` is the configured number of machines.

    Raises:
        InputError: names the first offending field and its rule.
    """
    if not isinstance(request, dict):
        raise InputError("input", "a JSON object with industry, number and user_id", request)
    try:
        fleet = FleetRequest.model_validate(request)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = str(first["loc"][0])
        rules = {**RULES, "machines": _LIST_RULE, "number": _NUMBER_RULE.format(limit=limit)}
        rule = rules.get(field, f"left out: the known fields are {', '.join(FleetRequest.model_fields)}")
        if first["type"] == "missing":
            raise InputError(field, rule, fix="It is missing.") from None
        raise InputError(field, rule, first["input"]) from None
    if fleet.number > limit:
        fix = "Deploy with a larger fleet_machines, or start several fleets."
        raise InputError("number", _NUMBER_RULE.format(limit=limit), fleet.number, fix)
    return fleet


@dataclass(frozen=True, slots=True)
class FleetPlanner:
    """Divides fleets of up to ``limit`` machines into requests."""

    author: Author
    bucket: DatasetsBucket
    limit: int

    def store(self, request: object, fleet_id: str) -> dict[str, Any]:
        """Write the requests of a fleet to its manifest; the same fleet has the same tokens, so each is made once.

        Returns:
            ``manifest`` and ``summary`` (keys), ``requests`` and ``machines`` (numbers).

        Raises:
            InputError: a field breaks its rule; nothing was written.
            AuthorError, ReplyError: the author could not list the machines.
            ServiceError: S3 failed.
        """
        fleet = parse_fleet(request, self.limit)
        events = list(self._events(fleet, fleet_id))
        if len(events) > MAX_REQUESTS:
            fix = f"They come to {len(events)} requests of {events[0].number} machines; ask for fewer, or name them."
            raise InputError("number", f"machines of at most {MAX_REQUESTS} requests", fleet.number, fix)
        folder = f"{fleet.user_id}/fleets/{fleet_id}"
        lines = (event.model_dump_json(exclude_none=True) + "\n" for event in events)
        self.bucket.write(f"{folder}/manifest.jsonl", "".join(lines).encode())
        return {
            "manifest": f"{folder}/manifest.jsonl",
            "summary": f"{folder}/fleet.json",
            "requests": len(events),
            "machines": fleet.number,
        }

    def _events(self, fleet: FleetRequest, fleet_id: str) -> Iterator[RequestEvent]:
        # What is wrong is found before the author is asked.
        fields: dict[str, Any] = {
            "industry": fleet.industry,
            "user_id": fleet.user_id,
            "year": datetime.now(UTC).year - 1 if fleet.year is None else fleet.year,
            "seed": secrets.randbits(32) if fleet.seed is None else fleet.seed,
        }
        parse_event({**fields, "number": 1})
        stem = token_stem(fleet_id)
        for number, names in enumerate(self._chunks(fleet)):
            yield parse_event(
                {
                    **fields,
                    "seed": (fields["seed"] + number) % (MAX_SEED + 1),
                    "number": len(names),
                    "machines": list(names),
                    "idempotency_token": f"{stem}-{number:05d}",
                }
            )

    def _chunks(self, fleet: FleetRequest) -> Iterator[Sequence[str]]:
        if fleet.machines is not None:
            names = self._named(fleet)
            yield from (names[start : start + MAX_MACHINES] for start in range(0, len(names), MAX_MACHINES))
            return
        listing = self.author.list_machines(fleet.industry, min(fleet.number, MAX_MACHINES))
        kinds = listing.names
        if not kinds:
            raise AuthorError(f"The author {self.author.name} knows no machine of {fleet.industry!r}. {listing.note}")
        for start in range(0, fleet.number, len(kinds)):
            yield kinds[: fleet.number - start]

    def _named(self, fleet: FleetRequest) -> list[str]:
        named: object = fleet.machines
        if isinstance(named, str):
            try:
                named = json.loads(self.bucket.read(named))
            except ValueError as error:
                raise InputError("machines", _LIST_RULE, fleet.machines, f"It is no JSON: {error}") from None
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            raise InputError("machines", _LIST_RULE, fleet.machines)
        if len(named) != fleet.number:
            raise InputError("number", _NUMBER_RULE.format(limit=self.limit), fleet.number, f"{len(named)} are named.")
        return named


def token_stem(fleet_id: str) -> str:
    """What the tokens of a fleet's requests begin with: its name, or, if that has not the form of a token, a like one.

    Names of executions may have 80 characters of any script.
    """
    plain = re.sub(r"[^A-Za-z0-9._:-]", "-", fleet_id)
    if plain == fleet_id and len(plain) <= STEM_LENGTH:
        return plain
    digest = hashlib.sha256(fleet_id.encode()).hexdigest()[:12]
    return f"{plain[: STEM_LENGTH - len(digest) - 1]}-{digest}"
