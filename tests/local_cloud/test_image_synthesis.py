"""Pictures of defects in the local cloud, as a user makes them: through boto3, the bucket and mail alone."""

import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from defectory.datasets import load_dataset
from tests.support.bedrock_server import DENIED
from tests.support.image_server import FILTERED_PROMPT, ImageServer

pytestmark = pytest.mark.xdist_group("application")

SIDE = 128
SPOT = (slice(60, 74), slice(50, 66))


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def plate(seed: int, *, spot: bool = False) -> bytes:
    """A photo of a brushed plate on a dark table."""
    rng = np.random.default_rng(seed)
    pixels = np.full((SIDE, SIDE, 3), 25.0) + rng.normal(0, 1.5, (SIDE, SIDE, 3))
    pixels[12:116, 12:116] = 150 + 8 * np.sin(np.arange(12, 116) / 3)[:, None, None] + rng.normal(0, 3, (104, 104, 3))
    if spot:
        pixels[SPOT] *= 0.4
    return png(pixels.clip(0, 255).astype(np.uint8))


def spot_mask() -> bytes:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[SPOT] = 255
    return png(mask)


class Workshop:
    """The client side of image synthesis."""

    def __init__(self, app):
        self.cloud, self.outputs = app.cloud, app.outputs
        self.bucket = self.outputs["ImagesBucketName"]
        for number in range(4):
            self.upload(f"ann/photos/plate {number}.png", plate(number))

    def upload(self, key: str, content: bytes) -> None:
        self.cloud.client("s3").put_object(Bucket=self.bucket, Key=key, Body=content)

    def read(self, key: str) -> bytes:
        return self.cloud.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def download(self, prefix: str, folder) -> set[str]:
        listed = self.cloud.client("s3").list_objects_v2(Bucket=self.bucket, Prefix=prefix)["Contents"]
        names = {entry["Key"].removeprefix(prefix) for entry in listed}
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(self.read(prefix + name))
        return names

    def call(self, function: str, **event) -> dict:
        name = self.outputs[f"{function}FunctionName"]
        reply = self.cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
        assert "FunctionError" not in reply, reply["Payload"].read()
        return json.load(reply["Payload"])

    def start(self, **request) -> str:
        started = self.cloud.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs["SynthesisMachineArn"], input=json.dumps(request)
        )
        return started["executionArn"]

    def end(self, execution: str, seconds: float = 120) -> dict:
        deadline = time.monotonic() + seconds
        describe = self.cloud.client("stepfunctions").describe_execution
        while (found := describe(executionArn=execution))["status"] == "RUNNING":
            assert time.monotonic() < deadline, "still running"
            time.sleep(0.1)
        return found

    def ask(self, models: ImageServer) -> dict[str, str]:
        """Let the function ask these models; return its variables."""
        functions, name = self.cloud.client("lambda"), self.outputs["SynthesizeFunctionName"]
        variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        variables |= {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": models.endpoint}
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        return variables

    def mails(self, execution: str) -> list:
        return [mail for mail in self.cloud.mails() if execution.rpartition(":")[2] in mail.body]


@pytest.fixture(scope="module")
def workshop(applications):
    return Workshop(applications["catalogue"])


def test_a_plan_of_drawn_and_moved_defects_becomes_a_dataset_that_can_be_trained_on(workshop, tmp_path):
    workshop.upload("ann/real/images/burn/1.png", plate(20, spot=True))
    workshop.upload("ann/real/masks/burn/1.png", spot_mask())
    plan = {
        "wants": [
            {"renderer": "procedural", "defect": "scratch", "count": 3},
            {"renderer": "transplant", "defect": "burn", "count": 2},
        ],
        "classes": {"scratch": "Kratzer"},
    }

    execution = workshop.start(user_id="ann", dataset="plates", source="ann/photos/", donors="ann/real/", plan=plan)
    found = workshop.end(execution)
    names = workshop.download("ann/plates/", tmp_path)

    assert found["status"] == "SUCCEEDED", found
    assert json.loads(found["output"])["outcomes"] == {"made": 5}
    assert json.loads((tmp_path / "status.json").read_text())["status"] == "COMPLETE"
    assert {"dataset.manifest", "coco.json", "data.yaml", "contact-sheet.html"} <= names
    assert not workshop.mails(execution), "nobody has to know"
    dataset = load_dataset(tmp_path / "dataset.json")
    assert sorted(record.classes for record in dataset.anomalous) == [("Kratzer",)] * 3 + [("burn",)] * 2
    for record in dataset.anomalous:
        assert record.synthetic
        mask = np.asarray(Image.open(record.mask)) > 0
        photo = np.asarray(Image.open(io.BytesIO(workshop.read(record.source_ref))))
        assert mask.any()
        assert (np.asarray(Image.open(record.path)) != photo).any(axis=2)[mask].mean() > 0.5


def test_what_cannot_be_made_is_reported_stored_and_mailed(workshop):
    workshop.upload("ann/mixed/good.png", plate(30))
    workshop.upload("ann/mixed/broken.png", plate(31)[:700])
    wish = {"user_id": "ann", "renderer": "procedural", "defect": "dent", "count": 2}

    partial = workshop.start(**wish, source="ann/mixed/", dataset="some")
    refused = workshop.start(**wish, source="ann/nowhere/", dataset="none")
    ends = {execution: workshop.end(execution) for execution in (partial, refused)}

    assert [end["status"] for end in ends.values()] == ["SUCCEEDED", "FAILED"]
    for execution, dataset, status, words in (
        *((partial, "some", "PARTIAL", "ann/mixed/broken.png"), (refused, "none", "FAILED", "ann/nowhere/")),
    ):
        stored = json.loads(workshop.read(f"ann/{dataset}/status.json"))
        [mail] = workshop.mails(execution)
        assert stored["status"] == status
        assert words in stored["reason"]
        assert words in mail.body
    assert len(json.loads(workshop.read("ann/some/dataset.json"))["images"]) == 1


def test_one_call_makes_a_few_pictures_once_and_another_assembles_them(workshop):
    wish = {"user_id": "bob", "dataset": "few", "renderer": "procedural", "defect": "scratch", "count": 2}
    for number in range(2):
        workshop.upload(f"bob/photos/{number}.png", plate(40 + number))

    made = workshop.call("Synthesize", **wish, source="bob/photos/")
    again = workshop.call("Synthesize", **wish, source="bob/photos/")
    other = workshop.call("Synthesize", **wish, source="ann/photos/")

    assert made["outcomes"] == {"made": 2}
    assert again == made
    assert (other["status"], other["error"]["field"]) == ("REJECTED", "source")
    for picture in made["pictures"]:
        assert workshop.read(picture["image"]).startswith(b"\x89PNG")
        assert np.asarray(Image.open(io.BytesIO(workshop.read(picture["mask"])))).max() == 255
    assert workshop.call("Assemble", user_id="bob", dataset="few") == {"outcomes": {"made": 2}}
    assert b"<html" in workshop.read("bob/few/contact-sheet.html")


def test_an_image_model_paints_where_the_defect_is_to_be_and_what_a_filter_withholds_is_counted(applications):
    painter = Workshop(applications["bedrock"])
    wish = {"user_id": "ann", "dataset": "painted", "renderer": "bedrock-inpaint", "defect": "crack", "count": 2}

    with ImageServer(FILTERED_PROMPT) as models:
        variables = painter.ask(models)
        answer = painter.call("Synthesize", **wish, source="ann/photos/")

    withheld, made = sorted(answer["pictures"], key=lambda picture: picture["outcome"])
    assert (withheld["outcome"], made["outcome"]) == ("filtered", "made")
    assert not withheld["image"]
    assert (answer["cost"]["filtered"], answer["cost"]["lines"][0]["pictures"]) == (1, 1)
    assert np.asarray(Image.open(io.BytesIO(painter.read(made["mask"])))).any()
    assert {request.model_id for request in models.requests} == {variables["INPAINT_MODEL_ID"]}
    assert {request.region for request in models.requests} == {"us-west-2"}


def test_so_many_failures_are_tolerated_and_more_stop_the_batch_with_what_was_made(applications):
    painter = Workshop(applications["bedrock"])
    refused = {"renderer": "bedrock-inpaint", "defect": "crack"}
    drawn = {"renderer": "procedural", "defect": "scratch", "count": 4}
    plans = {"some": [drawn, {**refused, "count": 3}], "most": [{**refused, "count": 40}]}

    with ImageServer(*[DENIED] * 100) as models:
        painter.ask(models)
        executions = {
            name: painter.start(user_id="ann", dataset=name, source="ann/photos/", plan={"wants": wants})
            for name, wants in plans.items()
        }
        ends = {name: painter.end(execution)["status"] for name, execution in executions.items()}
    some, most = (json.loads(painter.read(f"ann/{name}/status.json")) for name in plans)

    assert ends == {"some": "SUCCEEDED", "most": "FAILED"}
    assert (some["status"], some["outcomes"]) == ("PARTIAL", {"failed": 3, "made": 4})
    assert (most["status"], most["planned"]) == ("FAILED", 40)
    assert 20 < most["outcomes"]["failed"] < 40, "a fifth is tolerated, twenty at least; the others are not tried"
    assert most["outcomes"]["pending"] == 40 - most["outcomes"]["failed"]
    for name, status in (("some", some), ("most", most)):
        assert "access" in status["reason"].casefold()
        [mail] = painter.mails(executions[name])
        assert f"{status['outcomes'].get('made', 0)} of {status['planned']} pictures were made" in mail.body
