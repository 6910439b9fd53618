"""Assembling: a dataset of what was made, and a status that names what was not."""

from __future__ import annotations

import json

import pytest

from defectory.errors import InputError
from defectory.images.items import ItemRecord
from tests.unit.lambdas.images.conftest import NAME, plate


def test_a_dataset_is_described_in_every_form_and_the_status_says_so(factory, wish):
    answer = factory.run(**wish)
    folder, status = factory.keys("ann/plates/"), factory.read("ann/plates/status.json")

    assert answer["status"] == status["status"] == "COMPLETE"
    assert status["outcomes"] == {"made": 2}
    described = {"dataset.json", "dataset.manifest", "coco.json", "data.yaml", "contact-sheet.html"}
    assert described <= folder
    dataset = factory.read("ann/plates/dataset.json")
    assert {f"labels/{image['path'].split('/')[1][:-4]}.txt" for image in dataset["images"]} < folder
    assert {image["path"] for image in dataset["images"]} == {key for key in folder if key.startswith("images/")}
    lines = [json.loads(line) for line in factory.bucket.read("ann/plates/dataset.manifest").splitlines()]
    assert {line["source-ref"] for line in lines} == {
        f"s3://{NAME}/ann/plates/{image['path']}" for image in dataset["images"]
    }


def test_files_say_what_they_are_when_they_are_opened_in_a_browser(factory, wish):
    factory.run(**wish)

    kinds = {
        key.rpartition(".")[2]: factory.s3.head_object(Bucket=NAME, Key=key)["ContentType"]
        for key in factory.bucket.keys("ann/plates/")
    }
    assert (kinds["html"], kinds["png"], kinds["json"]) == ("text/html; charset=utf-8", "image/png", "application/json")


def test_a_second_batch_adds_to_the_dataset_and_has_a_status_of_its_own(factory, wish):
    factory.run(**wish)
    answer = factory.run(execution="run-2", **{**wish, "defect": "dent", "count": 1})

    assert (answer["planned"], answer["outcomes"], answer["pictures"]) == (1, {"made": 1}, 3)
    assert len(factory.read("ann/plates/dataset.json")["images"]) == 3
    assert {"runs/run-1/run.json", "runs/run-2/run.json"} <= factory.keys("ann/plates/")


def test_classes_of_an_earlier_batch_still_hold(factory, wish):
    plan = {"wants": [{"renderer": "procedural", "defect": "scratch", "count": 1}], "classes": {"scratch": "Kratzer"}}
    factory.run(user_id="ann", dataset="plates", source="ann/photos/", plan=plan)
    factory.run(execution="run-2", **{**wish, "defect": "dent", "count": 1})

    classes = {tuple(image["classes"]) for image in factory.read("ann/plates/dataset.json")["images"]}
    assert classes == {("Kratzer",), ("dent",)}


def test_pictures_without_a_record_are_named_with_what_the_machine_knows(factory, wish, measured):
    planned = factory.plan(**{**wish, "count": 3})
    factory.make_planned(planned, 0)
    factory.fail(planned, 2, error="ModelBusyError", cause=json.dumps({"errorMessage": "throttled"}))

    answer = factory.finish(planned)
    status = factory.read("ann/plates/status.json")

    assert (answer["status"], answer["outcomes"]) == ("PARTIAL", {"failed": 2, "made": 1})
    assert "1 of 3 pictures" in answer["reason"]
    assert measured("Pictures") == {("made",): [1.0], ("failed",): [2.0]}
    reasons = {failure["reason"][:16] for failure in status["not_made"]}
    assert reasons == {"ModelBusyError: ", "Nobody knows why"}
    noted = factory.read("ann/plates/dataset.json")["notes"]["synthesis"]["not_in_it"]
    assert {each["id"] for each in noted} == {failure["id"] for failure in status["not_made"]}


def test_the_status_keeps_what_was_estimated_beside_what_it_did_cost(factory, wish):
    planned = factory.plan(**{**wish, "renderer": "bedrock-inpaint"})
    estimate = factory.read("ann/plates/status.json")["estimate"]
    factory.finish(planned)
    status = factory.read("ann/plates/status.json")

    assert status["estimate"] == estimate
    assert estimate["total"] > 0
    assert status["cost"]["total"] == 0, "nothing was made"


def test_a_picture_that_was_only_late_wins_over_its_failure(factory, wish, monkeypatch):
    planned = factory.plan(**{**wish, "count": 1})
    write_new = factory.bucket.write_new

    def late(key: str, content: bytes) -> bool:
        factory.make_planned(planned, 0)
        return write_new(key, content)

    monkeypatch.setattr(factory.bucket, "write_new", late, raising=False)
    factory.finish(planned)

    [key] = factory.bucket.keys("ann/plates/records/")
    assert ItemRecord.model_validate(factory.read(key)).outcome == "made"
    monkeypatch.undo()
    assert factory.finish(planned)["status"] == "COMPLETE"


def test_where_nothing_was_made_the_status_is_failed_and_says_why(factory, wish):
    for number in range(3):
        factory.upload(f"ann/photos/{number}.png", b"broken")

    answer = factory.run(**wish)

    assert answer["status"] == "FAILED"
    assert "0 of 2 pictures were made; 2 failed" in answer["reason"]
    assert "ann/photos/" in answer["reason"]
    assert factory.read("ann/plates/dataset.json")["images"] == []


def test_a_picture_that_is_there_already_goes_and_is_counted(factory, wish):
    """Given the same photo twice under two names, and a defect at one place."""
    factory.upload("ann/photos/0.png", plate(5))
    answer = factory.run(**{**wish, "source": "ann/photos/0.png", "count": 1})
    [key] = factory.bucket.keys("ann/plates/records/")
    record = factory.read(key)
    twin = {**record, "id": f"scratch-{'f' * 16}", "item": {**record["item"], "seed": 7}}
    for name in ("image", "mask", "thumbnail", "closeup"):
        twin[name] = record[name].replace(record["id"], twin["id"])
        factory.upload(f"ann/plates/{twin[name]}", factory.bucket.read(f"ann/plates/{record[name]}"))
    factory.upload(f"ann/plates/records/{twin['id']}.json", json.dumps(twin).encode())

    answer = factory.assemble(user_id="ann", dataset="plates")

    assert answer["outcomes"] == {"duplicate": 1, "made": 1}
    [kept] = factory.keys("ann/plates/images/")
    assert factory.keys("ann/plates/masks/") == {kept}
    assert factory.keys("ann/plates/labels/") == {kept.replace(".png", ".txt")}
    assert factory.assemble(user_id="ann", dataset="plates") == answer, "again changes nothing"


def test_pictures_of_single_calls_become_a_dataset_when_asked(factory, wish):
    factory.make(**wish)

    assert factory.assemble(user_id="ann", dataset="plates") == {"outcomes": {"made": 2}}
    assert len(factory.read("ann/plates/dataset.json")["images"]) == 2


@pytest.mark.parametrize(
    "event", [{}, {"user_id": "ann"}, {"user_id": "ann", "dataset": "nothing"}, {"user_id": "..", "dataset": "x"}]
)
def test_nothing_to_assemble_is_an_error(factory, event):
    with pytest.raises(InputError):
        factory.assemble(**event)


def test_a_record_that_is_none_is_named(factory, wish):
    factory.make(**wish)
    factory.upload("ann/plates/records/broken.json", b"{}")

    with pytest.raises(InputError, match=r"records/broken\.json"):
        factory.assemble(user_id="ann", dataset="plates")


def test_a_batch_that_failed_as_a_whole_is_stored_where_the_request_says(factory, wish):
    problem = {"execution": "run-9", "problem": "InputError: source: must be there."}

    assert factory.assemble(request={**wish, "source": 5}, **problem) == {"stored": True}
    status = factory.read("ann/plates/status.json")
    assert (status["status"], status["execution"], status["reason"]) == ("FAILED", "run-9", problem["problem"])


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT"])
def test_a_batch_that_was_stopped_is_no_longer_said_to_run(factory, wish, status):
    factory.plan(**wish)
    detail = {"name": "run-1", "status": status, "input": json.dumps(wish), "stateMachineArn": "arn"}

    factory.assemble(**{"detail-type": "Step Functions Execution Status Change", "detail": detail})

    stored = factory.read("ann/plates/status.json")
    assert (stored["status"], stored["execution"]) == ("FAILED", "run-1")
    assert status in stored["reason"]


@pytest.mark.parametrize("request_", [None, [], {}, {"user_id": "../../etc", "dataset": "x"}, "text"])
def test_a_request_that_names_no_dataset_writes_nowhere(factory, request_):
    before = factory.keys()

    assert factory.assemble(request=request_, execution="e", problem="p") == {"stored": False}
    assert factory.keys() == before


def test_a_run_that_was_stopped_is_partial_with_what_failed_and_what_it_never_came_to(factory, wish):
    planned = factory.plan(**{**wish, "count": 4})
    factory.make_planned(planned, 0)
    factory.fail(planned, 1, 2, error="Sandbox.Timedout", cause="The function took too long.")

    answer = factory.finish(planned, stopped=True)

    assert (answer["status"], answer["planned"]) == ("PARTIAL", 4)
    assert answer["outcomes"] == {"failed": 2, "made": 1, "pending": 1}
    assert "1 of 4 pictures were made; 2 failed, 1 pending" in answer["reason"]
    assert "stopped" in answer["reason"]
    assert "Sandbox.Timedout: The function took too long." in answer["reason"]
    assert len(factory.keys("ann/plates/records/")) == 3, "nobody has tried the fourth"
    factory.make_planned(planned)
    assert factory.finish(planned)["status"] == "COMPLETE", "the same again makes what is missing"
