"""Detectors: trained in SageMaker from a dataset in a bucket, past a gate, and served by a function."""

from __future__ import annotations

from aws_cdk import Duration
from constructs import Construct

from stacks.capability import Capability
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.secure_bucket import SecureBucket
from stacks.constructs.training_machine import ModelKind, TrainingMachine


class DetectorTraining(Construct):
    """The bucket of detectors, the function ``detect`` that serves the one in service, and the machine that trains.

    Start ``training.machine`` with ``{"dataset": "datasets/yard/"}``, a prefix in ``scenes``; the frozen test set is
    under ``test/`` of ``models``.  Whoever has ``detect`` look at images grants its role leave to read them.
    """

    def __init__(self, scope: Capability, construct_id: str, *, scenes: SecureBucket) -> None:
        super().__init__(scope, construct_id)
        self._capability = scope
        # Detectors, the frozen test set, and the rules of safety.
        self.models = scope.build_lasting_bucket("Models", scope=self)
        self.detect = self._build_detect()
        self.training = TrainingMachine(
            self,
            "Training",
            config=scope.config,
            alerts=scope.alerts,
            kind=ModelKind.detector(),
            bucket=self.models,
            datasets=scenes,
            endpoint_name=f"{scope.config.name}-detection",
            serving=self.detect,
        )

    def _build_detect(self) -> PythonFunction:
        detect = self._capability.build_function(
            "detect_objects",
            "Finds the objects on one image by the detector in service",
            {"TRAINING_BUCKET": self.models.bucket_name},
            timeout=Duration.minutes(3),
            # The largest image and a detector in memory, several times over.
            memory_size=3008,
            caller_retries=True,
        )
        models = self.models.arn_for_objects("*")
        allow(detect.role, ["s3:GetObject"], [models])
        # Without it a missing object looks like a forbidden one.
        allow(detect.role, ["s3:ListBucket"], [self.models.bucket_arn])
        acknowledge_wildcards(detect.role, [models], "Detectors of every run, and test sets of any name.")
        return detect
