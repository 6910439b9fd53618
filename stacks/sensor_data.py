"""Sensor data: the trigger function, the requests table, the pipeline of five actions, and the bucket of datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from constructs import Construct

from defectory.aws.metrics import DEPLOYMENT_VARIABLE
from defectory.config import Config
from defectory.sensors.service.requests_table import ACTIVE_INDEX
from stacks.capability import Capability
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.fleet_machine import FLEET_MANIFESTS, FleetMachine
from stacks.constructs.model_access import grant_invoke_model
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.request_pipeline import RequestPipeline


class SensorData(Capability):
    """From ``{industry, number, user_id}`` to datasets in the data bucket."""

    NEEDS = ("codebuild", "codepipeline")

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, **stack: Any) -> None:  # noqa: ANN401
        super().__init__(scope, construct_id, config=config, description="labelled sensor data for machines", **stack)
        self.table = self._build_table()
        self.data = self.build_bucket("Data")
        self.pipeline = RequestPipeline(
            self,
            "Pipeline",
            config=config,
            access_logs=self.access_logs,
            work_environment={**self._author_environment(), "SERVICE_TIER": self.config.service_tier},
            publish_environment={
                "REQUESTS_TABLE": self.table.table_name,
                "DATA_BUCKET": self.data.bucket_name,
                "ALERTS_TOPIC_ARN": self.alerts.topic.topic_arn,
                DEPLOYMENT_VARIABLE: config.name,
            },
        )
        self._allow_actions()
        self.trigger = self._build_trigger()
        self.closer = self._build_closer()
        self.fleets = FleetMachine(
            self, "Fleets", config=config, alerts=self.alerts, trigger=self.trigger, table=self.table, data=self.data
        )
        self._build_rules()
        self.build_outputs(
            {
                "FunctionName": self.trigger.function.function_name,
                "TableName": self.table.table_name,
                "DataBucketName": self.data.bucket_name,
                "PipelineName": self.pipeline.name,
                "AlertsTopicArn": self.alerts.topic.topic_arn,
                "FleetMachineArn": self.fleets.machine.state_machine_arn,
                **({"RepositoryName": repository} if (repository := self.pipeline.repository_name) else {}),
            }
        )

    def _build_table(self) -> dynamodb.TableV2:
        return dynamodb.TableV2(
            self,
            "Requests",
            partition_key=dynamodb.Attribute(name="user_id", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="request_id", type=dynamodb.AttributeType.STRING),
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.aws_managed_key(),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expires_at",
            global_secondary_indexes=[
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=ACTIVE_INDEX,
                    partition_key=dynamodb.Attribute(name="active", type=dynamodb.AttributeType.STRING),
                    sort_key=dynamodb.Attribute(name="request_id", type=dynamodb.AttributeType.STRING),
                    projection_type=dynamodb.ProjectionType.KEYS_ONLY,
                )
            ],
            removal_policy=self.removal_policy,
        )

    def _author_environment(self) -> Mapping[str, str]:
        return {
            "REQUESTS_TABLE": self.table.table_name,
            "AUTHOR": self.config.author,
            "MODEL_ID": self.config.model_id,
            "BASE_MODEL_ID": self.config.base_model_id,
            "PROMPT_STYLE": self.config.prompt_style,
            DEPLOYMENT_VARIABLE: self.config.name,
        }

    def _allow_actions(self) -> None:
        """What each action reaches beyond artifacts and logs.  Run and Rerun, which run generated code: nothing."""
        for action in (self.pipeline.write, self.pipeline.repair):
            self._allow_table(action.role, "GetItem", "UpdateItem")
            grant_invoke_model(action.role, self.config)
        publisher = self.pipeline.publish.role
        self._allow_table(publisher, "GetItem", "UpdateItem")
        self.alerts.grant_publish(publisher)
        datasets = self.data.arn_for_objects("*")
        allow(publisher, ["s3:ListBucket"], [self.data.bucket_arn])
        allow(publisher, ["s3:PutObject", "s3:AbortMultipartUpload"], [datasets])
        acknowledge_wildcards(publisher, [datasets], "Datasets of every user and request are published by this role.")

    def _build_trigger(self) -> PythonFunction:
        trigger = self.build_function(
            "request_sensor_data",
            "Accepts {industry, number, user_id} and starts the pipeline",
            {
                **self._author_environment(),
                **self._function_environment(),
                "RETENTION_DAYS": str(self.config.retention_days),
                "DATA_BUCKET": self.data.bucket_name,
                "FLEET_MACHINES": str(self.config.fleet_machines),
            },
            # A model may be asked twice, and be throttled for minutes each time.
            timeout=Duration.minutes(10),
        )
        self._allow_table(trigger.role, "GetItem", "PutItem", "UpdateItem")
        self.alerts.grant_publish(trigger.role)
        grant_invoke_model(trigger.role, self.config)
        allow(trigger.role, ["codepipeline:StartPipelineExecution"], [self.pipeline.arn])
        # Lists of machines, wherever a user has put them; what is missing must not look forbidden.
        lists, manifests = (self.data.arn_for_objects(key) for key in ("*.json", FLEET_MANIFESTS))
        allow(trigger.role, ["s3:GetObject"], [lists])
        allow(trigger.role, ["s3:ListBucket"], [self.data.bucket_arn])
        allow(trigger.role, ["s3:PutObject"], [manifests])
        acknowledge_wildcards(trigger.role, [lists, manifests], "Fleets of every user are planned by this function.")
        return trigger

    def _build_closer(self) -> PythonFunction:
        closer = self.build_function(
            "close_failed_request",
            "Closes requests whose pipeline failed or was stopped, and tells people",
            self._function_environment(),
            timeout=Duration.minutes(5),
        )
        self._allow_table(closer.role, "GetItem", "UpdateItem")
        allow(closer.role, ["dynamodb:Query"], [f"{self.table.table_arn}/index/{ACTIVE_INDEX}"])
        self.alerts.grant_publish(closer.role)
        reading = ["codepipeline:GetPipelineExecution", "codepipeline:ListActionExecutions"]
        allow(closer.role, reading, [self.pipeline.arn])
        return closer

    def _function_environment(self) -> Mapping[str, str]:
        return {
            "REQUESTS_TABLE": self.table.table_name,
            "PIPELINE_NAME": self.pipeline.name,
            "ALERTS_TOPIC_ARN": self.alerts.topic.topic_arn,
        }

    def _build_rules(self) -> None:
        # SUCCEEDED as well: nothing is owed after Publish, and the function makes sure of it.
        ended = events.Rule(
            self,
            "PipelineEnded",
            description="Defectory: a pipeline execution ended, whether or not its request is closed",
            event_pattern=events.EventPattern(
                source=["aws.codepipeline"],
                detail_type=["CodePipeline Pipeline Execution State Change"],
                detail={"pipeline": [self.pipeline.name], "state": ["FAILED", "STOPPED", "CANCELED", "SUCCEEDED"]},
            ),
        )
        hourly = events.Rule(
            self,
            "Hourly",
            description="Defectory: close requests that nobody works on any more",
            schedule=events.Schedule.rate(Duration.hours(1)),
        )
        for rule in (ended, hourly):
            rule.add_target(
                targets.LambdaFunction(
                    self.closer.function,
                    dead_letter_queue=self.closer.dead_letters.queue,
                    retry_attempts=8,
                    max_event_age=Duration.hours(2),
                )
            )

    def _allow_table(self, role: iam.Role, *verbs: str) -> None:
        allow(role, [f"dynamodb:{verb}" for verb in verbs], [self.table.table_arn])
