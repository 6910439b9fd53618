"""The queue that a bucket tells of its uploads, and the queue of what could not be worked on."""

from __future__ import annotations

from aws_cdk import Aws, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from defectory.config import Config
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.dead_letters import DeadLetters
from stacks.constructs.removal import removal_policy

DELIVERIES = 5


class UploadQueue(Construct):
    """Every object made in ``bucket`` is told of; a message that five deliveries did not get rid of is put aside.

    ``of`` is whose queue it is, in the alarm's words.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Config, bucket: s3.Bucket, alerts: AlertTopic, of: str
    ) -> None:
        super().__init__(scope, construct_id)
        self.dead_letters = DeadLetters(self, "DeadLetters", config=config, of=of, alerts=alerts)
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            removal_policy=removal_policy(config),
            # Six times the function's timeout, as Lambda asks for.
            visibility_timeout=Duration.minutes(6),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters.queue, max_receive_count=DELIVERIES),
        )
        self._listen_to(bucket)
        self._build_alarm(alerts)

    def feed(self, function: lambda_.Function) -> None:
        """Hand the messages to ``function``, which answers those that it could not work on."""
        function.add_event_source(
            sources.SqsEventSource(self.queue, batch_size=10, max_concurrency=5, report_batch_item_failures=True)
        )

    def _listen_to(self, bucket: s3.Bucket) -> None:
        self.queue.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("s3.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.queue.queue_arn],
                # The bucket's own name here would make a circle: the bucket asks whether it may send before it is made.
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        resource = bucket.node.default_child
        assert isinstance(resource, s3.CfnBucket)
        # The CDK's own notifications would bring a function of theirs.
        resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            queue_configurations=[
                s3.CfnBucket.QueueConfigurationProperty(event="s3:ObjectCreated:*", queue=self.queue.queue_arn)
            ]
        )
        policy = self.queue.node.find_child("Policy").node.default_child
        assert isinstance(policy, sqs.CfnQueuePolicy)
        resource.add_resource_dependency(policy)

    def _build_alarm(self, alerts: AlertTopic) -> None:
        alerts.watch(
            self,
            "Behind",
            self.queue.metric_approximate_age_of_oldest_message(period=Duration.minutes(5)),
            "uploads have waited for a quarter of an hour and are not taken up.",
            threshold=Duration.minutes(15).to_seconds(),
        )
