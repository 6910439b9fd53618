"""The application in the local cloud, as its users meet it: through boto3 alone."""

import json
import time

import pytest

from defectory.sensors.contract import check_dataset
from defectory.sensors.dataset import read_manifest
from tests.support.bedrock_server import DENIED, MODEL

pytestmark = pytest.mark.xdist_group("application")

DATASET = {"data.csv", "data.parquet", "labels.csv", "events.csv", "dataset.json", "generator.py", "report.html"}


@pytest.fixture(scope="module")
def janes(applications):
    """Two requests of one user on the way at once, the first of them made twice, and all executions there were."""
    app = applications["catalogue"]
    event = {"industry": "semiconductor", "number": 2, "user_id": "jane", "seed": 5, "idempotency_token": "once"}
    before = app.executions()
    answers = [app.request(**each) for each in (event, event, {"industry": "paper", "number": 1, "user_id": "jane"})]
    return answers, lambda: app.executions() - before


def test_a_request_becomes_published_datasets(applications, janes, tmp_path):
    app = applications["catalogue"]
    (answer, again, other), executions = janes
    assert answer["status"] == "REQUESTED"
    assert answer["pipeline_execution_id"]
    assert again["request_id"] == answer["request_id"]

    item = app.wait("jane", answer["request_id"])
    assert item["status"] == "PUBLISHED", item
    assert [machine["status"] for machine in item["machines"]] == ["PUBLISHED", "PUBLISHED"]
    prefix = f"jane/{answer['request_id']}/"
    slugs = [machine["slug"] for machine in item["machines"]]
    assert app.keys(prefix) == {f"{slug}/{name}" for slug in slugs for name in DATASET} | {"index.html"}

    folder = app.download(prefix, tmp_path)
    for slug in slugs:
        assert check_dataset(folder / slug).ok
        manifest = read_manifest(folder / slug)
        assert manifest.user_id == "jane"
        assert manifest.request_id == answer["request_id"]
        assert manifest.provenance.author == "catalogue"
        assert all(check.ok for check in manifest.contract)
        for name, entry in manifest.files.items():
            assert (folder / slug / name).stat().st_size == entry.bytes
    assert not app.mails(answer["request_id"])
    assert executions() == {answer["pipeline_execution_id"], other["pipeline_execution_id"]}


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"number": 2, "user_id": "eve"}, "industry"),
        ({"industry": "", "number": 2, "user_id": "eve"}, "industry"),
        ({"industry": "steel; rm -rf /", "number": 2, "user_id": "eve"}, "industry"),
        ({"industry": "s" * 65, "number": 2, "user_id": "eve"}, "industry"),
        ({"industry": "steel", "number": 0, "user_id": "eve"}, "number"),
        ({"industry": "steel", "number": 51, "user_id": "eve"}, "number"),
        ({"industry": "steel", "number": "ten", "user_id": "eve"}, "number"),
        ({"industry": "steel", "number": True, "user_id": "eve"}, "number"),
        ({"industry": "steel", "number": 2, "user_id": "../eve"}, "user_id"),
        ({"industry": "steel", "number": 2, "user_id": ["eve"]}, "user_id"),
        ({"industry": "submarines", "number": 2, "user_id": "eve"}, "industry"),
    ],
)
def test_bad_input_is_rejected_and_nothing_is_written(applications, event, field):
    app = applications["catalogue"]
    answer = app.request(**event)
    assert answer["status"] == "REJECTED"
    assert answer["error"]["field"] == field
    assert app.rows("eve") == 0


def test_a_model_that_fails_for_one_machine_leaves_the_request_partial(applications, bedrock, tmp_path):
    app = applications["bedrock"]
    answer = app.request(industry="mining", number=3, user_id="joe", year=2025, seed=3)
    assert answer["machines"] == ["Feed Pump", "Slow Learner", "Sneaky Mixer"]
    item = app.wait("joe", answer["request_id"])
    assert item["status"] == "PARTIAL", item
    pump, learner, sneaky = item["machines"]
    assert (pump["status"], pump["attempts"]) == ("PUBLISHED", 1)
    assert (learner["status"], learner["attempts"]) == ("PUBLISHED", 2)
    assert sneaky["status"] == "FAILED"
    assert sneaky["error"]
    assert "Sneaky Mixer" in item["reason"]

    prefix = f"joe/{answer['request_id']}/"
    assert {key.split("/")[0] for key in app.keys(prefix)} == {"feed-pump", "slow-learner", "index.html"}
    folder = app.download(prefix, tmp_path)
    provenance = read_manifest(folder / "slow-learner").provenance
    assert (provenance.author, provenance.model_id, provenance.attempts) == ("bedrock", MODEL, 2)
    assert provenance.tokens.output > 0
    assert any(layer.startswith(("landlock", "seccomp")) for layer in provenance.sandbox_layers)
    assert "Sneaky Mixer" in (folder / "index.html").read_text()
    (mail,) = app.mails(answer["request_id"])
    assert "Sneaky Mixer" in mail.body


def test_a_model_that_refuses_twice_is_reported_and_nothing_is_written(applications, bedrock):
    app = applications["bedrock"]
    answer = app.request(industry="submarine", number=2, user_id="ann")
    assert answer["function_error"]["errorType"] in {"ReplyError", "AuthorError"}
    assert app.rows("ann") == 0


def test_a_model_without_access_is_reported_with_the_fix(applications, bedrock):
    app = applications["bedrock"]
    bedrock.replies.append(DENIED)
    answer = app.request(industry="forestry", number=2, user_id="ann")
    assert "access" in answer["function_error"]["errorMessage"].casefold()
    assert app.rows("ann") == 0


def test_a_stopped_pipeline_closes_the_request_and_alerts(applications, bedrock):
    app = applications["catalogue"]
    answer = app.request(industry="steel", number=4, user_id="kim")
    app.cloud.client("codepipeline").stop_pipeline_execution(
        pipelineName=app.outputs["PipelineName"],
        pipelineExecutionId=answer["pipeline_execution_id"],
        abandon=True,
        reason="the test says so",
    )
    item = app.wait("kim", answer["request_id"])
    assert item["status"] == "FAILED"
    assert "stop" in item["reason"].casefold()
    assert {machine["status"] for machine in item["machines"]} == {"FAILED"}
    assert app.keys(f"kim/{answer['request_id']}/") == set()
    assert app.mails(answer["request_id"])


def test_two_requests_of_one_user_do_not_touch_each_other(applications, janes):
    app = applications["catalogue"]
    (first, _, second), _ = janes
    assert first["request_id"] != second["request_id"]
    items = [app.wait("jane", answer["request_id"]) for answer in (first, second)]
    assert [item["industry"] for item in items] == ["semiconductor", "paper"]
    assert [item["status"] for item in items] == ["PUBLISHED", "PUBLISHED"]


def test_a_fleet_becomes_requests_and_its_summary_counts_what_they_published(applications):
    app = applications["catalogue"]
    machines = app.cloud.client("stepfunctions")
    names = ["Wafer Dicing Saw", "No such machine"]

    started = machines.start_execution(
        stateMachineArn=app.outputs["FleetMachineArn"],
        name="night",
        input=json.dumps({"industry": "semiconductor", "number": 2, "user_id": "flo", "machines": names}),
    )
    deadline = time.monotonic() + 150
    while (ended := machines.describe_execution(executionArn=started["executionArn"]))["status"] == "RUNNING":
        assert time.monotonic() < deadline, "still running"
        time.sleep(0.2)

    assert ended["status"] == "SUCCEEDED", ended
    body = app.cloud.client("s3").get_object(Bucket=app.outputs["DataBucketName"], Key="flo/fleets/night/fleet.json")
    summary = json.load(body["Body"])
    assert summary == json.loads(ended["output"])
    assert (summary["requests"], summary["machines"], summary["published"]) == (1, 2, 1)
    [request] = summary["incomplete"]
    statuses = {entry["name"]: entry["status"] for entry in app.item("flo", request["request"])["machines"]}
    assert statuses == dict(zip(names, ["PUBLISHED", "FAILED"], strict=True))
    [mail] = app.mails("night")
    assert "1 of 2 machines were published" in mail.body
