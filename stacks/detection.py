"""Detection: the bucket of scenes and detectors, and what fills and uses it."""

from __future__ import annotations

from typing import Any

from constructs import Construct

from defectory.config import Config
from stacks.capability import Capability
from stacks.constructs.detector_training import DetectorTraining


class Detection(Capability):
    """From layouts to scenes with true boxes, and from pictures of a place to what its rules say, in one bucket."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, **stack: Any) -> None:  # noqa: ANN401
        super().__init__(scope, construct_id, config=config, description="scenes, and detectors of objects", **stack)
        self.scenes = self.build_bucket("Scenes")
        self.detectors = DetectorTraining(self, "Detectors", scenes=self.scenes)
        self.build_outputs(
            {
                "ScenesBucketName": self.scenes.bucket_name,
                "DetectionAlertsTopicArn": self.alerts.topic.topic_arn,
                "DetectFunctionName": self.detectors.detect.function.function_name,
                "DetectorsBucketName": self.detectors.models.bucket_name,
                "DetectorTrainingMachineArn": self.detectors.training.machine.state_machine_arn,
            }
        )
