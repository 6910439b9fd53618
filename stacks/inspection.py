"""Inspection: the bucket of uploads, the queue and the state machine that work on them, and what they end as."""

from __future__ import annotations

from typing import Any

from aws_cdk import Aws, Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from defectory.config import Config
from defectory.inspection.line.results_table import INDEXES, OUTCOME_INDEX, PENDING_INDEX
from stacks.capability import Capability
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.inspection_machine import InspectionMachine
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.secure_bucket import SecureBucket
from stacks.constructs.training_machine import TrainingMachine
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
        self.table = self._build_table()
        self.models = self._build_models()
        self.queue = UploadQueue(self, "UploadQueue", config=config, bucket=self.uploads, alerts=self.alerts)
        self.inspect = self._build_inspect()
        self.line = self._build_line()
        self._build_start()
        self._build_digest()
        self.confirm = self._build_confirm()
        self.training = TrainingMachine(
            self,
            "Training",
            config=config,
            alerts=self.alerts,
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

    def _build_table(self) -> dynamodb.TableV2:
        return dynamodb.TableV2(
            self,
            "Inspections",
            partition_key=_text("inspection_id"),
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.aws_managed_key(),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expires_at",
            global_secondary_indexes=[
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=name, partition_key=_text(partition), sort_key=_text(sort)
                )
                for name, (partition, sort) in INDEXES.items()
            ],
            removal_policy=self.removal_policy,
        )

    def _build_models(self) -> SecureBucket:
        """Datasets, the frozen test set, and models: whoever uploaded them knows how long they are worth keeping."""
        return SecureBucket(
            self,
            "Models",
            logs=self.access_logs,
            removal_policy=self.removal_policy,
            versioned=True,
            lifecycle_rules=[s3.LifecycleRule(noncurrent_version_expiration=Duration.days(30))],
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

    def _build_line(self) -> InspectionMachine:
        record = self._build_function(
            "record_inspection",
            "Writes the row of an inspection, or of its failure",
            {"RESULTS_TABLE": self.table.table_name, "RETENTION_DAYS": str(self.config.retention_days)},
            caller_retries=True,
        )
        self._allow_table(record.role, "PutItem")
        notify = self._build_function(
            "send_alert",
            "Tells people of one inspection",
            {**self._notifier_environment(), "ALERT_LIMIT_PER_HOUR": str(self.config.alert_limit_per_hour)},
            caller_retries=True,
        )
        self._allow_table(notify.role, "GetItem", "UpdateItem")
        for topic in (self.defects, self.reviews):
            topic.grant_publish(notify.role)
        return InspectionMachine(
            self,
            "Line",
            config=self.config,
            alerts=self.alerts,
            inspect=self.inspect,
            record=record,
            notify=notify,
            dead_letters=self.queue.dead_letters.queue,
        )

    def _build_start(self) -> None:
        start = self._build_function(
            "start_inspection",
            "Starts an inspection for every upload, once",
            {"STATE_MACHINE_ARN": self.line.machine.state_machine_arn},
            timeout=Duration.minutes(1),
            caller_retries=True,
        )
        allow(start.role, ["states:StartExecution"], [self.line.machine.state_machine_arn])
        self.queue.feed(start.function)

    def _build_digest(self) -> None:
        digest = self._build_function(
            "send_digest",
            "Tells people of all inspections that had no mail of their own",
            self._notifier_environment(),
            timeout=Duration.minutes(10),
        )
        self._allow_table(digest.role, "UpdateItem")
        # What alerts are pending for, and what waits for a person's word.
        indexes = [f"{self.table.table_arn}/index/{name}" for name in (PENDING_INDEX, OUTCOME_INDEX)]
        allow(digest.role, ["dynamodb:Query"], indexes)
        for topic in (self.defects, self.reviews):
            topic.grant_publish(digest.role)
        hourly = events.Rule(
            self,
            "Hourly",
            description="Defectory: tell of inspections that had no mail of their own",
            schedule=events.Schedule.rate(Duration.hours(1)),
        )
        hourly.add_target(
            targets.LambdaFunction(
                digest.function,
                dead_letter_queue=digest.dead_letters.queue,
                retry_attempts=3,
                max_event_age=Duration.minutes(30),
            )
        )

    def _build_confirm(self) -> PythonFunction:
        confirm = self._build_function(
            "confirm_inspection",
            "Writes down a person's word on an inspected part",
            {"RESULTS_TABLE": self.table.table_name},
        )
        self._allow_table(confirm.role, "GetItem", "UpdateItem")
        return confirm

    def _build_function(
        self,
        folder: str,
        description: str,
        environment: dict[str, str],
        **options: Any,  # noqa: ANN401
    ) -> PythonFunction:
        return self.build_function(folder, description, environment, **{"timeout": Duration.seconds(50), **options})

    def _notifier_environment(self) -> dict[str, str]:
        return {
            "RESULTS_TABLE": self.table.table_name,
            "RESULTS_BUCKET": self.results.bucket_name,
            "DEFECT_TOPIC_ARN": self.defects.topic.topic_arn,
            "REVIEW_TOPIC_ARN": self.reviews.topic.topic_arn,
        }

    def _allow_table(self, role: iam.Role, *verbs: str) -> None:
        allow(role, [f"dynamodb:{verb}" for verb in verbs], [self.table.table_arn])


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
