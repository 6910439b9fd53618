"""Scenes: who may do what, what is tried again, where it ends, and what the state machine hands on."""

from __future__ import annotations

from importlib import import_module

import pytest
from state_machines import choose, evaluate, following, states_of
from templates import Template, flat, is_tracing, matches

from defectory import errors
from defectory.aws import bedrock_runtime
from defectory.detection.batch import render
from defectory.detection.batch.runs import SceneDataset

FUNCTIONS = ("plan_scenes", "render_scenes", "assemble_scenes")
DATASET = SceneDataset(user_id="ann", dataset="site")
SHARD = "00007-0f3c5a7b9d1e2f40"
# What lies in the bucket, and who may read it (a letter) and write it (a capital).
OBJECTS = {
    "ann/models/detector.tar.gz": "pr",
    "ann/cutouts/cutouts.jsonl": "pr",
    "ann/presets/own.yaml": "pr",
    DATASET.recipe_key: "prP",
    DATASET.classes_key: "praP",
    DATASET.status_key: "prPA",
    DATASET.shard_key(SHARD): "praP",
    DATASET.records_key(SHARD): "praR",
    DATASET.answers_key(SHARD): "pr",
    DATASET.run_key("run-1"): "praP",
    DATASET.manifest_key("run-1"): "praP",
    DATASET.refused_key("run-1"): "praP",
    f"{DATASET.requests_prefix('run-1')}{SHARD}.jsonl": "prR",
    f"{DATASET.results_prefix('run-1')}/0f3c/FAILED_0.json": "pra",
    "ann/site/images/ppe-train-0-000000.jpg": "praR",
    "ann/site/images/ppe-train-0-000000.png": "praR",
    "ann/site/labels/ppe-train-0-000000.txt": "prR",
    **{
        f"ann/site/{name}": "prA"
        for name in ("scenes.jsonl", "failures.jsonl", "coco.json", "data.yaml", "contact-sheet.html")
    },
    "ann/site/acceptance.jsonl": "prA",
    "ann/site/acceptance.json": "prA",
}


def logical(folder: str) -> str:
    return "".join(word.capitalize() for word in folder.split("_"))


def leaves_of(detection: Template, folder: str) -> set[tuple[str, str, str]]:
    """What a function's role may do on what, beyond its own logs, traces and dead letters."""
    role = detection.function(logical(folder))["Role"]["Fn::GetAtt"][0]
    own = (f"<{logical(folder)}Logs", f"<{logical(folder)}DeadLetters")
    return {
        (leave.action, leave.resource, leave.conditions)
        for leave in detection.leaves(role)
        if not leave.resource.startswith(own) and not is_tracing(leave.action)
    }


@pytest.fixture(scope="module")
def bucket(detection) -> str:
    return f"<{detection.only('AWS::S3::Bucket', 'Scenes')}.Arn>"


@pytest.fixture(scope="module")
def states(detection):
    return states_of(detection, "Generation")


@pytest.fixture(scope="module")
def machine(detection):
    name = detection.only("AWS::StepFunctions::StateMachine", "Generation")
    return detection.of_type("AWS::StepFunctions::StateMachine")[name]


@pytest.fixture(scope="module")
def machine_leaves(detection, machine):
    return {(leave.action, leave.resource) for leave in detection.leaves(machine["RoleArn"]["Fn::GetAtt"][0])}


@pytest.mark.parametrize(("key", "allowed"), OBJECTS.items())
def test_each_function_reaches_the_objects_of_its_work_and_no_others(detection, bucket, key, allowed):
    letters = ""
    for verb, signs in (("GetObject", "pra"), ("PutObject", "PRA")):
        for folder, sign in zip(FUNCTIONS, signs, strict=True):
            patterns = [resource for action, resource, _ in leaves_of(detection, folder) if action == f"s3:{verb}"]
            letters += sign if any(matches(pattern, f"{bucket}/{key}") for pattern in patterns) else ""

    assert letters == allowed


def test_beyond_the_bucket_only_the_one_that_renders_reaches_anything_and_that_is_one_model(detection, bucket):
    for folder in FUNCTIONS:
        leaves = leaves_of(detection, folder)
        others = {leave for leave in leaves if not leave[0].startswith("s3:")}
        assert {leave[0].partition(":")[0] for leave in others} == (
            {"bedrock", "aws-marketplace"} if folder == "render_scenes" else set()
        )
        assert all("inpaint" in leave[1] for leave in others if leave[0].startswith("bedrock:"))
        assert ("s3:ListBucket", bucket, "") in leaves, "else a missing object seems forbidden"


@pytest.mark.parametrize("folder", FUNCTIONS)
def test_a_function_is_told_of_everything_its_environment_model_asks_for(detection, folder):
    handler = import_module(f"lambdas.{folder}.handler")
    variables = detection.function(logical(folder))["Environment"]["Variables"]

    handler.Environment.model_validate({key: flat(value) for key, value in variables.items()})
    assert {key.lower() for key in variables} <= set(handler.Environment.model_fields)


def test_the_state_machine_calls_its_functions_starts_transforms_and_tells_people(detection, machine_leaves):
    arns = [f"<{detection.only('AWS::Lambda::Function', f'{logical(folder)}Function')}.Arn>" for folder in FUNCTIONS]
    own = {leave for leave in machine_leaves if not leave[0].startswith(("logs:", "xray:", "states:", "s3:", "kms:"))}
    jobs = "arn:aws:sagemaker:us-east-1:123456789012:transform-job/defectory-scenes-*"

    assert {
        (action, resource.replace("<AWS::Region>", "us-east-1").replace("<AWS::AccountId>", "123456789012"))
        for action, resource in own
    } == {
        *(("lambda:InvokeFunction", arn) for arn in arns),
        *((f"sagemaker:{verb}", jobs) for verb in ("CreateTransformJob", "DescribeTransformJob", "StopTransformJob")),
        *((f"sagemaker:{verb}", jobs) for verb in ("AddTags", "ListTags")),
        *(
            (
                f"events:{verb}",
                "arn:aws:events:us-east-1:123456789012:rule/StepFunctionsGetEventsForSageMakerTransformJobsRule",
            )
            for verb in ("PutTargets", "PutRule", "DescribeRule")
        ),
        ("sns:Publish", f"<{detection.only('AWS::SNS::Topic', 'AlertsTopic')}>"),
    }


def test_the_state_machine_runs_itself_over_the_manifest_and_reaches_no_other_object(bucket, machine_leaves):
    def allows(action: str, key: str) -> bool:
        return any(action == leave[0] and matches(leave[1], f"{bucket}/{key}") for leave in machine_leaves)

    assert allows("s3:GetObject", DATASET.manifest_key("run-1"))
    assert allows("s3:PutObject", f"{DATASET.results_prefix('run-1')}/0f3c/SUCCEEDED_0.json")
    for key in OBJECTS.keys() - {DATASET.manifest_key("run-1")}:
        assert not allows("s3:GetObject", key) or "/results/" in key
        assert not allows("s3:PutObject", key) or "/results/" in key


def test_without_a_model_there_is_no_transform_and_leave_for_none(synthesise):
    stack = synthesise("detection")
    machines = stack.of_type("AWS::StepFunctions::StateMachine")
    role = machines[stack.only("AWS::StepFunctions::StateMachine", "Generation")]["RoleArn"]["Fn::GetAtt"][0]

    assert not [leave for leave in stack.leaves(role) if leave.action.startswith(("sagemaker:", "events:"))]
    assert not {"Paint", "Ask for pictures"} & states_of(stack, "Generation").keys()
    assert states_of(stack, "Generation")["Plan"]["Next"] == "Make scenes"


def test_people_are_told_of_every_end_that_the_machine_cannot_tell_and_of_lost_events(detection):
    alarms = list(detection.of_type("AWS::CloudWatch::Alarm").values())
    machine = f"<{detection.only('AWS::StepFunctions::StateMachine', 'Generation')}>"
    [queue] = [name for name in detection.of_type("AWS::SQS::Queue") if name.startswith("AssembleScenesDeadLetters")]
    watched = {(alarm["MetricName"], flat(alarm["Dimensions"][0]["Value"])) for alarm in alarms}

    assert {(f"Executions{end}", machine) for end in ("Failed", "Aborted", "TimedOut")} < watched
    assert ("ApproximateNumberOfMessagesVisible", f"<{queue}.QueueName>") in watched


def test_a_batch_that_was_stopped_is_stored_as_such(detection):
    [rule] = [
        rule
        for rule in detection.of_type("AWS::Events::Rule").values()
        if "AssembleScenesFunction" in flat(rule["Targets"][0]["Arn"])
    ]

    assert rule["EventPattern"]["detail"] == {
        "stateMachineArn": [{"Ref": detection.only("AWS::StepFunctions::StateMachine", "Generation")}],
        "status": ["ABORTED", "TIMED_OUT"],
    }
    assert rule["Targets"][0]["RetryPolicy"]["MaximumRetryAttempts"] > 0
    assert "AssembleScenesDeadLetters" in flat(rule["Targets"][0]["DeadLetterConfig"]["Arn"])


def shards(states) -> dict:
    return states["Make scenes"]["ItemProcessor"]["States"]


def test_the_state_machine_has_no_dead_ends(states):
    for part, start in ((states, "Plan"), (shards(states), "Make a shard")):
        reached = [start]
        for name in reached:
            assert name in part
            reached += [each for each in following(part[name]) if each not in reached]

        assert set(reached) == set(part)
        for name, state in part.items():
            if state["Type"] == "Task" and name != "Paint":
                assert state["Retry"][-1]["ErrorEquals"] == ["States.ALL"], "the last resort has to be last"


@pytest.mark.parametrize("state", ["Plan", "Ask for pictures", "Make a shard", "Assemble", "Store failure"])
def test_errors_are_called_as_the_functions_raise_them(states, state):
    retries = {**states, **shards(states)}[state]["Retry"]
    names = {name for retry in retries for name in retry["ErrorEquals"] if "." not in name}

    assert names - {"ShardUnfinishedError"} == {"InputError", "ImageError", "ModelRefusedError", "ModelBusyError"}
    assert ("ShardUnfinishedError" in names) is (state == "Make a shard")
    for name in names:
        raised = next(getattr(module, name) for module in (errors, bedrock_runtime, render) if hasattr(module, name))
        [attempts] = [retry["MaxAttempts"] for retry in retries if name in retry["ErrorEquals"]]
        assert (raised.kind is errors.FailureKind.TRANSIENT) is (attempts > 0)


def test_a_job_that_was_started_is_never_started_again_under_its_name(states):
    [retry] = states["Paint"]["Retry"]
    assert retry["ErrorEquals"] == ["SageMaker.ThrottlingException", "SageMaker.ResourceLimitExceededException"]
    assert states["Paint"]["Catch"][0]["Next"] == "Store failure"


def test_an_execution_stays_within_the_quotas_of_step_functions(states):
    # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    attempts = 1 + sum(retry["MaxAttempts"] for retry in shards(states)["Make a shard"]["Retry"])

    # A child's history: three events an attempt, and those of the execution and its state.
    assert 3 * attempts + 10 < 25_000
    assert states["Make scenes"]["ItemBatcher"]["MaxItemsPerBatch"] == 1
    assert states["Make scenes"]["MaxConcurrency"] == 10


PLANNED = {
    **{"run": "r/run.json", "manifest": "r/m.jsonl", "results": "r/results", "tolerated": 7, "renderer": "gligen"},
    **{"job": "0f3c", "asked": "r/requests/", "answers": "w/answers"},
}


def test_whatever_is_planned_is_read_shard_by_shard_and_tolerates_as_much_as_the_plan_says(states, bucket):
    make, known = states["Make scenes"], {"input": PLANNED}
    name = bucket.removesuffix(".Arn>") + ">"

    read = evaluate(make["ItemReader"], states=known)
    assert read["Arguments"] == {"Bucket": name, "Key": "r/m.jsonl"}
    assert read["ReaderConfig"] == {"InputType": "JSONL"}
    assert evaluate(make["ItemBatcher"], states=known)["BatchInput"] == {"run": "r/run.json"}
    assert evaluate(make["ToleratedFailureCount"], states=known) == 7
    assert evaluate(make["ResultWriter"]["Arguments"], states=known) == {"Bucket": name, "Prefix": "r/results"}


def test_a_transform_is_asked_a_line_at_a_time_and_only_where_something_is_to_be_painted(states, bucket):
    name = bucket.removesuffix(".Arn>") + ">"
    job = evaluate(states["Paint"]["Arguments"], states={"input": PLANNED})

    assert job["TransformJobName"] == "defectory-scenes-0f3c"
    assert job["ModelName"] == "gligen-1"
    source = job["TransformInput"]["DataSource"]["S3DataSource"]
    assert source == {"S3DataType": "S3Prefix", "S3Uri": f"s3://{name}/r/requests/"}
    assert (job["TransformInput"]["SplitType"], job["BatchStrategy"]) == ("Line", "SingleRecord")
    assert job["TransformOutput"]["S3OutputPath"] == f"s3://{name}/w/answers"
    assert job["TransformOutput"]["AssembleWith"] == "Line"
    for renderer, state in (("gligen", "Ask for pictures"), ("compositor", "Make scenes"), ("bedrock", "Make scenes")):
        assert choose(states["Painted by a transform?"], states={"input": {"renderer": renderer}}) == state
    asked = evaluate(
        states["Ask for pictures"]["Output"], states={"input": PLANNED, "result": {"Payload": {"requests": 2}}}
    )
    assert asked == {**PLANNED, "requests": 2}
    for requests, state in ((2, "Paint"), (0, "Make scenes")):
        assert choose(states["Anything to paint?"], states={"input": {"requests": requests}}) == state


@pytest.mark.parametrize(
    ("status", "end"),
    [("COMPLETE", "Complete"), ("PARTIAL", "Tell of missing scenes"), ("FAILED", "Nothing was made")],
)
def test_what_is_missing_is_told_of(states, status, end):
    assert choose(states["Complete?"], states={"input": {"status": status}}) == end


def test_the_companys_tags_are_on_jobs(synthesise):
    states = states_of(synthesise("detection", scene_model="gligen-1", tags="team=quality"), "Generation")
    assert {"Key": "team", "Value": "quality"} in states["Paint"]["Arguments"]["Tags"]
    assert "Tags" not in states_of(synthesise("detection", scene_model="gligen-1"), "Generation")["Paint"]["Arguments"]


def test_the_outputs_name_what_a_user_needs(detection):
    outputs = {name: flat(output["Value"]) for name, output in detection.body["Outputs"].items()}
    assert (
        outputs.items()
        >= {
            "ScenesBucketName": f"<{detection.only('AWS::S3::Bucket', 'Scenes')}>",
            "ScenesMachineArn": f"<{detection.only('AWS::StepFunctions::StateMachine', 'Generation')}>",
            "DetectionAlertsTopicArn": f"<{detection.only('AWS::SNS::Topic', 'AlertsTopic')}>",
        }.items()
    )
