"""A grant that the running application loses is missed: AWS's words as the reason, the right status, an alert."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.local_cloud.application import Application
from tests.local_cloud.line import Line, part
from tests.local_cloud.roles import policy, without_waits
from tests.local_cloud.test_image_synthesis import Workshop

pytestmark = pytest.mark.xdist_group("application")


@pytest.fixture(scope="module")
def app(applications: dict[str, Application]) -> Application:
    return applications["catalogue"]


@contextmanager
def without(app: Application, role: str, action: str) -> Iterator[None]:
    """Take an action from the role whose logical id begins with ``role``, for a while."""
    iam = app.cloud.client("iam")
    pages = iam.get_paginator("list_roles").paginate()
    roles = [entry["RoleName"] for page in pages for entry in page["Roles"]]
    [name] = [name for name in roles if name.startswith("defectory-") and f"-{role}" in name]
    [inline] = iam.list_role_policies(RoleName=name)["PolicyNames"]
    document = iam.get_role_policy(RoleName=name, PolicyName=inline)["PolicyDocument"]
    kept = [_without(statement, action) for statement in document["Statement"]]
    assert kept != document["Statement"], f"{role} may not {action} anyway"
    remaining = policy(*(statement for statement in kept if statement["Action"]))
    iam.put_role_policy(RoleName=name, PolicyName=inline, PolicyDocument=remaining)
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=name, PolicyName=inline, PolicyDocument=json.dumps(document))


def _without(statement: dict[str, Any], action: str) -> dict[str, Any]:
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    return {**statement, "Action": [name for name in actions if name != action]}


def test_the_trigger_that_may_not_start_the_pipeline_fails_the_request(app: Application) -> None:
    with without(app, "RequestSensorDataRole", "codepipeline:StartPipelineExecution"):
        answer = app.request(industry="steel", number=1, user_id="una", idempotency_token="denied")
    assert "is not authorized to perform: codepipeline:StartPipelineExecution" in json.dumps(answer)


def test_a_build_that_may_not_read_its_source_fails_the_request_and_people_are_told(app: Application) -> None:
    with without(app, "PipelineWriteRole", "s3:GetObject"):
        answer = app.request(industry="steel", number=1, user_id="una")
        item = app.wait("una", answer["request_id"])
    assert item["status"] == "FAILED"
    assert "Write" in item["reason"]
    assert "is not authorized to perform: s3:GetObject" in item["reason"]
    assert app.mails(answer["request_id"])


def test_an_upload_that_was_deleted_is_unreadable_and_forbidden_to_who_may_not_list(app: Application) -> None:
    bucket, s3 = app.outputs["UploadBucketName"], app.cloud.client("s3")
    version = s3.put_object(Bucket=bucket, Key="gone/part.png", Body=part(81))["VersionId"]
    s3.delete_object(Bucket=bucket, Key="gone/part.png", VersionId=version)
    upload = {"bucket": bucket, "key": "gone/part.png", "version_id": version, "size": 1}
    upload["uploaded_at"] = "2026-01-01T00:00:00Z"

    def inspect() -> dict[str, Any]:
        function = app.cloud.client("lambda")
        reply = function.invoke(FunctionName="defectory-inspect-image", Payload=json.dumps(upload))
        answer: dict[str, Any] = json.load(reply["Payload"])
        return answer

    assert inspect()["status"] == "UNREADABLE"
    with without(app, "InspectImageRole", "s3:ListBucket"):
        assert "is not authorized to perform: s3:ListBucket" in inspect()["errorMessage"]


def test_a_line_that_may_not_ask_the_model_ends_in_error_and_people_are_told(app: Application) -> None:
    line = Line(app.cloud, app.outputs)
    with without(app, "InspectImageRole", "sagemaker:InvokeEndpoint"), without_waits(app.cloud):
        line.upload("denied/part.png", part(80))
        row = line.row("denied/part.png")
    assert row["status"] == "ERROR"
    assert "is not authorized to perform: sagemaker:InvokeEndpoint" in row["reason"]
    assert len(line.mails("denied/part.png")) == 1


def test_a_machine_that_may_not_call_its_functions_fails_and_people_are_told(app: Application) -> None:
    workshop = Workshop(app)
    wish = {"user_id": "ann", "dataset": "denied", "renderer": "procedural", "defect": "dent", "count": 1}
    with without(app, "SynthesisRole", "lambda:InvokeFunction"), without_waits(app.cloud):
        execution = workshop.start(**wish, source="ann/photos/")
        end = workshop.end(execution)
    assert end["status"] == "FAILED"
    assert "is not authorized to perform: lambda:InvokeFunction" in end["cause"]
    assert len(workshop.mails(execution)) == 1
