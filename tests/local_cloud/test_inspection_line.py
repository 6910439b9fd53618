"""The inspection line in the local cloud, as a camera and an inspector meet it: through boto3 and mail alone."""

import io
import json
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from boto3.dynamodb.types import TypeDeserializer
from PIL import Image

from defectory.inspection.hosting import write_hosted
from defectory.inspection.model import load_model
from defectory.inspection.training import TrainingOptions, train
from defectory.local.synth import find_app
from tests.local_cloud.laboratory import IMAGE, SERVERLESS, Laboratory
from tests.local_cloud.roles import ROLE

pytestmark = pytest.mark.xdist_group("application")

SIDE = 128
SCRATCH = (slice(60, 68), slice(40, 64))


def part(seed: int, *, scratched: bool = False) -> bytes:
    """A photo of a ribbed plate, lit and laid a little differently each time."""
    rng = np.random.default_rng(seed)
    ribs = np.sin((np.arange(SIDE) + rng.uniform(0, 25)) / 4)[:, None, None]
    plate = rng.uniform(0.85, 1.15) * (120 + 30 * ribs) + rng.normal(0, 6, (SIDE, SIDE, 3))
    if scratched:
        plate[SCRATCH] += 60
    content = io.BytesIO()
    Image.fromarray(plate.clip(0, 255).astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


class Line:
    """The client side of the line."""

    def __init__(self, app):
        self.app, self.cloud, self.outputs = app, app.cloud, app.outputs

    def upload(self, key: str, content: bytes) -> None:
        self.cloud.client("s3").put_object(Bucket=self.outputs["UploadBucketName"], Key=key, Body=content)

    def rows(self) -> dict[str, dict]:
        items = self.cloud.client("dynamodb").scan(TableName=self.outputs["ResultsTableName"])["Items"]
        plain = [{name: TypeDeserializer().deserialize(value) for name, value in item.items()} for item in items]
        return {row["key"]: row for row in plain if "key" in row}

    def row(self, key: str, seconds: float = 90) -> dict:
        """The row of an upload, once people were told of it where they have to be."""
        end = time.monotonic() + seconds
        while not (row := self.rows().get(key)) or (row.get("owed") and row["outcome"] != "UNSUPPORTED"):
            assert time.monotonic() < end, f"no row of {key}, or nobody was told: {row}"
            time.sleep(0.1)
        return row

    def result(self, key: str) -> bytes:
        return self.cloud.client("s3").get_object(Bucket=self.outputs["ResultsBucketName"], Key=key)["Body"].read()

    def upload_model(self, folder) -> str:
        """Train on good parts, and put what a training job hands over into the bucket; return its address."""
        photos = []
        for seed in range(12):
            photos.append(folder / f"{seed}.png")
            photos[-1].write_bytes(part(seed))
        source = folder / "source"
        source.mkdir()
        for name in ("defectory", "models/inspection/inference.py"):
            (source / Path(name).name).symlink_to(find_app() / name)
        write_hosted(train(photos, options=TrainingOptions(resolution=SIDE)), source, folder / "hosted")
        archive = folder / "model.tar.gz"
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(folder / "hosted", ".")
        bucket = self.outputs["TrainingBucketName"]
        self.cloud.client("s3").upload_file(str(archive), bucket, "models/by-hand/model.tar.gz")
        return f"s3://{bucket}/models/by-hand/model.tar.gz"

    def deploy(self, folder) -> None:
        """Train on good parts and host the model at the line's endpoint."""
        sagemaker = self.cloud.client("sagemaker")
        container = {
            "Image": IMAGE,
            "ModelDataUrl": self.upload_model(folder),
            "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
        }
        sagemaker.create_model(ModelName="by-hand", PrimaryContainer=container, ExecutionRoleArn=ROLE)
        variant = {"VariantName": "AllTraffic", "ModelName": "by-hand", **SERVERLESS}
        sagemaker.create_endpoint_config(EndpointConfigName="by-hand", ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=self.outputs["EndpointName"], EndpointConfigName="by-hand")
        found = Laboratory(self.cloud).settled(self.outputs["EndpointName"])
        assert found["EndpointStatus"] == "InService", found

    def mails(self, key: str) -> list:
        return [mail for mail in self.cloud.mails() if key in mail.body]

    def call(self, function: str, event: dict) -> dict:
        """The answer of a function, which has to be one."""
        reply = self.cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
        answer = json.load(reply["Payload"])
        assert "FunctionError" not in reply, answer
        return answer


@pytest.fixture(scope="module")
def line(applications):
    return Line(applications["catalogue"])


@pytest.fixture(scope="module")
def served_by_function(applications):
    return Line(applications["bedrock"])


def test_a_function_serves_the_model_that_was_put_in_service_without_any_endpoint(served_by_function, tmp_path):
    line = served_by_function
    line.upload("early.png", part(90))
    assert line.row("early.png")["reason"].count("No model is in service") == 1

    archive = line.upload_model(tmp_path)
    version = load_model(tmp_path / "hosted").card.version
    bucket = line.outputs["TrainingBucketName"]
    line.cloud.client("s3").put_object(Bucket=bucket, Key="test/normal/1.png", Body=part(70))
    candidate = {"archive": archive, "model_version": version}
    verify = {"verify": {**candidate, "test": f"s3://{bucket}/test/"}}
    assert line.call("with-model-inspect-with-model", verify) == {"model_version": version}
    model = {**candidate, "run": "by-hand", "reasons": [], "approved_at": "2026-11-21T15:04:05Z"}
    line.call("with-model-training-controller", {"task": "put_in_service", "model": model})

    line.upload("good.png", part(50))
    line.upload("bad.png", part(60, scratched=True))
    good, bad = line.row("good.png"), line.row("bad.png")

    assert bad["verdict"] == "FAIL"
    assert (good["model_version"], bad["model_version"]) == (version, version)
    assert good["score"] < bad["score"]
    assert Image.open(io.BytesIO(line.result(bad["overlay_key"]))).size == (SIDE, SIDE)
    assert not line.cloud.client("sagemaker").list_endpoints(NameContains="with-model")["Endpoints"]


def test_without_an_endpoint_every_file_still_ends_as_a_row(line):
    line.upload("early/part +1%.png", part(90))
    line.upload("early/notes.txt", b"shift 2")
    line.upload("early/broken.JPG", part(91)[:500])

    failed, other, broken = (line.row(f"early/{name}") for name in ("part +1%.png", "notes.txt", "broken.JPG"))

    assert (failed["status"], other["status"], broken["status"]) == ("ERROR", "UNSUPPORTED", "UNREADABLE")
    assert "does not exist" in failed["reason"]
    [mail] = line.mails("early/part +1%.png")
    assert mail.subject.startswith("ERROR")
    assert len(line.mails("early/broken.JPG")) == 1
    assert not line.mails("early/notes.txt"), "stray files wait for the digest"


def test_good_and_defective_parts_end_as_rows_heatmaps_and_one_mail(line, tmp_path):
    line.deploy(tmp_path)

    for number in range(2):
        line.upload(f"lot 7/good {number}.png", part(50 + number))
    line.upload("lot 7/бракованная.PNG", part(60, scratched=True))
    good = [line.row(f"lot 7/good {number}.png") for number in range(2)]
    bad = line.row("lot 7/бракованная.PNG")

    assert bad["verdict"] == "FAIL"
    assert all(row["verdict"] in ("PASS", "REVIEW") and row["score"] < bad["score"] for row in good)
    heatmap = np.asarray(Image.open(io.BytesIO(line.result(bad["heatmap_key"]))).resize((SIDE, SIDE)))
    assert heatmap[SCRATCH].mean() > 1.3 * heatmap.mean(), "the heatmap points at the scratch"
    assert Image.open(io.BytesIO(line.result(bad["overlay_key"]))).size == (SIDE, SIDE)
    [mail] = line.mails("lot 7/бракованная.PNG")
    assert mail.subject.startswith("FAIL")
    for words in (bad["inspection_id"], bad["model_version"], "%"):
        assert words in mail.body

    # An inspector says otherwise, and that is kept.
    event = {"inspection_id": bad["inspection_id"], "label": "normal", "by": "ann", "note": "chalk"}
    name = line.outputs["ConfirmFunctionName"]
    reply = line.cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
    assert json.load(reply["Payload"])["status"] == "CONFIRMED"
    assert line.row("lot 7/бракованная.PNG")["confirmed"] == "normal"
