"""Validation: records that take only their own fields, and what pydantic says of bad input as one of our own errors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from defectory.errors import InputError, shorten


class FrozenModel(BaseModel):
    """A record that never changes once it is made, and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def explain(error: ValidationError) -> InputError:
    """The first thing that is wrong: its place, the rule, and what was there instead."""
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or error.title
    return InputError(field, f"right ({shorten(first['msg'])})", first["input"])
