"""Token counts as metrics, by model and service tier."""

from __future__ import annotations

import threading
from collections import defaultdict

from defectory.aws import metrics
from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.aws.tokens import TokenUsage

_FIELDS = {
    metrics.INPUT_TOKENS: "input",
    metrics.OUTPUT_TOKENS: "output",
    metrics.CACHE_READ_TOKENS: "cache_read",
    metrics.CACHE_WRITE_TOKENS: "cache_write",
}


class TokenMetrics:
    """Counts tokens by model and service tier until ``flush``; threads may count at the same time.

    Args:
        writer: where the counts go.
    """

    def __init__(self, writer: DeploymentMetrics) -> None:
        self._writer = writer
        self._totals: defaultdict[tuple[str, str], TokenUsage] = defaultdict(TokenUsage)
        self._lock = threading.Lock()

    def count(self, model_id: str, tier: str, usage: TokenUsage) -> None:
        """Add the tokens of one answer."""
        with self._lock:
            self._totals[model_id, tier] += usage

    def flush(self) -> None:
        """Print what was counted, one line for each model and tier, and begin again.

        To be called where no other thread prints: a line that is broken is no metric.
        """
        with self._lock:
            totals = dict(self._totals)
            self._totals.clear()
        for (model_id, tier), usage in totals.items():
            values = {metric: getattr(usage, field) for metric, field in _FIELDS.items()}
            self._writer.put(values, model=model_id, tier=tier)
