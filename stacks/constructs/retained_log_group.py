"""A log group that is kept for as long as the configuration says."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct

from defectory.config import Config


class RetainedLogGroup(logs.LogGroup):
    """Logs of one function or build, for ``log_retention_days``."""

    def __init__(self, scope: Construct, construct_id: str, config: Config) -> None:
        super().__init__(scope, construct_id, removal_policy=RemovalPolicy(config.removal_policy.upper()))
        resource = self.node.default_child
        assert isinstance(resource, logs.CfnLogGroup)
        # The CDK's own enumeration has names for the same numbers, which the configuration has checked already.
        resource.retention_in_days = config.log_retention_days
