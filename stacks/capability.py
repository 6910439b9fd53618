"""A capability's stack: what those of all capabilities have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from defectory.aws.regions import Service
from defectory.config import Config
from defectory.errors import ConfigError
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.removal import removal_policy
from stacks.constructs.secure_bucket import SecureBucket


class Capability(Stack):
    """``alerts`` tell people of what fails; ``access_logs`` say who reached the stack's buckets.

    Raises:
        ConfigError: the region is not known to have one of the services in ``NEEDS``.
    """

    NEEDS: ClassVar[tuple[Service, ...]] = ()

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        description: str,
        **stack: Any,  # noqa: ANN401
    ) -> None:
        if missing := config.missing_services(*self.NEEDS):
            services = " and ".join(missing)
            fix = "Choose another region, or set check_region=false if AWS has come to offer it."
            raise ConfigError("region", f"one that has {services}, which {description} needs", config.region, fix)
        super().__init__(scope, construct_id, description=f"Defectory: {description}", **stack)
        self.config = config
        self.removal_policy = removal_policy(config)
        self.alerts = AlertTopic(self, "Alerts", email=config.alert_email, key=self._company_key())
        self.access_logs = SecureBucket(
            self,
            "AccessLogs",
            logs=None,
            removal_policy=self.removal_policy,
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(config.log_retention_days))],
        )

    def _company_key(self) -> kms.IKey | None:
        arn = self.config.kms_key_arn
        return kms.Key.from_key_arn(self, "CompanyKey", arn) if arn else None

    def build_bucket(self, name: str, *, overwritten_days: int = 30) -> SecureBucket:
        """A bucket whose objects are kept as long as configured, and ``overwritten_days`` once they are overwritten."""
        return SecureBucket(
            self,
            name,
            logs=self.access_logs,
            removal_policy=self.removal_policy,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=Duration.days(self.config.retention_days),
                    noncurrent_version_expiration=Duration.days(overwritten_days),
                )
            ],
        )

    def build_lasting_bucket(self, name: str) -> SecureBucket:
        """A bucket for what is worth keeping as long as whoever put it there says."""
        return SecureBucket(
            self,
            name,
            logs=self.access_logs,
            removal_policy=self.removal_policy,
            versioned=True,
            lifecycle_rules=[s3.LifecycleRule(noncurrent_version_expiration=Duration.days(30))],
        )

    def build_function(
        self,
        folder: str,
        description: str,
        environment: Mapping[str, str],
        **options: Any,  # noqa: ANN401
    ) -> PythonFunction:
        """``lambdas/<folder>`` with what it imports of defectory; ``options`` are PythonFunction's."""
        return PythonFunction(
            self,
            "".join(word.capitalize() for word in folder.split("_")),
            folder=folder,
            description=description,
            config=self.config,
            alerts=self.alerts,
            environment=environment,
            **options,
        )

    def build_outputs(self, outputs: Mapping[str, str]) -> None:
        """Tell people the names of what they use."""
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)
