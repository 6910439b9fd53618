"""The topic of alerts to people: encrypted with a key of its own, reachable only over TLS."""

from __future__ import annotations

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct


class AlertTopic(Construct):
    """The account's alarms and the roles granted may publish; ``email`` is subscribed, once its owner has confirmed.

    With the ``key`` of another topic it costs none of its own.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        email: str | None,
        key: kms.IKey | None = None,
        display_name: str = "Defectory",
    ) -> None:
        super().__init__(scope, construct_id)
        # Topics keep nothing: retained, the key would open nothing, and cost a dollar a month.
        self.key = key or kms.Key(
            self,
            "Key",
            description="Defectory alerts",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.DESTROY,
            pending_window=Duration.days(7),
        )
        self.topic = sns.Topic(self, "Topic", display_name=display_name, master_key=self.key, enforce_ssl=True)
        self._allow_alarms(own_key=key is None)
        if email:
            self.topic.add_subscription(subscriptions.EmailSubscription(email))

    def watch(
        self,
        scope: Construct,
        construct_id: str,
        metric: cloudwatch.Metric,
        description: str,
        *,
        threshold: float = 1,
        name: str | None = None,
    ) -> cloudwatch.Alarm:
        """Tell people, by an alarm in ``scope``, when ``metric`` reaches ``threshold`` in one of its periods."""
        alarm = metric.create_alarm(
            scope,
            construct_id,
            alarm_name=name,
            alarm_description=f"Defectory: {description}",
            threshold=threshold,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        return alarm

    def grant_publish(self, role: iam.Role) -> None:
        """Let ``role`` publish to the topic and use its key for that, for nothing else."""
        role.add_to_policy(iam.PolicyStatement(actions=["sns:Publish"], resources=[self.topic.topic_arn]))
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=[self.key.key_arn],
                conditions={"StringEquals": {"kms:ViaService": f"sns.{Aws.REGION}.{Aws.URL_SUFFIX}"}},
            )
        )

    def _allow_alarms(self, *, own_key: bool) -> None:
        # With AWS's managed key for SNS, which alarms cannot use, theirs would be lost without a sound.
        alarms = iam.ServicePrincipal("cloudwatch.amazonaws.com")
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[alarms],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        if not own_key:
            return
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[alarms],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],  # in a key's own policy: this key
            )
        )
