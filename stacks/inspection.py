"""Inspection: the bucket of uploads, the queue and the state machine that work on them, and what they end as."""

from __future__ import annotations

from typing import Any

from aws_cdk import Aws, Duration
from constructs import Construct

from defectory.config import Config
from defectory.inspection.line.results_table import INDEXES
from defectory.line.results_table import OUTCOME_INDEX
from stacks.capability import Capability
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.kept_table import KeptTable
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.training_machine import ModelKind, TrainingMachine
from stacks.constructs.upload_line import LineFunction, UploadLine
from stacks.constructs.upload_queue import UploadQueue


class Inspection(Capability):
    """From an image in the bucket of uploads to a row of results, a heatmap and an alert."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, **stack: Any) -> None:  # noqa: ANN401
        super().__init__(
            scope, construct_id, config=config, description="visual inspection of uploaded images", **stack
        )
        # Training and deployment make the endpoint; that the line calls it by name lets either come first.
        self.endpoint_name = f"{config.name}-inspection"
        self.defects, self.reviews = (self._build_topic(name) for name in ("Defects", "Reviews"))
        # Rows name versions: an image that was overwritten stays as long as its row.
        self.uploads, self.results = (
            self.build_bucket(name, overwritten_days=config.retention_days) for name in ("Uploads", "Results")
        )
        self.table = KeptTable(
            self, "Inspections", partition="inspection_id", indexes=INDEXES, removal_policy=self.removal_policy
        )
        # Datasets, the frozen test set, and models.
        self.models = self.build_lasting_bucket("Models")
        self.queue = UploadQueue(
            self, "UploadQueue", config=config, bucket=self.uploads, alerts=self.alerts, of="the inspection line"
        )
        self.inspect = self._build_inspect()
        self.line = self._build_line()
        self.confirm = self._build_confirm()
        self.training = TrainingMachine(
            self,
            "Training",
            config=config,
            alerts=self.alerts,
            kind=ModelKind.inspection(),
            bucket=self.models,
            endpoint_name=self.endpoint_name,
            serving=self.inspect if config.inspection_endpoint == "lambda" else None,
        )
        self.build_outputs(
            {
                "UploadBucketName": self.uploads.bucket_name,
                "ResultsBucketName": self.results.bucket_name,
                "ResultsTableName": self.table.table_name,
                "StateMachineArn": self.line.machine.state_machine_arn,
                "EndpointName": self.endpoint_name,
                "DefectTopicArn": self.defects.topic.topic_arn,
                "ReviewTopicArn": self.reviews.topic.topic_arn,
                "QueueUrl": self.queue.queue.queue_url,
                "DeadLetterQueueUrl": self.queue.dead_letters.queue.queue_url,
                "ConfirmFunctionName": self.confirm.function.function_name,
                "TrainingBucketName": self.models.bucket_name,
                "TrainingMachineArn": self.training.machine.state_machine_arn,
            }
        )

    def _build_topic(self, name: str) -> AlertTopic:
        return AlertTopic(
            self,
            name,
            email=self.config.defect_email,
            key=self.alerts.key,
            display_name=f"Defectory {name.lower()}",
        )

    def _build_inspect(self) -> PythonFunction:
        """The function that inspects one upload: it asks the endpoint, or has the model itself."""
        environment = {
            "RESULTS_BUCKET": self.results.bucket_name,
            "RETENTION_DAYS": str(self.config.retention_days),
        }
        options: dict[str, Any] = {"timeout": Duration.minutes(3), "caller_retries": True}
        if self.config.inspection_endpoint == "lambda":
            inspect = self._build_function(
                "inspect_with_model",
                "Inspects one upload by the model in service",
                {**environment, "TRAINING_BUCKET": self.models.bucket_name},
                # The largest image and a model in memory, several times over.
                memory_size=3008,
                **options,
            )
            models = self.models.arn_for_objects("*")
            allow(inspect.role, ["s3:GetObject"], [models])
            # Without it a missing object looks like a forbidden one.
            allow(inspect.role, ["s3:ListBucket"], [self.models.bucket_arn])
            acknowledge_wildcards(inspect.role, [models], "Models of every run, and test sets of any name.")
        else:
            inspect = self._build_function(
                "inspect_image",
                "Inspects one upload by the model's endpoint",
                {**environment, "ENDPOINT_NAME": self.endpoint_name},
                # The largest image in memory, several times over.
                memory_size=2048,
                **options,
            )
            endpoint = f"arn:{Aws.PARTITION}:sagemaker:{self.region}:{Aws.ACCOUNT_ID}:endpoint/{self.endpoint_name}"
            # SageMaker does not find one that is still being made: whether it comes, its description says.
            allow(inspect.role, ["sagemaker:InvokeEndpoint", "sagemaker:DescribeEndpoint"], [endpoint])
        uploads, results = self.uploads.arn_for_objects("*"), self.results.arn_for_objects("*")
        allow(inspect.role, ["s3:GetObjectVersion"], [uploads])
        # Without it an upload that was deleted looks like a forbidden one.
        allow(inspect.role, ["s3:ListBucket"], [self.uploads.bucket_arn])
        allow(inspect.role, ["s3:PutObject"], [results])
        acknowledge_wildcards(inspect.role, [uploads, results], "Any upload is inspected, by this one function.")
        return inspect

    def _build_line(self) -> UploadLine:
        return UploadLine(
            self,
            self,
            name="inspection",
            queue=self.queue,
            table=self.table,
            results=self.results,
            topics={"DEFECT_TOPIC_ARN": self.defects, "REVIEW_TOPIC_ARN": self.reviews},
            inspect=self.inspect,
            start=LineFunction("start_inspection", "Starts an inspection for every upload, once"),
            record=LineFunction("record_inspection", "Writes the row of an inspection, or of its failure"),
            notify=LineFunction("send_alert", "Tells people of one inspection"),
            digest=LineFunction("send_digest", "Tells people of all inspections that had no mail of their own"),
            # What waits for a person's word.
            digest_indexes=[OUTCOME_INDEX],
        )

    def _build_confirm(self) -> PythonFunction:
        confirm = self._build_function(
            "confirm_inspection",
            "Writes down a person's word on an inspected part",
            {"RESULTS_TABLE": self.table.table_name},
        )
        allow(confirm.role, ["dynamodb:GetItem", "dynamodb:UpdateItem"], [self.table.table_arn])
        return confirm

    def _build_function(
        self,
        folder: str,
        description: str,
        environment: dict[str, str],
        **options: Any,  # noqa: ANN401
    ) -> PythonFunction:
        return self.build_function(folder, description, environment, **{"timeout": Duration.seconds(50), **options})
