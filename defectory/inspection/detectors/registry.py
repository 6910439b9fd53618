"""The detectors by the name a model's card calls them."""

from __future__ import annotations

from defectory.inspection.detectors import Detector
from defectory.inspection.detectors.padim import Padim
from defectory.inspection.detectors.patchcore import PatchCore

DETECTORS: dict[str, type[Detector]] = {"patchcore": PatchCore, "padim": Padim}
