"""A log group that is kept for as long as the configuration says."""

from __future__ import annotations

from aws_cdk import aws_logs as logs
from constructs import Construct

from defectory.config import Config
from stacks.constructs.removal import removal_policy


class RetainedLogGroup(logs.LogGroup):
    """Logs of a function, build or state machine, for ``log_retention_days``; ``name`` is CloudFormation's if None."""

    def __init__(self, scope: Construct, construct_id: str, config: Config, *, name: str | None = None) -> None:
        super().__init__(scope, construct_id, log_group_name=name, removal_policy=removal_policy(config))
        resource = self.node.default_child
        assert isinstance(resource, logs.CfnLogGroup)
        # The CDK's own enumeration has names for the same numbers, which the configuration has checked already.
        resource.retention_in_days = config.log_retention_days
