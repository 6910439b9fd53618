"""Alerts: what SNS is given, whatever is in the text."""

from __future__ import annotations

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.aws.alerts import Alerts
from defectory.errors import ServiceError


class Recorder:
    def publish(self, **arguments):
        self.arguments = arguments


@given(st.text(min_size=1), st.text(min_size=1, max_size=200))
def test_any_text_becomes_a_subject_that_sns_takes(subject, message):
    client = Recorder()

    Alerts("arn", client).send(subject, message)

    sent = client.arguments["Subject"]
    assert len(sent) <= 100
    assert sent.isascii()
    assert sent.isprintable()
    assert client.arguments["Message"] == message


def test_a_topic_that_is_gone_is_an_error(aws):
    with pytest.raises(ServiceError, match="send the alert"):
        Alerts("arn:aws:sns:us-east-1:123456789012:gone", boto3.client("sns")).send("a", "b")
