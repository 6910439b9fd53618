"""Tokens: how many a model read and wrote, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from defectory.validation import FrozenModel

ServiceTier = Literal["default", "flex"]
Count = Annotated[int, Field(ge=0, le=10**12)]


class TokenUsage(FrozenModel):
    """Tokens of one answer or of several; what is read from or written to the cache is not part of ``input``."""

    input: Count = 0
    output: Count = 0
    cache_read: Count = 0
    cache_write: Count = 0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            input=self.input + other.input,
            output=self.output + other.output,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
        )


OnTokens = Callable[[str, str, TokenUsage], None]
"""Hears of each answer: the model's id, the service tier, the tokens."""


def ignore_tokens(model_id: str, tier: str, usage: TokenUsage) -> None:
    """Nobody has to know."""
