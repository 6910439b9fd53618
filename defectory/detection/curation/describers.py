"""Describers by name: who says what is seen of objects."""

from __future__ import annotations

from defectory.detection.curation.attributes import Describer
from defectory.detection.curation.measured_attributes import MeasuredAttributes
from defectory.errors import InputError


def create_describer(
    name: str,
    *,
    model_id: str | None = None,
    base_model_id: str | None = None,
    region: str | None = None,
    most: int = 200,
) -> Describer | None:
    """Make the describer called ``name``: ``measured``, ``bedrock`` or ``none``.

    Args:
        name: who describes.
        model_id: inference profile of a model that sees pictures, for ``bedrock``.
        base_model_id: the model behind it, where its name does not tell.
        region: of the model; the session's when None.
        most: objects that the model is shown, drawn at random where there are more.

    Raises:
        InputError: there is no such describer, or ``bedrock`` lacks a model that can see and has tools.
        MissingExtraError: ``bedrock`` without the extra ``aws``.
    """
    if name == "none":
        return None
    if name == "measured":
        return MeasuredAttributes()
    if name == "bedrock":
        from defectory.detection.curation.bedrock_attributes import BedrockAttributes

        return BedrockAttributes.connect(model_id, base_model_id=base_model_id, region=region, most=most)
    raise InputError("describe", "measured, bedrock or none", name)
