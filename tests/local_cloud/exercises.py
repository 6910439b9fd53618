"""What roles of the application are there for and no test of it comes to: failures, mostly.

Not a part of the suite: ``make permissions`` runs it, together with the tests that use the application, to record what
roles use (``tests/infrastructure/permissions/used.json``).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from defectory.inspection.samples import write_samples
from tests.local_cloud.application import Application
from tests.local_cloud.line import Line
from tests.local_cloud.roles import without_waits
from tests.local_cloud.sample_app import eventually
from tests.local_cloud.test_image_synthesis import Workshop, plate
from tests.local_cloud.test_safety_line import RULES, line_of
from tests.local_cloud.test_scenes import Studio, create_painter
from tests.support.constant_detector import constant_detector

pytestmark = pytest.mark.xdist_group("application")

# Functions that keep the events they gave up, and an event each that needs a service.
ASYNCHRONOUS: dict[str, Any] = {
    "request-sensor-data": {"industry": "semiconductor", "number": 1, "user_id": "ada"},
    "close-failed-request": {"detail-type": "Scheduled Event"},
    "send-digest": {},
    "confirm-inspection": {"inspection_id": "0000000000000000000000000000000a", "label": "normal", "by": "ann"},
    "synthesize-images": {
        **{"user_id": "ann", "dataset": "lost", "renderer": "procedural", "defect": "dent", "count": 1},
        "source": "ann/photos/",
    },
    "assemble-dataset": {"user_id": "ann", "dataset": "lost"},
    "assemble-scenes": {"request": {"user_id": "ann", "dataset": "lost"}, "execution": "lost", "problem": "lost"},
    "send-safety-digest": {},
    "set-safety-rules": RULES,
}


@contextmanager
def forbidden(app: Application, function: str, *actions: str) -> Iterator[None]:
    """Deny the role of a function these actions for a while."""
    iam = app.cloud.client("iam")
    role = app.cloud.client("lambda").get_function_configuration(FunctionName=f"defectory-{function}")["Role"]
    name = role.rpartition("/")[2]
    statement = {"Effect": "Deny", "Action": list(actions), "Resource": "*"}
    iam.put_role_policy(
        RoleName=name, PolicyName="deny", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="deny")


def waiting(app: Application, queue: str) -> int:
    attributes = app.cloud.client("sqs").get_queue_attributes(
        QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def leave_for_the_digest(line: Line, row: dict[str, Any]) -> None:
    """Make a row one that the line itself has not told of for long."""
    line.cloud.client("dynamodb").update_item(
        TableName=line.outputs["ResultsTableName"],
        Key={"inspection_id": {"S": row["inspection_id"]}},
        UpdateExpression="SET recorded_at = :long_ago",
        ExpressionAttributeValues={":long_ago": {"S": "2026-01-01T00:00:00.000Z"}},
    )


@pytest.fixture(scope="module")
def app(applications: dict[str, Application]) -> Application:
    return applications["catalogue"]


@pytest.mark.parametrize("function", ASYNCHRONOUS)
def test_what_a_function_gives_up_is_kept(app: Application, function: str) -> None:
    functions, sqs = app.cloud.client("lambda"), app.cloud.client("sqs")
    name = f"defectory-{function}"
    config = functions.get_function_event_invoke_config(FunctionName=name, Qualifier="$LATEST")
    queue = sqs.get_queue_url(QueueName=config["DestinationConfig"]["OnFailure"]["Destination"].rpartition(":")[2])
    before = waiting(app, queue["QueueUrl"])
    with forbidden(app, function, "dynamodb:*", "s3:*"):
        functions.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(ASYNCHRONOUS[function]))
        eventually(lambda: waiting(app, queue["QueueUrl"]) > before, f"dead letter of {function}")


def test_the_hourly_functions_look_for_what_was_left(app: Application) -> None:
    functions = app.cloud.client("lambda")
    Line(app.cloud, app.outputs).upload("stray/notes.txt", b"shift 3")
    row = Line(app.cloud, app.outputs).row("stray/notes.txt")
    leave_for_the_digest(Line(app.cloud, app.outputs), row)
    for function, event in (("close-failed-request", {"detail-type": "Scheduled Event"}), ("send-digest", {})):
        reply = functions.invoke(FunctionName=f"defectory-{function}", Payload=json.dumps(event))
        assert "FunctionError" not in reply, reply["Payload"].read()
    assert Line(app.cloud, app.outputs).mails("stray/notes.txt")


def test_an_upload_that_cannot_be_recorded_is_put_aside(app: Application) -> None:
    queue = app.outputs["DeadLetterQueueUrl"]
    before = waiting(app, queue)
    with forbidden(app, "record-inspection", "dynamodb:PutItem"), without_waits(app.cloud):
        Line(app.cloud, app.outputs).upload("aside/part.txt", b"")
        eventually(lambda: waiting(app, queue) > before, "upload put aside")


def test_cameras_images_are_put_aside_and_told_of_in_a_digest(app: Application) -> None:
    line, queue = line_of(app), app.outputs["SafetyDeadLetterQueueUrl"]
    before = waiting(app, queue)
    with forbidden(app, "record-safety-check", "dynamodb:PutItem"), without_waits(app.cloud):
        line.upload("aside/1.txt", b"")
        eventually(lambda: waiting(app, queue) > before, "upload put aside")
    line.upload("stray/notes.txt", b"shift 3")
    leave_for_the_digest(line, line.row("stray/notes.txt"))
    line.call("defectory-send-safety-digest", {})
    assert line.mails("stray/notes.txt")


def test_a_duplicate_goes(app: Application) -> None:
    workshop, wish = Workshop(app), {"user_id": "eve", "dataset": "twins"}
    for number in range(2):
        workshop.upload(f"eve/photos/{number}.png", plate(70 + number))
    made = workshop.call("Synthesize", **wish, renderer="procedural", defect="dent", count=2, source="eve/photos/")
    ids = [picture["image"].rpartition("/")[2].removesuffix(".png") for picture in made["pictures"]]
    first, second = (json.loads(workshop.read(f"eve/twins/records/{id_}.json")) for id_ in ids)
    twin = {**first, **{name: second[name] for name in ("id", "item", "image", "mask")}}
    workshop.upload(f"eve/twins/records/{ids[1]}.json", json.dumps(twin).encode())
    assert workshop.call("Assemble", **wish)["outcomes"] == {"made": 1, "duplicate": 1}


def test_a_plan_may_be_in_the_bucket(app: Application) -> None:
    workshop = Workshop(app)
    plan = {"wants": [{"renderer": "procedural", "defect": "dent", "count": 1}]}
    workshop.upload("ann/plans/dents.json", json.dumps(plan).encode())
    execution = workshop.start(user_id="ann", dataset="planned", source="ann/photos/", plan="ann/plans/dents.json")
    assert workshop.end(execution)["status"] == "SUCCEEDED"


def test_a_stopped_batch_is_stored_as_stopped(app: Application) -> None:
    workshop = Workshop(app)
    wish = {"user_id": "ann", "dataset": "stopped", "renderer": "procedural", "defect": "dent", "count": 40}
    execution = workshop.start(**wish, source="ann/photos/")
    app.cloud.client("stepfunctions").stop_execution(executionArn=execution)

    def stored() -> bool:
        listed = app.cloud.client("s3").list_objects_v2(Bucket=workshop.bucket, Prefix="ann/stopped/status.json")
        return bool(listed["KeyCount"])

    assert eventually(stored, "status of the stopped batch")


def test_a_stopped_batch_of_scenes_is_stored_as_stopped(app: Application) -> None:
    studio = Studio(app)
    execution = studio.start(user_id="ann", dataset="stopped", preset="ppe", count=500)
    studio.states.stop_execution(executionArn=execution)

    def stored() -> bool:
        listed = studio.s3.list_objects_v2(Bucket=studio.bucket, Prefix="ann/stopped/status.json")
        return bool(listed["KeyCount"]) and studio.status("stopped")["status"] == "FAILED"

    assert eventually(stored, "status of the stopped batch")


def test_a_transform_of_scenes_is_stopped_with_its_batch(app: Application) -> None:
    studio = Studio(app)
    create_painter(studio)
    studio.upload("ann/models/check.tar.gz", constant_detector().to_bytes())
    wish = {"renderer": "gligen", "detector": "ann/models/check.tar.gz"}
    execution = studio.start(user_id="ann", dataset="unpainted", preset="floor", count=5000, **wish)
    sagemaker = app.cloud.client("sagemaker")

    def jobs(status: str) -> bool:
        found = sagemaker.list_transform_jobs(NameContains="defectory-scenes", StatusEquals=status)
        return bool(found["TransformJobSummaries"])

    assert eventually(lambda: jobs("InProgress"), "the transform")
    studio.states.stop_execution(executionArn=execution)
    assert eventually(lambda: jobs("Stopped"), "the transform stopped")


def test_cut_outs_that_are_none_fail_their_shards(app: Application) -> None:
    studio = Studio(app)
    studio.upload("ann/cutouts/cutouts.jsonl", b"{}")
    execution = studio.start(user_id="ann", dataset="cut", preset="ppe", count=2, cutouts="ann/cutouts/")
    assert studio.end(execution)["status"] == "FAILED"
    assert "cutouts.jsonl:1" in studio.status("cut")["reason"]


def test_models_are_trained_deployed_replaced_and_jobs_stopped(app: Application, tmp_path: Any) -> None:
    bucket, s3 = app.outputs["TrainingBucketName"], app.cloud.client("s3")
    # Other parts than the walkthrough's: what it tests on must not be trained on.
    write_samples(tmp_path, good=24, defective=8, seed=11)
    for kind, prefixes in (("normal", ("datasets/plates", "test")), ("anomaly", ("test",))):
        for number, photo in enumerate(sorted((tmp_path / kind).iterdir())):
            s3.upload_file(str(photo), bucket, f"{prefixes[number % len(prefixes)]}/{kind}/{photo.name}")
    states = app.cloud.client("stepfunctions")

    def start() -> str:
        order = {
            "dataset": "datasets/plates/",
            "options": {"resolution": 128},
            "gate": {"minimum_auroc": 0.0, "tolerance": 1.0},
        }
        arn = app.outputs["TrainingMachineArn"]
        return str(states.start_execution(stateMachineArn=arn, input=json.dumps(order))["executionArn"])

    def end(execution: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = states.describe_execution(executionArn=execution)
            return None if found["status"] == "RUNNING" else found

        return eventually(look, "end of the training")

    jobs = app.cloud.client("sagemaker")
    endpoint, deployed = app.outputs["EndpointName"], set()
    with without_waits(app.cloud):
        for _ in range(2):
            ended = end(start())
            assert ended["status"] == "SUCCEEDED", ended
            deployed.add(jobs.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"])
        # An execution succeeds, too, where the gate rejects the model.
        assert len(deployed) == 2, ended["output"]
        execution = start()

        def running() -> bool:
            listed = jobs.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]
            return bool(listed)

        eventually(running, "training")
        states.stop_execution(executionArn=execution)
        eventually(lambda: not running(), "end of the job")
