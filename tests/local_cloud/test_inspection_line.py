"""The inspection line in the local cloud, as a camera and an inspector meet it: through boto3 and mail alone."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from defectory.inspection.model import load_model
from tests.local_cloud import drills
from tests.local_cloud.laboratory import Laboratory
from tests.local_cloud.line import SCRATCH, SIDE, Line, part
from tests.local_cloud.sample_app import eventually

pytestmark = pytest.mark.xdist_group("application")


@pytest.fixture(scope="module")
def line(applications):
    app = applications["catalogue"]
    return Line(app.cloud, app.outputs)


@pytest.fixture(scope="module")
def served_by_function(applications):
    app = applications["bedrock"]
    return Line(app.cloud, app.outputs)


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


def test_the_endpoint_that_served_before_a_function_did_is_deleted_by_the_next_training(served_by_function):
    cloud, machine = served_by_function.cloud, served_by_function.outputs["TrainingMachineArn"]
    machines, sagemaker = cloud.client("stepfunctions"), cloud.client("sagemaker")
    laboratory = Laboratory(cloud)
    laboratory.furnish()
    config = laboratory.config(laboratory.container())
    sagemaker.create_endpoint(EndpointName="with-model-inspection", EndpointConfigName=config)
    laboratory.settled("with-model-inspection")
    # The machine's own state and role, without a training before them.
    deployed = machines.describe_state_machine(stateMachineArn=machine)
    retire = json.loads(deployed["definition"])["States"]["RetireEndpoint"]
    catch = [{**retire["Catch"][0], "Next": "End"}]
    states = {
        "Begin": {"Type": "Pass", "Assign": {"outcome": {"reasons": ["better"]}}, "Next": "RetireEndpoint"},
        "RetireEndpoint": {**retire, "Catch": catch, "Next": "End"},
        "End": {"Type": "Succeed", "Output": "{% $outcome.reasons %}"},
    }
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Begin", "States": states})
    alone = machines.create_state_machine(name="retire", definition=definition, roleArn=deployed["roleArn"])

    def told() -> list[str]:
        started = machines.start_execution(stateMachineArn=alone["stateMachineArn"])
        arn = started["executionArn"]
        ended = eventually(lambda: machines.describe_execution(executionArn=arn).get("output"), "end of the execution")
        return list(json.loads(ended))

    assert told() == ["better", "The endpoint with-model-inspection, which nobody asks any more, was deleted."]
    assert not sagemaker.list_endpoints(NameContains="with-model")["Endpoints"]
    # There is none any more.
    assert told() == ["better"]


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


def test_an_endpoint_that_is_killed_while_it_is_asked_is_asked_again(line):
    drills.kill_endpoint(line, uploads=6, kills=3)


def test_an_answer_of_half_a_megabyte_is_a_row_and_a_mail(line, tmp_path):
    drills.answer_nonsense(line, [drills.BIG_ANSWER])


def test_a_burst_with_repeated_and_poisoned_messages_is_worked_on_once(line):
    drills.burst(line, uploads=12, repeated=4)
    drills.poison(line, drills.POISON[:4])


def test_a_throttled_table_and_topic_lose_nothing(line):
    drills.throttle(line, uploads=4, share=0.3)
