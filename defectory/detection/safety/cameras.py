"""Which uploads are one camera's: those whose keys start with its prefix, the longest that fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class HasPrefix(Protocol):
    """A camera with the prefix of its uploads' keys."""

    @property
    def prefix(self) -> str:
        """What the keys start with."""


Camera = TypeVar("Camera", bound=HasPrefix)


def find_camera(cameras: Sequence[Camera], key: str) -> Camera | None:
    """The camera whose prefix is the longest that ``key`` starts with; None if there is none."""
    fitting = [camera for camera in cameras if key.startswith(camera.prefix)]
    return max(fitting, key=lambda camera: len(camera.prefix), default=None)


class CameraPrefix(BaseModel):
    """A camera's name and prefix, whatever else is said of it."""

    model_config = ConfigDict(frozen=True)

    camera: str
    prefix: str


class CameraPrefixes(BaseModel):
    """The cameras of a file of rules, read by those who need not know the rules."""

    model_config = ConfigDict(frozen=True)

    cameras: tuple[CameraPrefix, ...] = ()

    @classmethod
    def read(cls, content: bytes | None) -> CameraPrefixes:
        """The cameras in the file's ``content``; none if there is no file, or it holds something else.

        Whoever needs the rules says what is wrong with it.
        """
        try:
            return cls.model_validate_json(content or b"{}")
        except ValidationError:
            return cls()

    def name_of(self, key: str) -> str:
        """The camera that the upload ``key`` is of, "" for none."""
        camera = find_camera(self.cameras, key)
        return camera.camera if camera else ""
