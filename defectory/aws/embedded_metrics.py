"""Writing metrics: lines of the embedded metric format, which CloudWatch Logs reads from any log.

Lambda and CodeBuild write standard output to CloudWatch Logs, so nobody needs leave for ``PutMetricData``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from aws_lambda_powertools.metrics import EphemeralMetrics

from defectory.aws.metrics import DEPLOYMENT_VARIABLE, NAMESPACE, Metric


class DeploymentMetrics:
    """Writes the metrics of a deployment.

    Args:
        deployment: the deployment's name.
    """

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment

    @classmethod
    def from_environment(cls) -> Self:
        """Of the deployment that this process belongs to."""
        return cls(os.environ.get(DEPLOYMENT_VARIABLE) or "defectory")

    def put(self, values: Mapping[Metric, float], **dimensions: str) -> None:
        """Print one line with ``values``; ``dimensions`` are those that all of the metrics have.

        Raises:
            ValueError: a metric has other dimensions.
        """
        line = EphemeralMetrics(namespace=NAMESPACE, service=self._deployment)
        for dimension, text in dimensions.items():
            line.add_dimension(dimension, text)
        for metric, value in values.items():
            if set(metric.dimensions) != dimensions.keys():
                raise ValueError(f"{metric.name} has the dimensions {metric.dimensions}, not {tuple(dimensions)}.")
            line.add_metric(metric.name, metric.unit, value)
        line.flush_metrics()

    def put_outcomes(self, metric: Metric, counts: Mapping[str, int]) -> None:
        """Print how often each outcome came about: a line for each that did."""
        for outcome, count in counts.items():
            if count:
                self.put({metric: count}, outcome=outcome)
