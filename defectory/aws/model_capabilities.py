"""What Bedrock's text models can do in Converse: a table by model, dated, with sources.

Which model is called from where is the matter of `defectory.aws.inference_profiles`; a model can do the same through
whichever profile it is called.  A model that is not in the table gets `UNKNOWN`, which asks for nothing that a model
could refuse.  What the table has wrong, Bedrock says, and `defectory.aws.bedrock` then goes on without it.

Sources, read until 2026-11-28:

- cards: docs.aws.amazon.com/bedrock/latest/userguide/model-card-*.html (pictures, output tokens, structured output,
  thinking, tokens of a cache checkpoint)
- caching: docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html; prices of reading and writing from AWS's
  price list, as gathered by litellm 1.110.2
- tools: docs.aws.amazon.com/nova/latest/userguide/tool-choice.html and tool-use-definition.html;
  docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolChoice.html; refusals by Claude 5.5 as reported in
  run-llama/llama_index issue 23207 and 567-labs/instructor issue 2681
- tiers: aws.amazon.com/about-aws/whats-new/2025/11/amazon-bedrock-priority-flex-inference-service-tiers, and the models
  that have a price for Flex in AWS's price list
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

READ_UNTIL = date(2026, 11, 28)
"""When the table was last held against its sources."""

CHARACTERS_PER_TOKEN = 4
"""English and code have about so many; newer tokenizers make more tokens of the same text."""

Thinking = Literal["never", "on request", "by default", "always"]


@dataclass(frozen=True, slots=True)
class ModelCapabilities:
    """One model.

    Attributes:
        model: provider, family and version, as its id begins; the date and the revision that follow do not matter.
        images: takes pictures.
        tools: takes ``toolConfig``.
        forced_tools: takes a ``toolChoice`` other than ``auto``.
        strict_tools: structured output: its answers can be held to a schema (``strict``).
        sampling: takes ``temperature``.
        thinking: whether reasoning comes before the answer, and counts as output.
        max_output_tokens: most tokens of one answer; None if nobody knows.
        cache_min_tokens: shortest prefix that is cached; None if none is.
        cache_write: price of a token written to the cache, in prices of an input token.
        cache_read: price of a token read from the cache, likewise.
        flex: has the service tier Flex, about half the price and slower.
    """

    model: str
    images: bool = False
    tools: bool = False
    forced_tools: bool = False
    strict_tools: bool = False
    sampling: bool = False
    thinking: Thinking = "by default"
    max_output_tokens: int | None = None
    cache_min_tokens: int | None = None
    cache_write: float = 1.25
    cache_read: float = 0.1
    flex: bool = False

    @property
    def thinks_unasked(self) -> bool:
        """Whether part of the output may be spent on reasoning, though nobody asked for any."""
        return self.thinking in ("by default", "always")

    def caching_pays(self, prefix: int, calls: int, at_once: int) -> bool:
        """Whether ``calls`` with a common prefix of so many characters cost less with a cache point behind it.

        The first ``at_once`` calls are on their way together, so none of them finds what another one writes.
        """
        if self.cache_min_tokens is None or prefix < self.cache_min_tokens * CHARACTERS_PER_TOKEN:
            return False
        writing = min(calls, at_once)
        return writing * self.cache_write + (calls - writing) * self.cache_read < calls


UNKNOWN = ModelCapabilities("unknown")


def _nova(
    model: str, max_output_tokens: int, *, images: bool = True, thinking: Thinking = "never", flex: bool = False
) -> ModelCapabilities:
    return ModelCapabilities(
        model=f"amazon.nova-{model}",
        images=images,
        tools=True,
        forced_tools=True,
        sampling=True,
        thinking=thinking,
        max_output_tokens=max_output_tokens,
        cache_min_tokens=1000,
        cache_write=1.0,
        cache_read=0.25,
        flex=flex,
    )


def _claude(
    model: str,
    max_output_tokens: int,
    cache_min_tokens: int,
    *,
    thinking: Thinking = "on request",
    forced_tools: bool = True,
    strict_tools: bool = False,
    sampling: bool = False,
    cache_read: float = 0.1,
) -> ModelCapabilities:
    return ModelCapabilities(
        model=f"anthropic.claude-{model}",
        images=True,
        tools=True,
        forced_tools=forced_tools,
        strict_tools=strict_tools,
        sampling=sampling,
        thinking=thinking,
        max_output_tokens=max_output_tokens,
        cache_min_tokens=cache_min_tokens,
        cache_read=cache_read,
    )


MODELS: tuple[ModelCapabilities, ...] = (
    # Output of the first Novas: 5,000 by their cards, 10,000 by litellm.
    _nova("micro", 5_000, images=False),
    _nova("lite", 5_000),
    _nova("pro", 5_000, flex=True),
    # Flex has a price for the profiles us. and jp. alone.
    _nova("2-lite", 64_000, thinking="on request", flex=True),
    _claude("opus-4-1", 32_000, 1024, sampling=True),
    _claude("sonnet-4-5", 64_000, 1024, sampling=True, strict_tools=True),
    _claude("haiku-4-5", 64_000, 4096, sampling=True, strict_tools=True),
    _claude("opus-4-5", 64_000, 4096, sampling=True, strict_tools=True),
    _claude("opus-4-6", 128_000, 4096, sampling=True, strict_tools=True),
    # The shortest cached prefix is 1,024 by Anthropic, 2,048 as seen (anthropics/anthropic-sdk-python issue 1194).
    _claude("sonnet-4-6", 64_000, 2048, sampling=True, strict_tools=True),
    # From here on a temperature is refused.
    _claude("opus-4-7", 128_000, 2048),
    _claude("opus-4-8", 128_000, 1024),
    _claude("sonnet-5", 128_000, 1024, thinking="by default"),
    _claude("opus-5", 128_000, 512, thinking="by default"),
    # Structured output of the 5.5s: no by their cards, yes by litellm.
    _claude("haiku-5-5", 128_000, 512, thinking="by default"),
    _claude("sonnet-5-5", 128_000, 512, thinking="always", forced_tools=False, cache_read=0.05),
    _claude("opus-5-5", 128_000, 512, thinking="always", forced_tools=False, cache_read=0.05),
)

# 20251001-v1:0, v1:0, v1, v1:0:300k: date, revision and length of context do not change what a model can do.
_REVISION = r"(?:-[0-9]{8})?(?:-v[0-9]+)?(?::[0-9]+)?(?::[0-9]+k)?"
# A resource of an ARN, a profile's prefix; an application's own profile is named by letters that say nothing.
_BEFORE = r"(?:arn:[^/]+:(?:inference-profile|foundation-model)/)?(?:[a-z]+(?:-[a-z]+)?\.)?"


def capabilities_of(model_id: str) -> ModelCapabilities:
    """What the model can do that ``model_id`` names.

    Args:
        model_id: id of a model or of an inference profile, or an ARN of one; of an application's own profile nobody
            knows by its name which model is behind it.

    >>> capabilities_of("eu.anthropic.claude-haiku-4-5-20251001-v1:0").cache_min_tokens
    4096
    >>> capabilities_of("us.some.model-v9:0").model
    'unknown'
    """
    for row in MODELS:
        if re.fullmatch(_BEFORE + re.escape(row.model) + _REVISION, model_id):
            return row
    return UNKNOWN
