"""Re-exported where they were until 0.1: `defectory.datasets` has them."""

from __future__ import annotations

from defectory.datasets.masks import read_classes, read_mask
from defectory.datasets.sources import load_dataset
from defectory.inspection.label_check import check

__all__ = ["check", "load_dataset", "read_classes", "read_mask"]
