"""Names of renderers: which of them a choice comes to, which model it calls, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from defectory.errors import InputError
from defectory.images.prompts import Mode
from defectory.images.renderers import RendererName

RendererFamily = Literal["procedural", "transplant", "bedrock"]
"""What makes a picture: it is drawn, moved from another photo, or painted by a model."""

DEFAULT_MODE: Mode = "inpaint"

BEDROCK_RENDERERS: Mapping[Mode, RendererName] = {
    "zero-shot": "bedrock-zero-shot",
    "image-to-image": "bedrock-image-to-image",
    "inpaint": "bedrock-inpaint",
}

MODEL_SETTINGS: Mapping[RendererName, Literal["image_model_id", "inpaint_model_id"]] = {
    "bedrock-zero-shot": "image_model_id",
    "bedrock-image-to-image": "image_model_id",
    "bedrock-inpaint": "inpaint_model_id",
}
"""The setting of `defectory.config.Config` that names the model of a renderer; the others call none."""

_MODES: Mapping[RendererName, Mode] = {name: mode for mode, name in BEDROCK_RENDERERS.items()}


def renderer_name(family: RendererFamily, mode: Mode | None = None) -> RendererName:
    """The renderer that a family and a mode come to; Bedrock's is `DEFAULT_MODE` where none is given.

    >>> renderer_name("bedrock", "zero-shot")
    'bedrock-zero-shot'

    Raises:
        InputError: a mode is given to a family that has none.
    """
    if family == "bedrock":
        return BEDROCK_RENDERERS[mode or DEFAULT_MODE]
    refuse_mode(mode)
    return family


def refuse_mode(mode: Mode | None) -> None:
    """Raise `InputError` if there is a mode, which only Bedrock's renderers have."""
    if mode:
        raise InputError("mode", "given with --renderer bedrock", mode)


def mode_of(name: RendererName) -> Mode:
    """How one of Bedrock's renderers works.

    Raises:
        InputError: it is none of Bedrock's.
    """
    if name not in _MODES:
        raise InputError("renderer", f"one of {', '.join(_MODES)}", name)
    return _MODES[name]


def needs_photo(name: RendererName) -> bool:
    """Whether a renderer changes a photo of a good part; one that has only a text makes a picture from nothing."""
    return name != "bedrock-zero-shot"
