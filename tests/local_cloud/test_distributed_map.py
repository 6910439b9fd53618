"""Distributed Maps in the local cloud, as the language has them: items from S3, batches, tolerance, results in S3."""

import json
from typing import Any

import pytest

from tests.local_cloud.laboratory import BUCKET, ROLE, Laboratory, unique
from tests.local_cloud.sample_app import eventually

pytestmark = pytest.mark.xdist_group("local-cloud")

State = dict[str, Any]
# What becomes of a batch: it fails where an item says so.
PROCESSOR = {
    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
    "StartAt": "Bad?",
    "States": {
        "Bad?": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% 'bad' in $states.input.Items.name %}", "Next": "Bad"}],
            "Default": "Good",
        },
        "Bad": {"Type": "Fail", "Error": "BadItem", "Cause": "It says so."},
        "Good": {
            "Type": "Pass",
            "Output": "{% {'of': $states.input.BatchInput.of, 'names': [$states.input.Items.name]} %}",
            "End": True,
        },
    },
}
BATCHES = {"MaxItemsPerBatch": "{% $states.input.batch %}", "BatchInput": {"of": "{% $states.input.of %}"}}


class Maps:
    """State machines of one Map each."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.machines, self.s3 = laboratory.cloud.client("stepfunctions"), laboratory.cloud.client("s3")

    def put(self, content: str) -> str:
        key = unique("items")
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=content.encode())
        return key

    def reader(self, content: str, **config: object) -> State:
        arguments = {"Bucket": BUCKET, "Key": self.put(content)}
        return {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": config, "Arguments": arguments}

    def start(self, state: State, of: State | None = None) -> str:
        states = {"Map": {"Type": "Map", "ItemProcessor": PROCESSOR, "End": True, **state}, **(of or {})}
        definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Map", "States": states})
        machine = self.machines.create_state_machine(name=unique("machine"), definition=definition, roleArn=ROLE)
        given = json.dumps({"batch": 2, "of": "x"})
        return self.machines.start_execution(stateMachineArn=machine["stateMachineArn"], input=given)["executionArn"]

    def end(self, execution: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            described = self.machines.describe_execution(executionArn=execution)
            return None if described["status"] == "RUNNING" else described

        return eventually(look, "end of the execution")

    def output(self, state: State) -> Any:
        ended = self.end(self.start(state))
        assert ended["status"] == "SUCCEEDED", ended
        return json.loads(ended["output"])

    def map_run(self, execution: str) -> dict[str, Any]:
        [run] = self.machines.list_map_runs(executionArn=execution)["mapRuns"]
        return self.machines.describe_map_run(mapRunArn=run["mapRunArn"])

    def history(self, execution: str) -> list[str]:
        return [event["type"] for event in self.machines.get_execution_history(executionArn=execution)["events"]]

    def json(self, key: str) -> Any:
        return json.loads(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())


@pytest.fixture(scope="module")
def maps(laboratory: Laboratory) -> Maps:
    return Maps(laboratory)


def lines(*names: str) -> str:
    return "".join(json.dumps({"name": name}) + "\n" for name in names)


@pytest.mark.parametrize(
    ("content", "config"),
    [
        (lines("a", "b", "c"), {"InputType": "JSONL"}),
        ('[{"name": "a"}, {"name": "b"}, {"name": "c"}]', {"InputType": "JSON"}),
        ('{"in": {"it": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}}', {"ItemsPointer": "/in/it"}),
        ("name,more\na,1\nb\nc,3,4\n", {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}),
        (
            "a;1\nb;2\nc;3\nd;4\n",
            {"InputType": "CSV", "CSVDelimiter": "SEMICOLON", "CSVHeaders": ["name", "more"], "MaxItems": 3},
        ),
    ],
)
def test_items_are_read_from_s3_and_come_in_batches_with_what_they_share(maps, content, config):
    output = maps.output({"ItemReader": maps.reader(content, **config), "ItemBatcher": BATCHES, "MaxConcurrency": 2})

    assert output == [{"of": "x", "names": ["a", "b"]}, {"of": "x", "names": ["c"]}]


def test_objects_of_a_prefix_are_items_and_a_selector_makes_of_them_what_is_handed_on(maps):
    folder = unique("listed")
    for number in range(3):
        maps.s3.put_object(Bucket=BUCKET, Key=f"{folder}/{number}", Body=b"x" * number)
    reader = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Arguments": {"Bucket": BUCKET, "Prefix": f"{folder}/"}}
    selector = {
        "name": "{% ($item := $states.context.Map.Item; $item.Index & $substringAfter($item.Value.Key, '/')) %}"
    }

    output = maps.output({"ItemReader": reader, "ItemSelector": selector, "ItemBatcher": BATCHES})

    assert [batch["names"] for batch in output] == [["00", "11"], ["22"]]


def test_items_of_the_input_are_children_of_their_own_without_a_batcher(maps):
    processor = {**PROCESSOR, "StartAt": "Good", "States": {"Good": {"Type": "Pass", "End": True}}}
    execution = maps.start({"Items": [3, 1, 2], "ItemProcessor": processor})

    assert json.loads(maps.end(execution)["output"]) == [3, 1, 2]
    assert maps.history(execution) == [
        *("ExecutionStarted", "MapStateEntered", "MapStateStarted", "MapRunStarted"),
        *("MapRunSucceeded", "MapStateSucceeded", "MapStateExited", "ExecutionSucceeded"),
    ]
    [run] = maps.machines.list_map_runs(executionArn=execution)["mapRuns"]
    child = maps.machines.list_executions(mapRunArn=run["mapRunArn"])["executions"][0]["executionArn"]
    assert maps.history(child) == ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]


def test_a_batch_is_no_larger_than_an_input_may_be(maps):
    long = ["a" * 60_000 + str(number) for number in range(5)]
    count = {"Type": "Pass", "Output": "{% $count($states.input.Items) %}", "End": True}
    batched = {
        "ItemReader": maps.reader(lines(*long), InputType="JSONL"),
        "ItemBatcher": {"MaxInputBytesPerBatch": 200_000, "BatchInput": {"of": 1}},
    }
    assert maps.output({**batched, "ItemProcessor": {**PROCESSOR, "StartAt": "Count", "States": {"Count": count}}}) == [
        *(3, 2),
    ]
    # Nor are the outputs of all children.
    unwritten = maps.end(maps.start(batched))
    assert (unwritten["status"], unwritten["error"]) == ("FAILED", "States.DataLimitExceeded")

    too_long = maps.end(maps.start({"ItemReader": maps.reader(lines("a" * 300_000), InputType="JSONL")}))
    assert (too_long["status"], too_long["error"]) == ("FAILED", "States.DataLimitExceeded")


def test_results_go_to_s3_with_what_failed_within_the_tolerance(maps):
    prefix = unique("results")
    writer = {
        "Resource": "arn:aws:states:::s3:putObject",
        "WriterConfig": {"Transformation": "NONE", "OutputType": "JSONL"},
        "Arguments": {"Bucket": BUCKET, "Prefix": prefix},
    }
    reader = maps.reader(lines("a", "bad", "c", "d", "e"), InputType="JSONL")
    execution = maps.start(
        {"ItemReader": reader, "ItemBatcher": BATCHES, "ResultWriter": writer, "ToleratedFailureCount": 2}
    )

    details = json.loads(maps.end(execution)["output"])["ResultWriterDetails"]
    files = maps.json(details["Key"])["ResultFiles"]
    [failed] = files["FAILED"]
    result = maps.json(failed["Key"])
    counts = maps.map_run(execution)["itemCounts"]

    assert details["Key"].startswith(f"{prefix}/")
    assert (result["Status"], result["Error"], result["Cause"]) == ("FAILED", "BadItem", "It says so.")
    assert json.loads(result["Input"])["Items"] == [{"name": "a"}, {"name": "bad"}]
    assert (counts["total"], counts["failed"], counts["succeeded"]) == (5, 2, 3), "items of a failed batch all count"
    written = maps.s3.get_object(Bucket=BUCKET, Key=files["SUCCEEDED"][0]["Key"])["Body"].read().splitlines()
    assert sorted(json.loads(json.loads(line)["Output"])["names"] for line in written) == [["c", "d"], ["e"]]


@pytest.mark.parametrize(
    ("tolerance", "exceeded"),
    [
        ({}, True),
        ({"ToleratedFailureCount": 0}, True),
        ({"ToleratedFailureCount": "{% $states.input.batch - 1 %}"}, False),
        ({"ToleratedFailurePercentage": 24}, True),
        ({"ToleratedFailurePercentage": 25}, False),
        ({"ToleratedFailurePercentage": 100, "ToleratedFailureCount": 0}, True),
    ],
)
def test_beyond_the_tolerance_the_map_fails_under_its_own_name(maps, tolerance, exceeded):
    reader = maps.reader(lines("a", "bad", "c", "d"), InputType="JSONL")
    caught = {"ErrorEquals": ["States.ExceedToleratedFailureThreshold"], "Output": "caught", "Next": "Caught"}
    batcher = {"MaxItemsPerBatch": 1, "BatchInput": {"of": 1}}
    execution = maps.start(
        {"ItemReader": reader, "ItemBatcher": batcher, "Catch": [caught], **tolerance}, {"Caught": {"Type": "Succeed"}}
    )

    output = json.loads(maps.end(execution)["output"])

    assert (output == "caught") is exceeded
    assert maps.map_run(execution)["status"] == ("FAILED" if exceeded else "SUCCEEDED")
    if not exceeded:
        assert [batch["names"] for batch in output] == [["a"], ["c"], ["d"]]


def test_no_more_children_run_at_a_time_than_the_state_says_and_they_end_with_the_execution(maps):
    waiting = {"Wait": {"Type": "Wait", "Seconds": 1, "End": True}}
    processor = {**PROCESSOR, "StartAt": "Wait", "States": waiting}
    execution = maps.start({"Items": list(range(50)), "ItemProcessor": processor, "MaxConcurrency": 3})

    eventually(lambda: maps.machines.list_map_runs(executionArn=execution)["mapRuns"], "map run")
    running = eventually(lambda: maps.map_run(execution)["itemCounts"]["running"], "children")
    maps.machines.stop_execution(executionArn=execution)
    ended = eventually(lambda: run if (run := maps.map_run(execution))["status"] != "RUNNING" else None, "end")

    assert running <= 3
    assert ended["status"] == "ABORTED"
    assert ended["itemCounts"]["total"] < 50
    assert ended["itemCounts"]["running"] == 0
    assert maps.machines.describe_execution(executionArn=execution)["status"] == "ABORTED"


def test_a_manifest_that_cannot_be_read_is_told_by_the_readers_name(maps):
    absent = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSONL"},
        "Arguments": {"Bucket": BUCKET, "Key": "absent"},
    }
    for reader in (absent, maps.reader("no JSON", InputType="JSONL"), maps.reader("x", InputType="PARQUET")):
        ended = maps.end(maps.start({"ItemReader": reader}))
        assert (ended["status"], ended["error"]) == ("FAILED", "States.ItemReaderFailed")
