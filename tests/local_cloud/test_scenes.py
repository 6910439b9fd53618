"""Datasets of scenes in the local cloud, as a user makes them: through boto3, the bucket and mail alone."""

import json
import time
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from defectory.detection.labelled import open_labelled
from defectory.detection.layouts.presets import load_preset
from defectory.detection.layouts.records import Layout, LayoutObject, layout_line
from defectory.detection.layouts.sampler import sample_layouts
from defectory.detection.scenes.folder import read_scenes
from tests.local_cloud.laboratory import BUCKET, ENTRY, Laboratory, packed
from tests.local_cloud.roles import ROLE
from tests.support.constant_detector import constant_detector

pytestmark = pytest.mark.xdist_group("application")

PAINTER = "gligen-1"
MIDDLE, ASIDE = (24.0, 24.0, 48.0, 48.0), (2.0, 2.0, 20.0, 20.0)


class Studio:
    """The client side of the generation of scenes."""

    def __init__(self, app):
        self.cloud, self.outputs = app.cloud, app.outputs
        self.bucket = self.outputs["ScenesBucketName"]
        self.s3, self.states = self.cloud.client("s3"), self.cloud.client("stepfunctions")

    def upload(self, key: str, content: bytes) -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)
        return key

    def read(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def download(self, prefix: str, folder: Path) -> Path:
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                file = folder / entry["Key"].removeprefix(prefix)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(self.read(entry["Key"]))
        return folder

    def times(self, prefix: str) -> dict:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)["Contents"]
        return {entry["Key"]: entry["LastModified"] for entry in listed}

    def start(self, **request) -> str:
        arn = self.outputs["ScenesMachineArn"]
        return self.states.start_execution(stateMachineArn=arn, input=json.dumps(request))["executionArn"]

    def end(self, execution: str, seconds: float = 120) -> dict:
        deadline = time.monotonic() + seconds
        while (found := self.states.describe_execution(executionArn=execution))["status"] == "RUNNING":
            assert time.monotonic() < deadline, "still running"
            time.sleep(0.1)
        return found

    def status(self, dataset: str) -> dict:
        return json.loads(self.read(f"ann/{dataset}/status.json"))

    def mails(self, execution: str) -> list:
        return [mail for mail in self.cloud.mails() if execution.rpartition(":")[2] in mail.body]


@pytest.fixture(scope="module")
def studio(applications):
    return Studio(applications["catalogue"])


def create_painter(studio: Studio) -> None:
    """A model of SageMaker that paints in the place of GLIGEN, which takes a GPU."""
    laboratory = Laboratory(studio.cloud)
    if laboratory.sagemaker.list_models(NameContains=PAINTER)["Models"]:
        return
    studio.s3.create_bucket(Bucket=BUCKET)
    code = packed(inference_py=(ENTRY / "paint.py").read_text())
    container = laboratory.container("painter")
    container["Environment"]["SAGEMAKER_SUBMIT_DIRECTORY"] = laboratory.put("code/paint.tar.gz", code)
    laboratory.sagemaker.create_model(ModelName=PAINTER, PrimaryContainer=container, ExecutionRoleArn=ROLE)


def lines(*layouts: Layout) -> bytes:
    return "".join(f"{layout_line(layout)}\n" for layout in layouts).encode()


def test_layouts_become_scenes_that_the_projects_readers_and_pycocotools_read_and_more_of_them_follow(studio, tmp_path):
    wish = {"user_id": "ann", "dataset": "aisle", "preset": "housekeeping", "seed": 5, "size": 96}

    first = studio.start(**wish, count=66)
    assert json.loads(studio.end(first)["output"])["outcomes"] == {"made": 66}
    pictures = studio.times("ann/aisle/images/")
    second = studio.start(**wish, count=70)
    found = studio.end(second)

    assert found["status"] == "SUCCEEDED", found
    assert json.loads(found["output"])["outcomes"] == {"made": 70}
    assert not studio.mails(first) + studio.mails(second), "nobody has to know"
    folder = studio.download("ann/aisle/", tmp_path)
    layouts = sample_layouts(load_preset("housekeeping"), 70, seed=5, size=(96, 96))
    assert sorted(scene.image_id for scene in read_scenes(folder)) == [layout.image_id for layout in layouts]
    images = list(open_labelled(folder))
    coco = COCO(str(folder / "coco.json"))
    assert len(coco.imgs) == len(images) == 70
    assert len(coco.anns) == sum(len(image.objects) for image in images) > 70
    assert (folder / "contact-sheet.html").is_file()
    assert studio.times("ann/aisle/images/").items() >= pictures.items(), "what was made is made once"


def test_what_cannot_be_made_is_named_stored_and_mailed(studio):
    layout, other = sample_layouts(load_preset("ppe"), 2, size=(96, 96))
    strange = other.model_copy(update={"background": "the moon"})
    key = studio.upload("ann/plans/mixed.jsonl", lines(layout, strange) + b"{}\n")

    partial = studio.start(user_id="ann", dataset="mixed", layouts=key)
    refused = studio.start(user_id="ann", dataset="never", layouts="ann/plans/none.jsonl")
    ends = {execution: studio.end(execution) for execution in (partial, refused)}

    assert [end["status"] for end in ends.values()] == ["SUCCEEDED", "FAILED"]
    for execution, dataset, status, words in (
        *((partial, "mixed", "PARTIAL", "the moon"), (refused, "never", "FAILED", "ann/plans/none.jsonl")),
    ):
        [mail] = studio.mails(execution)
        assert studio.status(dataset)["status"] == status
        assert words in json.dumps(studio.status(dataset))
        assert studio.status(dataset)["reason"] in mail.body
    assert studio.status("mixed")["outcomes"] == {"failed": 2, "made": 1}


def test_a_transform_paints_and_only_what_a_detector_confirms_becomes_a_scene(studio, tmp_path):
    create_painter(studio)
    studio.upload("ann/models/check.tar.gz", constant_detector().to_bytes())
    cone = LayoutObject(label="cone", box=MIDDLE)
    layouts = [
        Layout(image_id="seen", size=(96, 96), objects=(cone,)),
        Layout(image_id="missed", size=(96, 96), objects=(LayoutObject(label="cone", box=ASIDE),)),
        Layout(image_id="withheld", size=(96, 96)),
        Layout(image_id="failed", size=(96, 96), objects=(cone,), prompt="impossible"),
    ]
    key = studio.upload("ann/plans/cones.jsonl", lines(*layouts))

    wish = {"user_id": "ann", "dataset": "cones", "layouts": key, "renderer": "gligen", "steps": 20}
    execution = studio.start(**wish, detector="ann/models/check.tar.gz")
    found = studio.end(execution)

    assert found["status"] == "SUCCEEDED", found
    assert studio.status("cones")["outcomes"] == {"failed": 1, "made": 1, "rejected": 1, "withheld": 1}
    folder = studio.download("ann/cones/", tmp_path)
    [scene] = read_scenes(folder)
    assert (scene.image_id, [item.box for item in scene.objects]) == ("seen", [(24, 24, 48, 48)])
    acceptance = json.loads((folder / "acceptance.json").read_text())
    assert acceptance["scenes"] == {"accepted": 1, "rejected": 1, "blank": 0, "withheld": 1}
    # What was painted and judged is asked for no more: of this run, one picture alone.
    second = studio.start(**wish, detector="ann/models/check.tar.gz")
    studio.end(second)
    prefix = f"ann/cones/runs/{second.rpartition(':')[2]}/requests/"
    [asked] = studio.s3.list_objects_v2(Bucket=studio.bucket, Prefix=prefix)["Contents"]
    assert [json.loads(line)["image_id"] for line in studio.read(asked["Key"]).splitlines()] == ["failed"]
