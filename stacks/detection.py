"""Detection: the bucket of scenes and detectors, and what fills and uses it."""

from __future__ import annotations

from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_s3 as s3
from constructs import Construct

from defectory.config import Config
from stacks.capability import Capability
from stacks.constructs.safety_line import SafetyLine
from stacks.constructs.secure_bucket import SecureBucket


class Detection(Capability):
    """From layouts to scenes with true boxes, and from pictures of a place to what its rules say, in one bucket."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, **stack: Any) -> None:  # noqa: ANN401
        super().__init__(scope, construct_id, config=config, description="scenes, and detectors of objects", **stack)
        self.scenes = self.build_bucket("Scenes")
        self.models = self._build_models()
        self.safety = SafetyLine(self, "Safety", models=self.models, endpoint_name=f"{config.name}-detection")
        self.build_outputs(
            {
                **self.safety.outputs(),
                "DetectorBucketName": self.models.bucket_name,
                "ScenesBucketName": self.scenes.bucket_name,
                "DetectionAlertsTopicArn": self.alerts.topic.topic_arn,
            }
        )

    def _build_models(self) -> SecureBucket:
        """Detectors, and the rules of safety: they are worth keeping until somebody says otherwise."""
        return SecureBucket(
            self,
            "Models",
            logs=self.access_logs,
            removal_policy=self.removal_policy,
            versioned=True,
            lifecycle_rules=[s3.LifecycleRule(noncurrent_version_expiration=Duration.days(30))],
        )
