"""Rules of safety for each camera, as they are set and as the line reads them.

cameras:
  - camera: dock 1
    prefix: dock-1/
    zones: {A: [[0.1, 0.4], [0.6, 0.4], [0.6, 1], [0.1, 1]]}
    rules:
      - {name: hard hats, label: person, required: [hard_hat], zone: A, min_frames: 3}
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from defectory.detection.rules import Name, SafetyRules
from defectory.detection.safety.cameras import find_camera
from defectory.validation import FrozenModel, explain

MOST_FRAMES = 1000
"""Images in a row that a rule of the line may ask for: so many are looked back at."""

Minutes = Annotated[int, Field(le=7 * 24 * 60)]


class CameraRules(SafetyRules):
    """One camera, its zones and its rules.

    Args:
        camera: what alerts call it.
        prefix: what the keys of its uploads start with.
        within_minutes: images that are further apart than this are not in a row.
        repeat_minutes: while a rule stays broken, or is broken again, people are told of it so often at most.
    """

    camera: Name
    prefix: str = Field(max_length=1000)
    within_minutes: Minutes = Field(default=60, ge=1)
    repeat_minutes: Minutes = Field(default=15, ge=0)

    @model_validator(mode="after")
    def _can_be_looked_back_at(self) -> Self:
        for rule in self.rules:
            if rule.min_frames > MOST_FRAMES:
                raise ValueError(f"rule {rule.name!r}: min_frames of at most {MOST_FRAMES}")
        return self


class MonitoredCameras(FrozenModel):
    """All cameras of the line."""

    cameras: tuple[CameraRules, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _are_told_apart(self) -> Self:
        for field in ("camera", "prefix"):
            values = [getattr(camera, field) for camera in self.cameras]
            if len(set(values)) != len(values):
                raise ValueError(f"cameras that differ in {field}")
        return self

    def of(self, key: str) -> CameraRules | None:
        """The camera that the upload ``key`` is of; None if no prefix fits."""
        return find_camera(self.cameras, key)


def parse_cameras(document: object) -> MonitoredCameras:
    """Check a document from outside.

    Raises:
        InputError: names the first offending field and its rule.
    """
    try:
        return MonitoredCameras.model_validate(document)
    except ValidationError as error:
        raise explain(error) from None


def read_cameras(content: bytes) -> MonitoredCameras:
    """The cameras in a file of JSON.

    Raises:
        InputError: it holds something else.
    """
    try:
        return MonitoredCameras.model_validate_json(content)
    except ValidationError as error:
        raise explain(error) from None
