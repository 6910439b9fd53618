"""A line of uploads: from a bucket to rows and alerts, by functions that differ from line to line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aws_cdk import Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from constructs import Construct

from defectory.line.results_table import PENDING_INDEX
from stacks.capability import Capability
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.secure_bucket import SecureBucket
from stacks.constructs.upload_machine import UploadMachine
from stacks.constructs.upload_queue import UploadQueue


@dataclass(frozen=True, slots=True)
class LineFunction:
    """A function of a line: its folder in ``lambdas/``, what it does, and the variables that only this line's has."""

    folder: str
    description: str
    environment: Mapping[str, str] = field(default_factory=dict)


class UploadLine:
    """Takes up what ``queue`` tells of, has it inspected and recorded, and notifies people at once or once an hour.

    It is no construct of its own: its resources are ``stack``'s, their ids made from the functions' folders.

    Args:
        stack: builds the functions.
        scope: of the state machine and the hourly rule.
        name: the state machine's, without the deployment's.
        queue: of the uploads.
        table, results: of the results.
        topics: whom to notify, by the environment variable that has the topic's ARN.
        inspect: the function that inspects one upload.
        start, record, notify, digest: the functions of this line.
        digest_indexes: indexes of the table that the digest asks besides those of pending alerts.
        package: the folders of the functions that share a package, as ``PythonFunction`` takes them.
    """

    def __init__(
        self,
        stack: Capability,
        scope: Construct,
        *,
        name: str,
        queue: UploadQueue,
        table: dynamodb.TableV2,
        results: SecureBucket,
        topics: Mapping[str, AlertTopic],
        inspect: PythonFunction,
        start: LineFunction,
        record: LineFunction,
        notify: LineFunction,
        digest: LineFunction,
        digest_indexes: Sequence[str] = (),
        package: Sequence[str] = (),
    ) -> None:
        self._stack, self._scope = stack, scope
        self._table, self._results, self._topics, self._package = table, results, topics, package
        self.record = self._build_record(record)
        self.machine = UploadMachine(
            scope,
            "Line",
            config=stack.config,
            alerts=stack.alerts,
            name=name,
            inspect=inspect,
            record=self.record,
            notify=self._build_notify(notify),
            dead_letters=queue.dead_letters.queue,
        ).machine
        self.start = self._build_start(start, queue)
        self.digest = self._build_digest(digest, [PENDING_INDEX, *digest_indexes])

    def _build_record(self, function: LineFunction) -> PythonFunction:
        record = self._build(
            function,
            {"RESULTS_TABLE": self._table.table_name, "RETENTION_DAYS": str(self._stack.config.retention_days)},
            caller_retries=True,
        )
        self._allow_table(record.role, "PutItem")
        return record

    def _build_notify(self, function: LineFunction) -> PythonFunction:
        limit = str(self._stack.config.alert_limit_per_hour)
        notify = self._build(
            function, {**self._notifier_environment(), "ALERT_LIMIT_PER_HOUR": limit}, caller_retries=True
        )
        self._allow_table(notify.role, "GetItem", "UpdateItem")
        self._allow_topics(notify.role)
        return notify

    def _build_start(self, function: LineFunction, queue: UploadQueue) -> PythonFunction:
        start = self._build(
            function, {"STATE_MACHINE_ARN": self.machine.state_machine_arn}, minutes=1, caller_retries=True
        )
        allow(start.role, ["states:StartExecution"], [self.machine.state_machine_arn])
        queue.feed(start.function)
        return start

    def _build_digest(self, function: LineFunction, indexes: Sequence[str]) -> PythonFunction:
        digest = self._build(function, self._notifier_environment(), minutes=10)
        self._allow_table(digest.role, "UpdateItem")
        allow(digest.role, ["dynamodb:Query"], [f"{self._table.table_arn}/index/{index}" for index in indexes])
        self._allow_topics(digest.role)
        hourly = events.Rule(
            self._scope,
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
        return digest

    def _build(
        self, function: LineFunction, environment: Mapping[str, str], *, minutes: int = 0, caller_retries: bool = False
    ) -> PythonFunction:
        return self._stack.build_function(
            function.folder,
            function.description,
            {**environment, **function.environment},
            timeout=Duration.minutes(minutes) if minutes else Duration.seconds(50),
            caller_retries=caller_retries,
            package=self._package,
        )

    def _notifier_environment(self) -> dict[str, str]:
        return {
            "RESULTS_TABLE": self._table.table_name,
            "RESULTS_BUCKET": self._results.bucket_name,
            **{variable: topic.topic.topic_arn for variable, topic in self._topics.items()},
        }

    def _allow_table(self, role: iam.Role, *verbs: str) -> None:
        allow(role, [f"dynamodb:{verb}" for verb in verbs], [self._table.table_arn])

    def _allow_topics(self, role: iam.Role) -> None:
        for topic in self._topics.values():
            topic.grant_publish(role)
