"""The image models that are deployed: which renderers they make possible."""

from __future__ import annotations

from dataclasses import dataclass

from defectory.errors import InputError, require_extra
from defectory.images.renderers import Renderer, RendererName
from defectory.images.renderers.names import MODEL_SETTINGS, mode_of

PATIENCE = 60.0
"""Seconds after which a busy model is not asked again: the state machine waits longer, and at no cost."""


@dataclass(frozen=True, slots=True)
class ImageModels:
    """Models in ``region``: one that makes pictures of text or of a picture, one that inpaints; "" is none."""

    region: str
    image_model_id: str
    inpaint_model_id: str

    @property
    def by_renderer(self) -> dict[RendererName, str]:
        """The id of the model that each renderer calls."""
        model_ids = {name: getattr(self, setting) for name, setting in MODEL_SETTINGS.items()}
        return {name: model_id for name, model_id in model_ids.items() if model_id}

    def check(self, name: RendererName) -> None:
        """Raise ``InputError`` if the renderer needs a model that is not deployed."""
        if name in MODEL_SETTINGS and name not in self.by_renderer:
            fix = (
                f"This deployment has no {MODEL_SETTINGS[name]}; deploy it with one (they are in the USA alone: "
                "photos_may_leave=true lets photos go there), or use procedural or transplant."
            )
            raise InputError("renderer", "one whose model is deployed", name, fix)

    def renderer(self, name: RendererName) -> Renderer:
        """The renderer ``name``, one of Bedrock's.

        Raises:
            InputError: its model is not deployed, or cannot do this.
            MissingExtraError: the extra ``aws`` is not installed.
        """
        # Whoever draws needs no client of Bedrock.
        require_extra("aws")
        from defectory.aws.image_models import create_image_model
        from defectory.images.renderers.bedrock import BedrockRenderer

        self.check(name)
        mode = mode_of(name)
        return BedrockRenderer(mode, create_image_model(self.by_renderer[name], self.region, patience=PATIENCE))
