"""What functions answer to those who call them with a bad event."""

from __future__ import annotations

from typing import Any

from defectory.errors import InputError


def rejected(error: InputError) -> dict[str, Any]:
    """The answer ``{status: REJECTED, error: {code, field, rule, message}}``.

    It is no function error, which Lambda would try again: the event would be as bad.
    """
    return {
        "status": "REJECTED",
        "error": {"code": error.code, "field": error.field, "rule": error.rule, "message": str(error)},
    }
