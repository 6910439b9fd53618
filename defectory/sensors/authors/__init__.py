"""Authors: who lists an industry's machines and writes the script that makes one machine's data.

Two exist: ``bedrock`` (a model, through the Converse API) and ``catalogue`` (curated, deterministic, offline, free).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from defectory.aws.tokens import OnTokens, ServiceTier, TokenUsage, ignore_tokens
from defectory.errors import InputError, require_extra

AuthorName = Literal["bedrock", "catalogue"]
PromptStyle = Literal["library", "freeform"]

AUTHORS_AT_ONCE = 4
"""So many scripts are written at the same time."""


@dataclass(frozen=True, slots=True)
class MachineListing:
    """Machine names in the author's order, without duplicates; ``note`` tells when there are fewer than asked."""

    names: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ScriptTask:
    """What a script has to simulate: one machine of an industry, one calendar year, one seed.

    ``siblings`` counts the scripts that are written for the same request, this one included.
    """

    industry: str
    machine: str
    year: int
    seed: int
    siblings: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Script:
    """A generated Python script and where it comes from.

    ``prompt`` is the full text sent to the model (empty for the catalogue); ``trusted`` is true only for scripts that
    no model had a hand in.  ``tokens`` are those of all answers on the way to it, ``tier`` that of the last.
    """

    source: str
    author: AuthorName
    trusted: bool
    prompt: str = ""
    model_id: str | None = None
    prompt_style: PromptStyle | None = None
    tokens: TokenUsage | None = None
    tier: str | None = None


class Author(Protocol):
    """Lists machines and writes scripts.  Every method may raise ``AuthorError`` (the author could not work) or
    ``ReplyError`` (what it answered is unusable, even when asked again)."""

    name: AuthorName

    def list_machines(self, industry: str, number: int) -> MachineListing:
        """At most ``number`` machines of ``industry``; fewer are told in the listing's note.

        Raises:
            InputError: the catalogue does not know the industry (the message lists what there is).
        """

    def write_script(self, task: ScriptTask) -> Script:
        """Write the script for one machine; nothing of another machine's conversation leaks into it."""

    def repair_script(self, task: ScriptTask, script: Script, failures: Sequence[str]) -> Script:
        """Write a corrected script, given the last one and what was wrong with it or with its data."""


def create_author(
    name: str,
    *,
    model_id: str | None = None,
    base_model_id: str | None = None,
    prompt_style: str = "library",
    service_tier: str = "default",
    region: str | None = None,
    on_tokens: OnTokens = ignore_tokens,
) -> Author:
    """Make the author called ``name``; ``catalogue`` uses nothing of the rest.

    Args:
        name: ``bedrock`` or ``catalogue``.
        model_id: inference profile id, or the ARN of an application's own.
        base_model_id: the model behind it, where ``model_id`` does not tell.
        prompt_style: ``library`` or ``freeform``.
        service_tier: ``default`` or ``flex``, which is cheaper and slower, for scripts.
        region: AWS region of the model; the session's region when None.
        on_tokens: hears of the tokens of each answer, in the thread that asked.

    Raises:
        InputError: unknown author, prompt style or service tier, or ``bedrock`` without a model id.
        MissingExtraError: ``bedrock`` without the extra ``aws``.
    """
    if name == "catalogue":
        from defectory.sensors.authors.catalogue import CatalogueAuthor

        return CatalogueAuthor()
    if name == "bedrock":
        require_extra("aws")
        from defectory.sensors.authors.bedrock import BedrockAuthor

        if not model_id:
            raise InputError(
                "model_id", "an inference profile id for author bedrock", fix="Set MODEL_ID or --model-id."
            )
        for field, value, choices in (
            ("prompt_style", prompt_style, get_args(PromptStyle)),
            ("service_tier", service_tier, get_args(ServiceTier)),
        ):
            if value not in choices:
                raise InputError(field, f"one of {', '.join(choices)}", value)
        return BedrockAuthor.connect(
            model_id,
            base_model_id=base_model_id,
            prompt_style=prompt_style,  # type: ignore[arg-type]
            tier=service_tier,  # type: ignore[arg-type]
            region=region,
            on_tokens=on_tokens,
        )
    raise InputError("author", f"one of {', '.join(get_args(AuthorName))}", name)
