"""A queue for what could not be done, with an alarm as soon as something is in it."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from defectory.config import Config
from stacks.constructs.acknowledgements import acknowledge
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.removal import removal_policy


class DeadLetters(Construct):
    """Kept for 14 days, encrypted, reachable only over TLS; people are told of the first message."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, of: str, alerts: AlertTopic) -> None:
        super().__init__(scope, construct_id)
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            removal_policy=removal_policy(config),
        )
        acknowledge(self.queue, {"SQS3": "This queue is itself the dead-letter queue."})
        waiting = self.queue.metric_approximate_number_of_messages_visible(period=Duration.minutes(5))
        alerts.watch(
            self, "Alarm", waiting, f"events that {of} gave up wait in the queue; look at them, send them again."
        )
