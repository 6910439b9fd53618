"""Usage: what image models were made to do, which costs follow from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """What an image model was made to do: pictures that it returned, that a filter withheld, and calls that failed."""

    pictures: int = 0
    filtered: int = 0
    failed: int = 0
