"""Authors: who lists an industry's machines and writes the script that makes one machine's data.

Two exist: ``bedrock`` (a model, through the Converse API) and ``catalogue`` (curated, deterministic, offline, free).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from defectory.errors import InputError, require_extra

AuthorName = Literal["bedrock", "catalogue"]
PromptStyle = Literal["library", "freeform"]


@dataclass(frozen=True, slots=True)
class MachineListing:
    """Machine names in the author's order, without duplicates; ``note`` tells when there are fewer than asked."""

    names: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ScriptTask:
    """What a script has to simulate: one machine of an industry, one calendar year, one seed."""

    industry: str
    machine: str
    year: int
    seed: int


@dataclass(frozen=True, slots=True)
class Script:
    """A generated Python script and where it comes from.

    ``prompt`` is the full text sent to the model (empty for the catalogue); ``trusted`` is true only for scripts that
    no model had a hand in.
    """

    source: str
    author: AuthorName
    trusted: bool
    prompt: str = ""
    model_id: str | None = None
    prompt_style: PromptStyle | None = None


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
    name: str, *, model_id: str | None = None, prompt_style: str = "library", region: str | None = None
) -> Author:
    """Make the author called ``name``.

    Args:
        name: ``bedrock`` or ``catalogue``.
        model_id: inference profile id for ``bedrock``; unused by ``catalogue``.
        prompt_style: ``library`` or ``freeform``, for ``bedrock``.
        region: AWS region of the model; the session's region when None.

    Raises:
        InputError: unknown author or prompt style, or ``bedrock`` without a model id.
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
        if prompt_style not in get_args(PromptStyle):
            raise InputError("prompt_style", f"one of {', '.join(get_args(PromptStyle))}", prompt_style)
        return BedrockAuthor.connect(model_id=model_id, prompt_style=prompt_style, region=region)  # type: ignore[arg-type]
    raise InputError("author", f"one of {', '.join(get_args(AuthorName))}", name)
