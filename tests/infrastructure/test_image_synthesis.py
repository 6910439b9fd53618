"""Image synthesis: who may do what, what is tried again, where it ends, and what the state machine hands on."""

from __future__ import annotations

import json
from importlib import import_module

import pytest
from state_machines import choose, evaluate, following, states_of
from templates import Template, flat, is_tracing, matches

from defectory import errors
from defectory.aws import bedrock_runtime
from defectory.datasets.batches import Folder
from defectory.images.batch.requests import MAX_PICTURES
from defectory.images.batch.runs import ManifestItem
from defectory.images.items import Item, item_id
from defectory.images.renderers import MAX_SEED

FUNCTIONS = ("plan_synthesis", "synthesize_images", "assemble_dataset")
EXECUTION = {"Input": {"user_id": "ann", "dataset": "boards"}, "Name": "run-1"}
ITEM = item_id(Item(renderer="procedural", defect="scratch", seed=1, source="ann/photos/1.png"))
FOLDER = Folder(user_id="ann", dataset="boards")
# What lies in the bucket, and who may read, write and remove it.
OBJECTS = {
    "ann/photos/1.png": "ps--",
    "ann/donors/masks/scratch/1.png": "ps--",
    FOLDER.run_key("run-1"): "psa-P",
    FOLDER.manifest_key("run-1"): "psa-P",
    f"{FOLDER.results_prefix('run-1')}/0f3c/FAILED_0.json": "psa-",
    FOLDER.classes_key: "psaA",
    FOLDER.status_key: "ps-PA",
    f"ann/boards/images/{ITEM}.png": "ps-Sx",
    f"ann/boards/masks/{ITEM}.png": "ps-Sx",
    f"ann/boards/thumbnails/{ITEM}.jpg": "psaS",
    f"ann/boards/thumbnails/{ITEM}-closeup.jpg": "psaS",
    f"ann/boards/records/{ITEM}.json": "psaSA",
    "ann/boards/dataset.json": "psA",
    "ann/boards/dataset.manifest": "psA",
    "ann/boards/coco.json": "psA",
    "ann/boards/data.yaml": "psA",
    "ann/boards/contact-sheet.html": "psA",
    f"ann/boards/labels/{ITEM}.txt": "psAx",
}


def logical(folder: str) -> str:
    return "".join(word.capitalize() for word in folder.split("_"))


def leaves_of(synthesis: Template, folder: str) -> set[tuple[str, str, str]]:
    """What a function's role may do on what, beyond its own logs, traces and dead letters."""
    role = synthesis.function(logical(folder))["Role"]["Fn::GetAtt"][0]
    own = (f"<{logical(folder)}Logs", f"<{logical(folder)}DeadLetters")
    return {
        (leave.action, leave.resource, leave.conditions)
        for leave in synthesis.leaves(role)
        if not leave.resource.startswith(own) and not is_tracing(leave.action)
    }


@pytest.fixture(scope="module")
def bucket(synthesis) -> str:
    return f"<{synthesis.only('AWS::S3::Bucket', 'Images')}.Arn>"


@pytest.fixture(scope="module")
def states(synthesis):
    return states_of(synthesis, "Synthesis")


@pytest.mark.parametrize(("key", "allowed"), OBJECTS.items())
def test_each_function_reaches_the_objects_of_its_work_and_no_others(synthesis, bucket, key, allowed):
    letters = ""
    for verb, signs in (("GetObject", "psa"), ("PutObject", "PSA"), ("DeleteObject", "..x")):
        for folder, sign in zip(FUNCTIONS, signs, strict=True):
            patterns = [resource for action, resource, _ in leaves_of(synthesis, folder) if action == f"s3:{verb}"]
            letters += sign if any(matches(pattern, f"{bucket}/{key}") for pattern in patterns) else ""

    assert sorted(letters) == sorted(allowed.replace("-", ""))


def test_beyond_the_bucket_only_the_one_that_draws_reaches_anything_and_that_are_models(synthesis, bucket):
    for folder in FUNCTIONS:
        others = {leave for leave in leaves_of(synthesis, folder) if not leave[0].startswith("s3:")}

        assert {leave[0].partition(":")[0] for leave in others} == (
            {"bedrock", "aws-marketplace"} if folder == "synthesize_images" else set()
        )
        assert ("s3:ListBucket", bucket, "") in leaves_of(synthesis, folder), "else a missing object seems forbidden"


def test_the_configured_image_models_are_called_in_their_region_alone(synthesis):
    profile = "arn:aws:bedrock:us-west-2:123456789012:inference-profile/us.stability.stable-image-inpaint-v1:0"
    called = {leave[1:] for leave in leaves_of(synthesis, "synthesize_images") if leave[0] == "bedrock:InvokeModel"}
    routed = {
        f"arn:aws:bedrock:{region}::foundation-model/stability.stable-image-inpaint-v1:0"
        for region in ("us-east-1", "us-east-2", "us-west-2")
    }

    assert {resource for resource, condition in called if not condition} == {
        *("arn:aws:bedrock:us-west-2::foundation-model/stability.sd3-5-large-v1:0", profile)
    }
    assert {resource for resource, condition in called if condition} == routed
    assert all(profile in condition for resource, condition in called if resource in routed)


def test_without_models_none_can_be_called_and_settings_reach_the_functions(synthesise):
    stack = synthesise("image-synthesis", image_model_id="", inpaint_model_id="", image_region="us-east-1", name="p7")

    assert not [leave for leave in leaves_of(stack, "synthesize_images") if not leave[0].startswith("s3:")]
    variables = stack.function("SynthesizeImages")["Environment"]["Variables"]
    assert (variables["IMAGE_REGION"], variables["IMAGE_MODEL_ID"], variables["INPAINT_MODEL_ID"]) == (
        *("us-east-1", "", ""),
    )
    assert stack.function("SynthesizeImages")["FunctionName"] == "p7-synthesize-images"
    machine = stack.of_type("AWS::StepFunctions::StateMachine")[stack.only("AWS::StepFunctions::StateMachine")]
    assert machine["StateMachineName"] == "p7-image-synthesis"


@pytest.mark.parametrize("folder", FUNCTIONS)
def test_a_function_is_told_of_everything_its_environment_model_asks_for(synthesis, folder):
    handler = import_module(f"lambdas.{folder}.handler")
    variables = synthesis.function(logical(folder))["Environment"]["Variables"]

    handler.Environment.model_validate({key: flat(value) for key, value in variables.items()})
    assert {key.lower() for key in variables} <= set(handler.Environment.model_fields)


def test_the_functions_are_found_in_their_common_package(synthesis):
    functions = synthesis.of_type("AWS::Lambda::Function").values()

    assert {function["Handler"] for function in functions} == {
        *("handler.handler", "lambdas/plan_synthesis/handler.handler", "lambdas/assemble_dataset/handler.handler")
    }
    assert {tuple(function["Architectures"]) for function in functions} == {("arm64",)}
    assert len({flat(function["Role"]) for function in functions}) == 3


def test_the_state_machine_calls_its_functions_and_tells_people(synthesis):
    machine = synthesis.of_type("AWS::StepFunctions::StateMachine")[
        synthesis.only("AWS::StepFunctions::StateMachine", "Synthesis")
    ]
    leaves = {(leave.action, leave.resource) for leave in synthesis.leaves(machine["RoleArn"]["Fn::GetAtt"][0])}
    arns = [f"<{synthesis.only('AWS::Lambda::Function', f'{logical(folder)}Function')}.Arn>" for folder in FUNCTIONS]

    assert {leave for leave in leaves if not leave[0].startswith(("logs:", "xray:", "states:", "s3:"))} == {
        *(("lambda:InvokeFunction", arn) for arn in arns),
        ("sns:Publish", f"<{synthesis.only('AWS::SNS::Topic')}>"),
        *((f"kms:{verb}", f"<{synthesis.only('AWS::KMS::Key')}.Arn>") for verb in ("Decrypt", "GenerateDataKey")),
    }


def test_the_state_machine_runs_itself_over_the_manifest_and_reaches_no_other_object(synthesis, bucket):
    machine = synthesis.of_type("AWS::StepFunctions::StateMachine")[synthesis.only("AWS::StepFunctions::StateMachine")]
    leaves = synthesis.leaves(machine["RoleArn"]["Fn::GetAtt"][0])

    def allows(action: str, resource: str) -> bool:
        return any(leave.action == action and matches(leave.resource, resource) for leave in leaves)

    name = machine["StateMachineName"]
    [own] = {leave.resource for leave in leaves if leave.action == "states:StartExecution"}
    assert own.endswith(f":stateMachine:{name}")
    runs = own.replace(":stateMachine:", ":execution:")
    for verb in ("DescribeExecution", "StopExecution"):
        assert allows(f"states:{verb}", f"{runs}/Pictures:6f1a")
        assert not allows(f"states:{verb}", f"{runs}-of-another/Pictures:6f1a")
    assert allows("s3:GetObject", f"{bucket}/{FOLDER.manifest_key('run-1')}")
    assert allows("s3:PutObject", f"{bucket}/{FOLDER.results_prefix('run-1')}/0f3c/SUCCEEDED_0.json")
    for key in OBJECTS.keys() - {FOLDER.manifest_key("run-1")}:
        assert not allows("s3:GetObject", f"{bucket}/{key}") or "/results/" in key
        assert not allows("s3:PutObject", f"{bucket}/{key}") or "/results/" in key


def test_people_are_told_of_every_end_that_the_machine_cannot_tell_and_of_lost_events(synthesis):
    alarms = list(synthesis.of_type("AWS::CloudWatch::Alarm").values())
    machine = f"<{synthesis.only('AWS::StepFunctions::StateMachine')}>"
    queues = set(synthesis.of_type("AWS::SQS::Queue"))

    assert {(alarm["MetricName"], flat(alarm["Dimensions"][0]["Value"])) for alarm in alarms} == {
        *((f"Executions{end}", machine) for end in ("Failed", "Aborted", "TimedOut")),
        *(("ApproximateNumberOfMessagesVisible", f"<{queue}.QueueName>") for queue in queues),
    }
    assert all(alarm["AlarmActions"] == [{"Ref": synthesis.only("AWS::SNS::Topic")}] for alarm in alarms)
    # Those that users call, or EventBridge, keep what they gave up.
    kept = {
        flat(invoke["FunctionName"]): flat(invoke["DestinationConfig"]["OnFailure"]["Destination"])
        for invoke in synthesis.of_type("AWS::Lambda::EventInvokeConfig").values()
    }
    assert set(kept.values()) == {f"<{queue}.Arn>" for queue in queues}
    assert {name.partition("Function")[0] for name in kept} == {"<SynthesizeImages", "<AssembleDataset"}


def test_a_batch_that_was_stopped_is_stored_as_such(synthesis):
    [rule] = synthesis.of_type("AWS::Events::Rule").values()
    [target] = rule["Targets"]

    assert rule["EventPattern"]["detail-type"] == ["Step Functions Execution Status Change"]
    assert rule["EventPattern"]["detail"] == {
        "stateMachineArn": [{"Ref": synthesis.only("AWS::StepFunctions::StateMachine")}],
        "status": ["ABORTED", "TIMED_OUT"],
    }
    assert "AssembleDatasetFunction" in flat(target["Arn"])
    assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
    assert "AssembleDatasetDeadLetters" in flat(target["DeadLetterConfig"]["Arn"])


def test_what_was_overwritten_can_be_had_back_and_everything_goes_as_configured(synthesise):
    stack = synthesise("image-synthesis", retention_days="30", log_retention_days="14")
    images = stack.of_type("AWS::S3::Bucket")[stack.only("AWS::S3::Bucket", "Images")]
    rules = {key: value for rule in images["LifecycleConfiguration"]["Rules"] for key, value in rule.items()}

    assert images["VersioningConfiguration"] == {"Status": "Enabled"}
    assert rules["ExpirationInDays"] == 30
    assert "NoncurrentVersionExpiration" in rules


def test_the_outputs_name_what_a_user_needs(synthesis):
    assert {name: flat(output["Value"]) for name, output in synthesis.body["Outputs"].items()} == {
        "ImagesBucketName": f"<{synthesis.only('AWS::S3::Bucket', 'Images')}>",
        "SynthesizeFunctionName": f"<{synthesis.only('AWS::Lambda::Function', 'SynthesizeImagesFunction')}>",
        "SynthesisMachineArn": f"<{synthesis.only('AWS::StepFunctions::StateMachine')}>",
        "AssembleFunctionName": f"<{synthesis.only('AWS::Lambda::Function', 'AssembleDatasetFunction')}>",
        "SynthesisAlertsTopicArn": f"<{synthesis.only('AWS::SNS::Topic')}>",
    }


def test_the_state_machine_has_no_dead_ends(states):
    for part, start in ((states, "Plan"), (pictures(states), "Make some")):
        reached = [start]
        for name in reached:
            assert name in part
            reached += [each for each in following(part[name]) if each not in reached]

        assert set(reached) == set(part)
        for state in part.values():
            if state["Type"] == "Task":
                assert state["Retry"][-1]["ErrorEquals"] == ["States.ALL"], "the last resort has to be last"


def pictures(states) -> dict:
    return states["Make pictures"]["ItemProcessor"]["States"]


@pytest.mark.parametrize("state", ["Plan", "Make some", "Assemble", "Store failure"])
def test_errors_are_called_as_the_functions_raise_them(states, state):
    retries = {**states, **pictures(states)}[state]["Retry"]
    names = {name for retry in retries for name in retry["ErrorEquals"] if "." not in name}

    assert names == {"InputError", "ImageError", "ModelRefusedError", "ModelBusyError"}
    for name in names:
        raised = getattr(errors, name, None) or getattr(bedrock_runtime, name)
        [attempts] = [retry["MaxAttempts"] for retry in retries if name in retry["ErrorEquals"]]
        assert (raised.kind is errors.FailureKind.TRANSIENT) is (attempts > 0)


def test_what_mends_itself_is_tried_for_long_and_bad_input_is_not(states):
    hopeless, busy, other = pictures(states)["Make some"]["Retry"]

    assert set(hopeless["ErrorEquals"]) == {"InputError", "ImageError", "ModelRefusedError"}
    assert hopeless["MaxAttempts"] == 0
    assert {"ModelBusyError", "Lambda.TooManyRequestsException"} <= set(busy["ErrorEquals"])
    waits = [min(busy["IntervalSeconds"] * busy["BackoffRate"] ** n, busy["MaxDelaySeconds"]) for n in range(10)]
    assert busy["MaxAttempts"] == len(waits)
    assert 600 < sum(waits) < 3600
    assert other["MaxAttempts"] >= 3


def test_an_execution_stays_within_the_quotas_of_step_functions(states):
    # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    attempts = 1 + sum(retry["MaxAttempts"] for retry in pictures(states)["Make some"]["Retry"])
    longest = ManifestItem(want=9999, seed=MAX_SEED, source="ann/" + "漢" * 340, mask="ann/" + "漢" * 340).line
    batcher = states["Make pictures"]["ItemBatcher"]

    # A child's history: three events an attempt, and those of the execution and its state.
    assert 3 * attempts + 10 < 25_000
    assert len(longest.encode()) * MAX_PICTURES < batcher["MaxInputBytesPerBatch"] < 262_144
    assert states["Make pictures"]["MaxConcurrency"] == 10


def test_whatever_is_planned_is_read_in_batches_and_tolerates_as_much_as_the_plan_says(states, synthesis):
    make = states["Make pictures"]
    planned = {"run": "r/run.json", "manifest": "r/m.jsonl", "results": "r/results", "batch": 10, "tolerated": 7}

    asked = {name: evaluate(make[name], states={"input": planned}) for name in ("ItemReader", "ItemBatcher")}
    written = evaluate(make["ResultWriter"]["Arguments"], states={"input": planned})

    bucket = f"<{synthesis.only('AWS::S3::Bucket', 'Images')}>"
    assert asked["ItemReader"]["Arguments"] == {"Bucket": bucket, "Key": "r/m.jsonl"}
    assert asked["ItemReader"]["ReaderConfig"] == {"InputType": "JSONL"}
    assert (asked["ItemBatcher"]["MaxItemsPerBatch"], asked["ItemBatcher"]["BatchInput"]) == (10, {"run": "r/run.json"})
    assert evaluate(make["ToleratedFailureCount"], states={"input": planned}) == 7
    assert written == {"Bucket": bucket, "Prefix": "r/results"}
    assert make["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}


def test_what_the_machine_is_started_with_is_planned(states):
    asked = evaluate(states["Plan"]["Arguments"]["Payload"], states={"context": {"Execution": EXECUTION}})

    assert asked == {"request": EXECUTION["Input"], "execution": "run-1"}


def cause(error: str, message: str) -> dict[str, str]:
    return {"Error": error, "Cause": json.dumps({"errorType": error, "errorMessage": message, "stackTrace": []})}


def test_what_was_made_is_assembled_whether_or_not_too_much_failed(states):
    make, given = states["Make pictures"], {"input": {"run": "r/run.json", "count": 4}}
    exceeded, _ = make["Catch"]

    assert exceeded["ErrorEquals"] == ["States.ExceedToleratedFailureThreshold"]
    assert exceeded["Next"] == make["Next"] == "Assemble"
    assert evaluate(exceeded["Output"], states=given) == {"run": "r/run.json", "stopped": True}
    assert evaluate(make["Output"], states=given) == {"run": "r/run.json", "stopped": False}
    assert states["Assemble"]["Arguments"]["Payload"] == "{% $states.input %}"


@pytest.mark.parametrize("name", ["Plan", "Make pictures", "Assemble"])
def test_whatever_fails_is_stored_and_told_in_the_words_of_what_failed(states, name):
    caught = states[name]["Catch"][-1]
    assert caught["ErrorEquals"] == ["States.ALL"]
    told = evaluate(caught["Output"], states={"errorOutput": cause("InputError", "source: must be there.")})
    states_given = {"input": told, "context": {"Execution": EXECUTION}}

    assert caught["Next"] == "Store failure"
    assert evaluate(states["Store failure"]["Arguments"]["Payload"], states=states_given) == {
        **{"request": EXECUTION["Input"], "execution": "run-1"},
        "problem": "InputError: source: must be there.",
    }
    # Even where it cannot be stored.
    assert set(following(states["Store failure"])) == {"Tell of failure"}
    for output in (states["Store failure"]["Output"], states["Store failure"]["Catch"][0]["Output"]):
        assert evaluate(output, states=states_given) == told
    message = evaluate(states["Tell of failure"]["Arguments"]["Message"], states=states_given)
    assert message == "run-1: InputError: source: must be there."
    assert states["Tell of failure"]["Next"] == "Failed"
    assert states["Failed"]["Type"] == "Fail"
    assert evaluate(states["Failed"]["Cause"], states=states_given) == "InputError: source: must be there."


@pytest.mark.parametrize(
    ("status", "then"),
    [("COMPLETE", "Complete"), ("PARTIAL", "Tell of missing pictures"), ("FAILED", "Nothing was made")],
)
def test_it_ends_as_what_became_of_the_pictures(states, status, then):
    given = {"input": {"status": status, "reason": "1 of 2 pictures were made."}, "context": {"Execution": EXECUTION}}

    assert choose(states["Complete?"], states=given) == then
    if status == "PARTIAL":
        message = evaluate(states[then]["Arguments"]["Message"], states=given)
        assert message == "run-1: 1 of 2 pictures were made."
        assert states[states[then]["Next"]]["Type"] == "Succeed"
    if status == "FAILED":
        assert evaluate(states[then]["Output"], states=given) == {"problem": "1 of 2 pictures were made."}
        assert states[then]["Next"] == "Tell of failure"
