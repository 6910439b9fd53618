"""Token counts as CloudWatch metrics: lines of the embedded metric format, which CloudWatch Logs reads from any log.

Lambda and CodeBuild write standard output to CloudWatch Logs, so nobody needs leave for ``PutMetricData``.
"""

from __future__ import annotations

import threading
from collections import defaultdict

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from defectory.aws.tokens import TokenUsage

NAMESPACE = "Defectory"
_NAMES = {
    "InputTokens": "input",
    "OutputTokens": "output",
    "CacheReadTokens": "cache_read",
    "CacheWriteTokens": "cache_write",
}


class TokenMetrics:
    """Counts tokens by model and service tier until ``flush``; threads may count at the same time.

    Args:
        deployment: the deployment's name, the dimension ``service``.
    """

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
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
            metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._deployment)
            metrics.add_dimension("model", model_id)
            metrics.add_dimension("tier", tier)
            for name, field in _NAMES.items():
                metrics.add_metric(name, MetricUnit.Count, getattr(usage, field))
            metrics.flush_metrics()
