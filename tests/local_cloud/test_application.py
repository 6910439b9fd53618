"""The application in the local cloud: that what it is synthesised to runs here."""

import json

import pytest

from tests.local_cloud.application import Application

pytestmark = pytest.mark.xdist_group("application")


def test_application_deploys_with_functions_for_this_machine_and_a_reader_of_alerts(
    applications: dict[str, Application],
) -> None:
    cloud, deployed_app = applications["catalogue"].cloud, applications["catalogue"].outputs
    event = json.dumps({"industry": "semiconductor", "number": 0, "user_id": "ada"})
    reply = cloud.client("lambda").invoke(FunctionName=deployed_app["FunctionName"], Payload=event)
    answer = reply["Payload"].read().decode()
    assert "number" in answer
    assert "Runtime." not in answer
    cloud.client("sns").publish(TopicArn=deployed_app["AlertsTopicArn"], Subject="Test", Message="to the operator")
    assert ("operator@example.com", "Test") in [(mail.to, mail.subject) for mail in cloud.mails()]
