"""Alerts to people, through SNS."""

from __future__ import annotations

from botocore.client import BaseClient

from defectory.aws.clients import aws_client, service_errors
from defectory.errors import shorten

# Amazon SNS: a subject is at most 100 printable ASCII characters, a message at most 256 KiB.
SUBJECT_LIMIT = 100
MESSAGE_LIMIT = 60_000


class Alerts:
    """The topic that people subscribe to."""

    def __init__(self, topic_arn: str, client: BaseClient | None = None) -> None:
        self._topic_arn = topic_arn
        self._client = client or aws_client("sns")

    def send(self, subject: str, message: str) -> None:
        """Publish an alert; ``subject`` is cut and cleaned to what SNS takes.

        Raises:
            ServiceError: SNS did not take it.
        """
        subject = "".join(character if " " <= character <= "~" else "?" for character in subject)
        with service_errors(f"send the alert {subject!r}"):
            self._client.publish(
                TopicArn=self._topic_arn,
                Subject=subject if len(subject) <= SUBJECT_LIMIT else f"{subject[: SUBJECT_LIMIT - 3]}...",
                Message=shorten(message, MESSAGE_LIMIT),
            )
