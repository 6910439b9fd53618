"""The table of what was seen: a line's results, found by camera as well.

Besides the indexes of every line, the sparse ``camera-index`` (``camera``, ``uploaded_at``).
"""

from __future__ import annotations

from collections.abc import Iterator

from defectory.detection.safety.records import SafetyRecord
from defectory.line.results_table import INDEXES as INDEXES_OF_LINES
from defectory.line.results_table import RecordTable

CAMERA_INDEX = "camera-index"
INDEXES = {**INDEXES_OF_LINES, CAMERA_INDEX: ("camera", "uploaded_at")}


class DetectionsTable(RecordTable[SafetyRecord]):
    """What was seen on each image, by id.  Every method may raise ``ServiceError``."""

    record_type = SafetyRecord

    def of_camera(self, camera: str, since: str = "") -> Iterator[SafetyRecord]:
        """The images of ``camera`` from the moment ``since`` on (``2026-11-21`` say), oldest first."""
        values = {":value": camera, ":since": since or "0"}
        return self._query(CAMERA_INDEX, "camera = :value AND uploaded_at >= :since", values)
