"""Requests for sensor data: the event a user sends, and the request as it is tracked until its end."""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from defectory.errors import InputError
from defectory.sensors.authors import AuthorName
from defectory.sensors.machines import unique_slugs

MAX_MACHINES = 50

MachineStatus = Literal["PENDING", "WRITING", "RUNNING", "REPAIRING", "PUBLISHED", "FAILED"]
OpenStatus = Literal["REQUESTED", "WRITING", "RUNNING", "REPAIRING"]
FinalStatus = Literal["PUBLISHED", "PARTIAL", "FAILED"]
RequestStatus = Literal[OpenStatus, FinalStatus]

RULES = {
    "industry": "1 to 64 letters (of any script), digits, spaces or -/&, with at least one letter",
    "number": f"a whole number from 1 to {MAX_MACHINES} (10 is recommended)",
    "user_id": "1 to 64 ASCII letters, digits or . _ -, starting with a letter or a digit",
    "idempotency_token": "1 to 128 ASCII letters, digits or . _ : -",
    "year": "a calendar year from 1970 to 2100, as a whole number",
    "seed": "a whole number from 0 to 4294967295",
    "machines": f"a list of 1 to {MAX_MACHINES} different machine names, as many as number says; "
    "each 1 to 80 letters (of any script), digits, spaces or -/&().,+', with at least one letter",
}


def _text(allowed: str, longest: int) -> AfterValidator:
    """Validate words of any script: letters, combining marks, digits, spaces and ``allowed``; at most ``longest``."""

    def check(value: str) -> str:
        value = unicodedata.normalize("NFC", value).strip(" ")
        categories = [unicodedata.category(character) for character in value]
        fits = all(
            category[0] in "LM" or category == "Nd" or character == " " or character in allowed
            for character, category in zip(value, categories, strict=True)
        )
        if not (fits and len(value) <= longest and any(category[0] == "L" for category in categories)):
            raise ValueError("breaks the rule")
        return value

    return AfterValidator(check)


class RequestEvent(BaseModel):
    """What a user asks for: ``number`` machines of ``industry``, for ``user_id``.

    ``machines`` names them instead of leaving the choice to the author (to repeat the failed ones of an earlier
    request, say); ``year`` and ``seed`` make the data repeatable; one ``idempotency_token`` always means one request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    industry: Annotated[str, _text("-/&", 64)]
    number: int = Field(ge=1, le=MAX_MACHINES)
    user_id: str = Field(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z")
    idempotency_token: str | None = Field(default=None, pattern=r"\A[A-Za-z0-9._:-]{1,128}\z")
    year: int | None = Field(default=None, ge=1970, le=2100)
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1)
    machines: (
        Annotated[list[Annotated[str, _text("-/&().,+'", 80)]], Field(min_length=1, max_length=MAX_MACHINES)] | None
    ) = None

    @model_validator(mode="after")
    def _machines_match_number(self) -> Self:
        if self.machines is not None and len(set(self.machines)) != self.number:
            raise ValueError("machines")
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything but the token: two events are the same request if their fingerprints are equal."""
        return hashlib.sha256(self.model_dump_json(exclude={"idempotency_token"}).encode()).hexdigest()


def parse_event(event: object) -> RequestEvent:
    """Check an event from outside.

    Raises:
        InputError: names the first offending field and its rule.
    """
    if not isinstance(event, dict):
        raise InputError("event", "a JSON object with industry, number and user_id", event)
    try:
        return RequestEvent.model_validate(event)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "machines"
    if first["type"] == "extra_forbidden":
        raise InputError(field, f"left out: the known fields are {', '.join(RULES)}", first["input"])
    if first["type"] == "missing":
        raise InputError(field, RULES[field], fix="It is missing.")
    raise InputError(field, RULES[field], event[field])


class MachineState(BaseModel):
    """How far one machine of a request is; ``attempts`` counts the scripts that were run for it."""

    model_config = ConfigDict(frozen=True)

    name: str
    slug: str
    status: MachineStatus = "PENDING"
    attempts: int = 0
    error: str = ""


class SensorRequest(BaseModel):
    """A request as the table keeps it.

    ``active`` is true while work is owed; ``reason`` says why a closed request is PARTIAL or FAILED; ``note`` is the
    author's word to the user (fewer machines than asked, say); ``expires_at`` is in seconds since 1970.
    """

    model_config = ConfigDict(frozen=True)

    user_id: str
    request_id: str
    industry: str
    number: int
    author: AuthorName
    year: int
    seed: int
    machines: tuple[MachineState, ...]
    status: RequestStatus = "REQUESTED"
    active: bool = True
    reason: str = ""
    note: str = ""
    created_at: str
    updated_at: str
    expires_at: int
    pipeline_execution_id: str | None = None

    @classmethod
    def new(
        cls,
        event: RequestEvent,
        *,
        machines: Sequence[str],
        author: AuthorName,
        note: str = "",
        retention: timedelta,
        now: datetime,
    ) -> Self:
        """The request that ``event`` asks for, with ``machines`` still to do.

        The year defaults to the last complete one, the seed to a random one; both are kept with the request.
        """
        stamp = timestamp(now)
        return cls(
            user_id=event.user_id,
            request_id=new_request_id(now),
            industry=event.industry,
            number=event.number,
            author=author,
            year=now.year - 1 if event.year is None else event.year,
            seed=secrets.randbits(32) if event.seed is None else event.seed,
            machines=tuple(
                MachineState(name=name, slug=slug)
                for name, slug in zip(machines, unique_slugs(list(machines)), strict=True)
            ),
            note=note,
            created_at=stamp,
            updated_at=stamp,
            expires_at=int((now + retention).timestamp()),
        )

    def answer(self) -> dict[str, Any]:
        """What the user is told of the request."""
        body = {
            "request_id": self.request_id,
            "machines": [machine.name for machine in self.machines],
            "status": self.status,
            "pipeline_execution_id": self.pipeline_execution_id,
        }
        return body | {key: text for key, text in (("note", self.note), ("reason", self.reason)) if text}


def outcome(machines: Sequence[MachineState]) -> FinalStatus:
    """The status with which a request of ``machines`` ends: all published, some, or none."""
    published = sum(machine.status == "PUBLISHED" for machine in machines)
    if not published:
        return "FAILED"
    return "PUBLISHED" if published == len(machines) else "PARTIAL"


def new_request_id(now: datetime) -> str:
    """A request id that sorts by time, to the millisecond, and is random beyond that."""
    return f"{request_id_prefix(now)}-{secrets.token_hex(4)}"


def request_id_prefix(now: datetime) -> str:
    """What the ids of requests made at ``now`` start with; earlier requests have smaller ids."""
    moment = now.astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z"


def timestamp(now: datetime) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
