"""The application in the local cloud, as its users meet it: through boto3 alone."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer

from defectory.local.cloud import LocalCloud
from defectory.local.synth import synthesise
from defectory.sensors.contract import check_dataset
from defectory.sensors.dataset import read_manifest
from tests.support.bedrock_server import DENIED, MODEL, BedrockServer, Reply

pytestmark = pytest.mark.xdist_group("application")

DATASET = {"data.csv", "data.parquet", "labels.csv", "events.csv", "dataset.json", "generator.py", "report.html"}

PUMP = '''```python
"""Feed pump."""
from defectory.sensors.signals import Machine


class FeedPump:
    """A pump that runs in two shifts."""

    def simulate(self):
        m = Machine("Feed Pump", year={year}, seed={seed})
        m.shifts(per_day=2, days=6)
        wear = m.maintenance("seal change", every_hours=900, minutes=180)
        load = m.on * m.demand(0.8, 0.07)
        m.signal("Flow", 120 * m.lag(load, 2), unit="m3/h", kind="flow", low=0, high=300, noise=1.0)
        m.signal("Vibration", 1.5 * load * (1 + wear), unit="mm/s", kind="vibration", low=0, high=25, noise=0.08)
        heat = m.lag(30 * load, 40, falling=90) + m.ambient(20, 6, 2)
        m.signal("Bearing_Temperature", heat, unit="degC", kind="temperature", low=-20, high=160, noise=0.3)
        m.correlated("Flow", "Vibration", "+")
        m.anomalies(count=20)
        return m


def main():
    """Write the dataset."""
    FeedPump().simulate().write(".")


if __name__ == "__main__":
    main()
```
<error>CHECKED: NO ERRORS</error>'''

HALF_A_YEAR = """```python
import pandas as pd


def main():
    index = pd.date_range("2025-01-01", "2025-06-30 23:59", freq="min")
    frame = pd.DataFrame({"Timestamp": index.strftime("%Y-%m-%d %H:%M:%S"), "Flow": range(len(index))})
    frame.to_csv("data.csv", index=False)


if __name__ == "__main__":
    main()
```"""

CREDENTIAL_HUNTER = """```python
import pathlib


def main():
    stolen = "".join(path.read_text(errors="replace") for path in pathlib.Path("/proc").glob("[0-9]*/environ"))
    pathlib.Path("data.csv").write_text("Timestamp,Loot\\n" + stolen)


if __name__ == "__main__":
    main()
```"""


def model(prompt: str) -> Reply:
    """What the stand-in for Bedrock says: a list of machines, good and bad scripts, corrections."""
    if "Sneaky Mixer" in prompt:
        return Reply(CREDENTIAL_HUNTER)
    if "Slow Learner" in prompt and "half a year" not in prompt.casefold() and "rows" not in prompt.casefold():
        return Reply(HALF_A_YEAR)
    if "Feed Pump" in prompt or "Slow Learner" in prompt:
        seed = int(match.group(1)) if (match := re.search(r"seed\D{0,12}(\d+)", prompt)) else 1
        return Reply(PUMP.replace("{year}", "2025").replace("{seed}", str(seed)))
    if "submarine" in prompt:
        return Reply("I cannot help with that.")
    if "sleepy" in prompt:
        return Reply("```\n1. Feed Pump\n```", seconds=0.0)
    return Reply("Sure! Here is the list:\n\n```\n1. Feed Pump\n2. Slow Learner\n3. Sneaky Mixer\n```")


@dataclass(frozen=True)
class Application:
    """A deployed application, and the client side of it."""

    cloud: LocalCloud
    outputs: dict[str, str]

    def request(self, **event: Any) -> dict[str, Any]:
        reply = self.cloud.client("lambda").invoke(FunctionName=self.outputs["FunctionName"], Payload=json.dumps(event))
        answer = json.load(reply["Payload"])
        return {"function_error": answer} if "FunctionError" in reply else answer

    def item(self, user_id: str, request_id: str) -> dict[str, Any]:
        key = {"user_id": {"S": user_id}, "request_id": {"S": request_id}}
        item = self.cloud.client("dynamodb").get_item(TableName=self.outputs["TableName"], Key=key)["Item"]
        return {name: TypeDeserializer().deserialize(value) for name, value in item.items()}

    def wait(self, user_id: str, request_id: str, seconds: float = 150) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while "active" in (item := self.item(user_id, request_id)):
            assert time.monotonic() < end, f"still active: {item}"
            time.sleep(0.2)
        return item

    def rows(self, user_id: str) -> int:
        return self.cloud.client("dynamodb").query(
            TableName=self.outputs["TableName"],
            KeyConditionExpression="user_id = :u",
            ExpressionAttributeValues={":u": {"S": user_id}},
            Select="COUNT",
        )["Count"]

    def keys(self, prefix: str) -> set[str]:
        listed = self.cloud.client("s3").list_objects_v2(Bucket=self.outputs["DataBucketName"], Prefix=prefix)
        return {entry["Key"].removeprefix(prefix) for entry in listed.get("Contents", [])}

    def download(self, prefix: str, folder: Path) -> Path:
        for name in self.keys(prefix):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            self.cloud.client("s3").download_file(self.outputs["DataBucketName"], prefix + name, str(folder / name))
        return folder

    def mails(self, about: str) -> list[Any]:
        return [mail for mail in self.cloud.mails() if about in mail.subject + mail.body]


@pytest.fixture(scope="module")
def bedrock() -> Iterator[BedrockServer]:
    with BedrockServer(responder=model) as server:
        yield server


@pytest.fixture(scope="module")
def applications(bedrock: BedrockServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Application]]:
    """The application twice in one cloud: with the catalogue, and with a model."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", bedrock.endpoint)
    with LocalCloud() as cloud:
        found = {}
        for author, context in {"catalogue": {}, "bedrock": {"author": "bedrock", "model_id": MODEL}}.items():
            folder = tmp_path_factory.mktemp(author) / "cdk.out"
            assembly = synthesise(folder, context={**context, "name": f"by-{author}"})
            (outputs,) = cloud.deploy(assembly).values()
            found[author] = Application(cloud, outputs)
        yield found
    patch.undo()


def test_a_request_becomes_published_datasets(applications, tmp_path):
    app = applications["catalogue"]
    event = {"industry": "semiconductor", "number": 2, "user_id": "jane", "seed": 5, "idempotency_token": "once"}
    answer = app.request(**event)
    assert answer["status"] == "REQUESTED"
    assert answer["pipeline_execution_id"]
    again = app.request(**event)
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
    executions = app.cloud.client("codepipeline").list_pipeline_executions(pipelineName=app.outputs["PipelineName"])
    assert len(executions["pipelineExecutionSummaries"]) == 1


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
    assert [machine["name"] for machine in answer["machines"]] == ["Feed Pump", "Slow Learner", "Sneaky Mixer"]
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


def test_two_requests_of_one_user_do_not_touch_each_other(applications):
    app = applications["catalogue"]
    first, second = (app.request(industry=name, number=1, user_id="lee") for name in ("paper", "textile"))
    assert first["request_id"] != second["request_id"]
    items = [app.wait("lee", answer["request_id"]) for answer in (first, second)]
    assert [item["industry"] for item in items] == ["paper", "textile"]
    assert [item["status"] for item in items] == ["PUBLISHED", "PUBLISHED"]
