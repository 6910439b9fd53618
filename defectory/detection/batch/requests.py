"""Requests for scenes: the input of the state machine, checked before anything is written."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from defectory.aws.object_keys import check_key_length
from defectory.datasets.batches import MAX_BATCH, NAME_RULE, Folder, parse_event
from defectory.detection.layouts.records import MAX_SIDE, Split
from defectory.errors import InputError
from defectory.vision.arrays import PictureFormat

RendererName = Literal["compositor", "bedrock", "gligen"]

MAX_SEED = 2**31 - 1

MAX_CALLS = 1_000_000
"""Calls of an image model that a request may allow; each costs some cents."""

RULES = {
    "user_id": NAME_RULE,
    "dataset": NAME_RULE,
    "preset": "ppe, housekeeping or floor, or the key of a YAML file of your own below <user_id>/ in the bucket",
    "layouts": "the key of a file of layouts, as `defectory detect layouts` writes it, below <user_id>/ in the bucket",
    "count": f"a whole number of scenes, from 1 to {MAX_BATCH}",
    "split": "train or test",
    "seed": f"a whole number from 0 to {MAX_SEED}",
    "size": f"a whole number of pixels, from 64 to {MAX_SIDE}: the side of the pictures",
    "format": "jpg or png",
    "renderer": "compositor, bedrock or gligen",
    "cutouts": "a prefix with a folder of cut-outs, below <user_id>/ in the bucket",
    "only_own": "true or false: whether the embedded cut-outs are left out",
    "backgrounds": "a prefix with photos, below <user_id>/ in the bucket",
    "min_visible": "a number from 0 to 1: the share of an object that has to be seen",
    "detector": "the key of a detector's bundle, below <user_id>/ in the bucket",
    "min_iou": "a number above 0, at most 1: the IoU of the box asked for and the one that the detector sees",
    "call_limit": f"a whole number from 1 to {MAX_CALLS}: so many calls of the image model are allowed",
    "steps": "a whole number of steps of denoising, from 1 to 500",
    "guidance": "a number from 1 to 50: how closely the picture keeps to the words",
}

# Fields that mean something to one renderer alone, or to those that paint.
_MEANT_FOR: dict[str, tuple[RendererName, ...]] = {
    "cutouts": ("compositor",),
    "only_own": ("compositor",),
    "min_visible": ("compositor",),
    "backgrounds": ("compositor", "bedrock"),
    "detector": ("bedrock", "gligen"),
    "min_iou": ("bedrock", "gligen"),
    "call_limit": ("bedrock",),
    "steps": ("gligen",),
    "guidance": ("gligen",),
}


class Recipe(Folder):
    """What the scenes of a dataset have in common: all its executions ask for the same."""

    split: Split = "train"
    format: PictureFormat = "jpg"
    renderer: RendererName = "compositor"
    cutouts: str = ""
    only_own: bool = False
    backgrounds: str = ""
    min_visible: float = Field(default=0.25, ge=0, le=1)
    detector: str = ""
    min_iou: float = Field(default=0.5, gt=0, le=1)
    steps: int = Field(default=50, ge=1, le=500)
    guidance: float = Field(default=7.5, ge=1, le=50)

    @property
    def paints(self) -> bool:
        """Whether a model paints, so that its pictures have to be checked."""
        return self.renderer != "compositor"


class ScenesRequest(Recipe):
    """Scenes of a preset's layouts, or of layouts in the bucket."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    preset: str = Field(default="", max_length=1024)
    layouts: str = ""
    count: int | None = Field(default=None, ge=1, le=MAX_BATCH)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    size: int = Field(default=512, ge=64, le=MAX_SIDE)
    call_limit: int = Field(default=1000, ge=1, le=MAX_CALLS)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._names_its_users_files_alone()
        if bool(self.preset) == bool(self.layouts):
            raise InputError("preset", "given, or layouts, and not both", self.preset)
        if self.preset and self.count is None:
            raise InputError("count", RULES["count"], fix="It is missing.")
        for name in ("seed", "size"):
            if self.layouts and name in self.model_fields_set:
                raise InputError(name, "left out where layouts are given: they say it themselves", getattr(self, name))
        for name, renderers in _MEANT_FOR.items():
            if name in self.model_fields_set and self.renderer not in renderers:
                raise InputError(name, f"left out unless the renderer is {' or '.join(renderers)}", getattr(self, name))
        if self.paints and not self.detector:
            fix = "What is painted is taken for a scene only where a detector sees what was asked for."
            raise InputError("detector", RULES["detector"], fix=f"It is missing. {fix}")
        if self.only_own and not self.cutouts:
            raise InputError("only_own", "left out where there are no cutouts of your own", self.only_own)
        return self

    def _names_its_users_files_alone(self) -> None:
        own = [name for name in ("layouts", "cutouts", "backgrounds", "detector") if getattr(self, name)]
        if "/" in self.preset:
            own.append("preset")
        for name in own:
            key = getattr(self, name)
            check_key_length(name, key)
            if not self.is_own(key):
                raise InputError(name, RULES[name], key, f"Upload it below {self.user_id}/, and name that.")
            if self.has(key):
                raise InputError(name, RULES[name], key, f"In {self.prefix} is what is made; take another dataset.")

    @property
    def recipe(self) -> Recipe:
        """What all executions for its dataset have to ask for alike."""
        return Recipe(**{name: getattr(self, name) for name in Recipe.model_fields})


def parse_scenes_request(event: object) -> ScenesRequest:
    """Check the input of the state machine.

    Raises:
        InputError: names the first offending field and its rule.
    """
    example = "user_id, dataset, and preset and count, or layouts"
    more = "Divide it among several executions, each with a seed of its own."
    return parse_event(ScenesRequest, event, RULES, example=example, too_large={"count": more})
