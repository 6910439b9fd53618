"""Alerts by e-mail: what is published to a topic is in the outbox."""

import email
import email.policy
import json

import pytest

from defectory.local.cloud import LocalCloud
from defectory.local.outbox import Mail

pytestmark = pytest.mark.xdist_group("local-cloud")


def sent_to(cloud: LocalCloud, address: str) -> list[Mail]:
    return [mail for mail in cloud.mails() if mail.to == address]


@pytest.fixture
def topic(cloud: LocalCloud, request: pytest.FixtureRequest) -> str:
    return cloud.client("sns").create_topic(Name=request.node.name)["TopicArn"]


def test_subscription_in_a_template_receives_alerts(cloud: LocalCloud, sample: dict[str, str]) -> None:
    sns = cloud.client("sns")
    sns.publish(TopicArn=sample["Alerts"], Subject="Etcher is down", Message="Chamber leak.\nCall maintenance: 42 °C")
    mail = sent_to(cloud, "shift-lead@example.com")[-1]
    assert (mail.subject, mail.body) == ("Etcher is down", "Chamber leak.\nCall maintenance: 42 °C")
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=sample["Alerts"])["Subscriptions"]
    assert subscription["SubscriptionArn"].startswith(sample["Alerts"])


def test_file_is_a_message_that_any_mail_program_reads(cloud: LocalCloud, topic: str) -> None:
    sns = cloud.client("sns")
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="reader@example.com")
    sns.publish(TopicArn=topic, Message="no subject given")
    (mail,) = sent_to(cloud, "reader@example.com")
    message = email.message_from_bytes(mail.path.read_bytes(), policy=email.policy.strict)
    assert message["Subject"] == "AWS Notification Message"
    assert message["From"].addresses[0].addr_spec == "no-reply@sns.amazonaws.com"
    assert message["X-Amz-Sns-Topic-Arn"] == topic
    assert message["Date"].datetime is not None


def test_each_subscriber_gets_what_is_meant_for_it(cloud: LocalCloud, topic: str) -> None:
    sns = cloud.client("sns")
    for address, attributes in (
        ("all@example.com", {}),
        ("severe@example.com", {"FilterPolicy": json.dumps({"severity": ["high"]})}),
    ):
        sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=address, Attributes=attributes)
    for severity in ("low", "high"):
        attribute = {"DataType": "String", "StringValue": severity}
        message = json.dumps({"default": "short", "email": f"long, {severity}"})
        sns.publish(TopicArn=topic, Message=message, MessageStructure="json", MessageAttributes={"severity": attribute})
    assert [mail.body for mail in sent_to(cloud, "all@example.com")] == ["long, low", "long, high"]
    assert [mail.body for mail in sent_to(cloud, "severe@example.com")] == ["long, high"]


def test_json_subscriber_gets_the_whole_notification(cloud: LocalCloud, topic: str) -> None:
    sns = cloud.client("sns")
    sns.subscribe(TopicArn=topic, Protocol="email-json", Endpoint="machine@example.com")
    sns.publish(TopicArn=topic, Subject="s", Message="text")
    (mail,) = sent_to(cloud, "machine@example.com")
    told = json.loads(mail.body)
    assert (told["Type"], told["TopicArn"], told["Message"]) == ("Notification", topic, "text")


def test_nothing_is_sent_after_unsubscribing(cloud: LocalCloud, topic: str) -> None:
    sns = cloud.client("sns")
    subscription = sns.subscribe(
        TopicArn=topic, Protocol="email", Endpoint="leaver@example.com", ReturnSubscriptionArn=True
    )
    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    sns.publish(TopicArn=topic, Message="too late")
    assert sent_to(cloud, "leaver@example.com") == []
