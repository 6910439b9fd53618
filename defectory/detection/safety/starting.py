"""Registering images, in the order in which their uploads are taken up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from defectory.detection.safety.cameras import CameraPrefixes
from defectory.detection.safety.frames import Frame, FrameTable
from defectory.detection.safety.rules_file import RulesFile
from defectory.line.uploads import Upload


@dataclass(slots=True)
class FrameRegistrar:
    """Registers the images of one batch; the cameras are looked up once."""

    frames: FrameTable
    rules: RulesFile
    _cameras: CameraPrefixes | None = field(default=None, init=False)

    def register(self, upload: Upload) -> None:
        """Register the image, if it is of a camera.

        Raises:
            ServiceError: the table or the bucket refuses.
        """
        if self._cameras is None:
            self._cameras = CameraPrefixes.read(self.rules.read())
        if camera := self._cameras.name_of(upload.key):
            frame = Frame.of(camera, upload.uploaded_at, upload.key, upload.inspection_id)
            self.frames.register(frame, datetime.now(UTC))
