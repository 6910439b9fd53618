"""Confirming: a person's word on a part, which wins over the model's and teaches the next one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from defectory.errors import InputError
from defectory.validation import FrozenModel

RULES = {
    "inspection_id": "the id of an inspection: 32 hexadecimal digits",
    "label": "normal or anomaly",
    "by": "1 to 128 characters: who says so",
    "classes": "a list of at most 20 names of defects, each 1 to 255 characters; empty for a normal part",
    "note": "at most 1000 characters",
}


class Confirmation(FrozenModel):
    """``{inspection_id, label, by}``, with ``classes`` of an anomaly and a ``note`` if there are any."""

    inspection_id: str = Field(pattern=r"\A[0-9a-f]{32}\z")
    label: Literal["normal", "anomaly"]
    by: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128)]
    classes: tuple[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)], ...] = Field(
        default=(), max_length=20
    )
    note: str = Field(default="", max_length=1000)


def parse_confirmation(event: object) -> Confirmation:
    """Check an event from outside.

    Raises:
        InputError: names the first offending field and its rule.
    """
    if not isinstance(event, Mapping):
        raise InputError("event", "a JSON object with inspection_id, label and by", event)
    try:
        confirmation = Confirmation.model_validate(dict(event))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = str(first["loc"][0])
        if field not in RULES:
            raise InputError(field, f"left out: the known fields are {', '.join(RULES)}") from None
        raise InputError(field, RULES[field], event.get(field), "" if field in event else "It is missing.") from None
    if confirmation.label == "normal" and confirmation.classes:
        raise InputError("classes", RULES["classes"], confirmation.classes)
    return confirmation
