"""The inspection line: who may do what, what is tried again, where it ends, and what the state machine hands on."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from state_machines import choose, evaluate, following, states_of
from templates import Template, flat, is_tracing, matches

from defectory.aws.embedded_metrics import DeploymentMetrics
from defectory.errors import FailureKind
from defectory.inspection.line.recording import InspectionRecorder
from defectory.inspection.line.records import InspectionRecord
from defectory.inspection.line.results_table import INDEXES
from defectory.line import endpoint
from defectory.line.opening import SUFFIXES
from defectory.line.uploads import Upload, read_message

FUNCTIONS = (
    *("start_inspection", "inspect_image", "record_inspection"),
    *("send_alert", "send_digest", "confirm_inspection"),
)
ENDPOINT = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/defectory-inspection"
UPLOAD = Upload(
    bucket="uploads", key="lot 7/ü+%.png", version_id="v", size=10, uploaded_at="2026-11-21T11:59:00.000Z"
).model_dump()


def logical(folder: str) -> str:
    return "".join(word.capitalize() for word in folder.split("_"))


@pytest.fixture(scope="module")
def names(inspection) -> dict[str, str]:
    """Resources by what they are, as policies name them."""
    only, bucket, queue = inspection.only, "AWS::S3::Bucket", "AWS::SQS::Queue"
    return {
        "uploads": f"<{only(bucket, 'Uploads')}.Arn>/*",
        "results": f"<{only(bucket, 'Results')}.Arn>/*",
        "table": f"<{only('AWS::DynamoDB::GlobalTable')}.Arn>",
        "machine": f"<{only('AWS::StepFunctions::StateMachine', 'Line')}>",
        "queue": f"<{_source_queue(inspection)}.Arn>",
        "put aside": f"<{only(queue, 'UploadQueueDeadLetters')}.Arn>",
        "defects": f"<{only('AWS::SNS::Topic', 'Defects')}>",
        "reviews": f"<{only('AWS::SNS::Topic', 'Reviews')}>",
        "key": f"<{only('AWS::KMS::Key')}.Arn>",
        **{folder: f"<{only('AWS::Lambda::Function', f'{logical(folder)}Function')}.Arn>" for folder in FUNCTIONS},
    }


def _source_queue(inspection: Template) -> str:
    [name] = [name for name, queue in inspection.of_type("AWS::SQS::Queue").items() if "RedrivePolicy" in queue]
    return name


def leaves_of(inspection: Template, folder: str) -> set[tuple[str, str]]:
    """What a function's role may do on what, beyond its own logs, traces and dead letters."""
    role = inspection.function(logical(folder))["Role"]["Fn::GetAtt"][0]
    own = (f"<{logical(folder)}Logs", f"<{logical(folder)}DeadLetters")
    leaves = [leave for leave in inspection.leaves(role) if not is_tracing(leave.action)]
    return {(leave.action, leave.resource) for leave in leaves if not leave.resource.startswith(own)}


@pytest.fixture(scope="module")
def states(inspection):
    return states_of(inspection, "Line")


def test_each_function_reaches_what_its_work_needs_and_nothing_else(inspection, names):
    table, publishing = names["table"], [("sns:Publish", names[topic]) for topic in ("defects", "reviews")]
    publishing += [(f"kms:{verb}", names["key"]) for verb in ("Decrypt", "GenerateDataKey")]
    polling = ("ReceiveMessage", "ChangeMessageVisibility", "GetQueueUrl", "DeleteMessage", "GetQueueAttributes")
    expected = {
        "start_inspection": {
            ("states:StartExecution", names["machine"]),
            *((f"sqs:{verb}", names["queue"]) for verb in polling),
        },
        "inspect_image": {
            *((f"sagemaker:{verb}", ENDPOINT) for verb in ("InvokeEndpoint", "DescribeEndpoint")),
            ("s3:GetObjectVersion", names["uploads"]),
            ("s3:ListBucket", names["uploads"].removesuffix("/*")),
            ("s3:PutObject", names["results"]),
        },
        "record_inspection": {("dynamodb:PutItem", table)},
        "send_alert": {("dynamodb:GetItem", table), ("dynamodb:UpdateItem", table), *publishing},
        "send_digest": {
            ("dynamodb:UpdateItem", table),
            *(("dynamodb:Query", f"{table}/index/{index}") for index in ("owed-index", "outcome-index")),
            *publishing,
        },
        "confirm_inspection": {("dynamodb:GetItem", table), ("dynamodb:UpdateItem", table)},
    }

    assert {folder: leaves_of(inspection, folder) for folder in FUNCTIONS} == expected


def test_every_function_has_a_role_of_its_own(inspection):
    roles = [flat(function["Role"]) for function in inspection.of_type("AWS::Lambda::Function").values()]

    assert len(set(roles)) == len(roles)


def test_the_state_machine_calls_its_functions_and_puts_aside(inspection, names):
    machines = inspection.of_type("AWS::StepFunctions::StateMachine")
    role = machines[inspection.only("AWS::StepFunctions::StateMachine", "Line")]["RoleArn"]["Fn::GetAtt"][0]
    leaves = {(leave.action, leave.resource) for leave in inspection.leaves(role)}

    assert {leave for leave in leaves if not leave[0].startswith(("logs:", "xray:"))} == {
        *(("lambda:InvokeFunction", names[folder]) for folder in ("inspect_image", "record_inspection", "send_alert")),
        ("sqs:SendMessage", names["put aside"]),
    }


def test_only_the_bucket_service_of_this_account_may_write_to_the_queue(inspection):
    queue = _source_queue(inspection)
    allowed = [
        statement
        for policy in inspection.of_type("AWS::SQS::QueuePolicy").values()
        if {"Ref": queue} in policy["Queues"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]

    assert [statement["Principal"] for statement in allowed] == [{"Service": "s3.amazonaws.com"}]
    assert allowed[0]["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_every_upload_is_told_of_whatever_its_name(inspection, names):
    name = inspection.only("AWS::S3::Bucket", "Uploads")
    bucket = inspection.body["Resources"][name]
    [told] = bucket["Properties"]["NotificationConfiguration"]["QueueConfigurations"]

    assert flat(told["Queue"]) == names["queue"]
    assert told["Event"] == "s3:ObjectCreated:*"
    assert "Filter" not in told, "a filter is case-sensitive, and files of other kinds shall have a row"
    assert any("Policy" in each for each in bucket["DependsOn"]), "the bucket asks whether it may send when it is made"
    assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}


def test_messages_go_back_one_by_one_and_are_put_aside_in_the_end(inspection, names):
    queue = inspection.of_type("AWS::SQS::Queue")[_source_queue(inspection)]
    [source] = inspection.of_type("AWS::Lambda::EventSourceMapping").values()
    function = inspection.function("StartInspection")

    assert flat(queue["RedrivePolicy"]["deadLetterTargetArn"]) == names["put aside"]
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["ScalingConfig"]["MaximumConcurrency"] >= 2


def test_queues_are_encrypted_and_keep_messages_for_two_weeks(inspection):
    for queue in inspection.of_type("AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_people_are_told_of_dead_letters_failures_and_a_line_that_is_behind(inspection):
    alerts = inspection.only("AWS::SNS::Topic", "Alerts")
    alarms = list(inspection.of_type("AWS::CloudWatch::Alarm").values())
    watched = {(alarm["MetricName"], flat(alarm["Dimensions"][0]["Value"])) for alarm in alarms}
    machine = inspection.only("AWS::StepFunctions::StateMachine", "Line")
    dead = [name for name in inspection.of_type("AWS::SQS::Queue") if "DeadLetters" in name]

    assert all({"Ref": alerts} in alarm["AlarmActions"] for alarm in alarms)
    assert watched >= {
        *(("ApproximateNumberOfMessagesVisible", f"<{name}.QueueName>") for name in dead),
        ("ApproximateAgeOfOldestMessage", f"<{_source_queue(inspection)}.QueueName>"),
        *(("ExecutionsFailed", f"<{machine}>"), ("ExecutionsAborted", f"<{machine}>")),
        *(
            ("Errors", f"<{inspection.only('AWS::Lambda::Function', logical(f'{name}_function'))}>")
            for name in ("send_digest", "confirm_inspection")
        ),
    }


def test_inspectors_and_operators_are_told_apart(inspection, synthesise):
    told = {
        (flat(each["TopicArn"]), each["Endpoint"]) for each in inspection.of_type("AWS::SNS::Subscription").values()
    }
    topics = {like: f"<{inspection.only('AWS::SNS::Topic', like)}>" for like in ("Alerts", "Defects", "Reviews")}

    assert told == {
        *((topics["Alerts"], "ops@example.com"), (topics["Defects"], "line@example.com")),
        (topics["Reviews"], "line@example.com"),
    }
    assert not synthesise("inspection").of_type("AWS::SNS::Subscription")


def test_every_topic_is_encrypted_with_the_stacks_key(inspection):
    key = {"Fn::GetAtt": [inspection.only("AWS::KMS::Key"), "Arn"]}

    assert [topic["KmsMasterKeyId"] for topic in inspection.of_type("AWS::SNS::Topic").values()] == [key] * 3


def test_the_digest_goes_out_every_hour_and_is_tried_again(inspection, names):
    [rule] = inspection.of_type("AWS::Events::Rule").values()
    [target] = rule["Targets"]

    assert rule["ScheduleExpression"] == "rate(1 hour)"
    assert flat(target["Arn"]) == names["send_digest"]
    assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
    assert "DeadLetterConfig" in target


@pytest.fixture(scope="module")
def tuned(synthesise) -> Template:
    """The template of an installation with settings of its own."""
    return synthesise("inspection", name="plant7", retention_days="30", alert_limit_per_hour="5")


def test_images_results_and_rows_are_kept_as_configured(tuned):
    for name in ("Uploads", "Results"):
        bucket = tuned.of_type("AWS::S3::Bucket")[tuned.only("AWS::S3::Bucket", name)]
        rules = {key: value for rule in bucket["LifecycleConfiguration"]["Rules"] for key, value in rule.items()}

        assert (rules["ExpirationInDays"], rules["NoncurrentVersionExpiration"]["NoncurrentDays"]) == (30, 30)
    for name in ("InspectImage", "RecordInspection"):
        assert tuned.function(name)["Environment"]["Variables"]["RETENTION_DAYS"] == "30"


def test_the_table_has_the_keys_and_indexes_that_its_adapter_uses(inspection):
    [table] = inspection.of_type("AWS::DynamoDB::GlobalTable").values()

    assert [key["AttributeName"] for key in table["KeySchema"]] == ["inspection_id"]
    assert {
        index["IndexName"]: tuple(key["AttributeName"] for key in index["KeySchema"])
        for index in table["GlobalSecondaryIndexes"]
    } == INDEXES
    assert {index["Projection"]["ProjectionType"] for index in table["GlobalSecondaryIndexes"]} == {"ALL"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


@pytest.mark.parametrize("folder", FUNCTIONS)
def test_a_function_is_told_of_everything_its_environment_model_asks_for(inspection, folder):
    handler = import_module(f"lambdas.{folder}.handler")
    variables = inspection.function(logical(folder))["Environment"]["Variables"]

    # Lambda itself tells the region.
    handler.Environment.model_validate({key: flat(value) for key, value in variables.items()} | {"AWS_REGION": "x"})
    assert {key.lower() for key in variables} <= set(handler.Environment.model_fields)


def test_settings_reach_the_line(tuned):
    assert tuned.function("SendAlert")["Environment"]["Variables"]["ALERT_LIMIT_PER_HOUR"] == "5"
    assert tuned.function("InspectImage")["Environment"]["Variables"]["ENDPOINT_NAME"] == "plant7-inspection"
    assert tuned.body["Outputs"]["EndpointName"]["Value"] == "plant7-inspection"


def test_the_outputs_name_what_a_user_needs(inspection, names):
    outputs = {name: flat(output["Value"]) for name, output in inspection.body["Outputs"].items()}
    expected = {
        "UploadBucketName": names["uploads"].replace(".Arn>/*", ">"),
        "ResultsBucketName": names["results"].replace(".Arn>/*", ">"),
        "ResultsTableName": names["table"].replace(".Arn", ""),
        "StateMachineArn": names["machine"],
        "EndpointName": "defectory-inspection",
        "DefectTopicArn": names["defects"],
        "ReviewTopicArn": names["reviews"],
        "QueueUrl": names["queue"].replace(".Arn", ""),
        "DeadLetterQueueUrl": names["put aside"].replace(".Arn", ""),
        "ConfirmFunctionName": names["confirm_inspection"].replace(".Arn", ""),
    }

    assert {name: outputs[name] for name in expected} == expected


def test_the_state_machine_has_no_dead_ends(inspection):
    machine = inspection.only("AWS::StepFunctions::StateMachine", "Line")
    definition = json.loads(flat(inspection.of_type("AWS::StepFunctions::StateMachine")[machine]["DefinitionString"]))
    states, reached = definition["States"], [definition["StartAt"]]
    for name in reached:
        assert name in states
        reached += [each for each in following(states[name]) if each not in reached]

    assert set(reached) == set(states)
    for state in states.values():
        assert state["Type"] in ("Succeed", "Fail", "Choice") or ("Next" in state) != state.get("End", False)
        if state["Type"] == "Task":
            assert state["Retry"][-1]["ErrorEquals"] == ["States.ALL"], "the last resort has to be last"
            assert "Parameters" not in state
            assert "ResultPath" not in state


def test_what_mends_itself_is_tried_for_long_and_what_does_not_is_not(states):
    hopeless, busy, failed, other = states["Inspect image"]["Retry"]

    assert set(hopeless["ErrorEquals"]) == {"EndpointMissingError", "EndpointAnswerError"}
    assert hopeless["MaxAttempts"] == 0
    assert {"EndpointBusyError", "Lambda.TooManyRequestsException"} <= set(busy["ErrorEquals"])
    waits = [
        min(busy["IntervalSeconds"] * busy["BackoffRate"] ** n, busy["MaxDelaySeconds"])
        for n in range(busy["MaxAttempts"])
    ]
    assert 1800 < sum(waits) < 4 * 3600
    assert busy["JitterStrategy"] == "FULL"
    # A container that died while it was asked is there again in seconds, and may die of the next image.
    assert failed["ErrorEquals"] == ["EndpointFailedError"]
    waits = [
        min(failed["IntervalSeconds"] * failed["BackoffRate"] ** n, failed["MaxDelaySeconds"])
        for n in range(failed["MaxAttempts"])
    ]
    assert failed["MaxAttempts"] >= 10
    assert 120 < sum(waits) < 15 * 60
    assert other["MaxAttempts"] >= 3


def test_the_names_of_errors_are_those_that_the_function_raises_by_what_they_say_of_themselves(states):
    retries = states["Inspect image"]["Retry"]
    names = {name: retry["MaxAttempts"] for retry in retries for name in retry["ErrorEquals"] if "." not in name}

    raised = {name: kind for name, kind in vars(endpoint).items() if re.fullmatch(r"Endpoint\w+Error", name)}
    assert names.keys() == raised.keys()
    for name, error in raised.items():
        assert (error.kind is FailureKind.TRANSIENT) is (names[name] > 0)


class Rows:
    """Takes what the recorder writes."""

    record_type = InspectionRecord

    def __init__(self):
        self.records: list[InspectionRecord] = []

    def put(self, record, now):
        self.records.append(record)
        return True


def record(given: dict) -> tuple[InspectionRecord, dict]:
    rows = Rows()
    answer = InspectionRecorder(rows, timedelta(days=1), DeploymentMetrics("plant")).record(
        given, datetime(2026, 11, 21, tzinfo=UTC)
    )
    return rows.records[0], answer


def test_what_the_machine_is_started_with_is_what_is_inspected(states):
    asked = evaluate(states["Inspect image"]["Arguments"]["Payload"], states={"input": {"upload": UPLOAD}})

    assert Upload.model_validate(asked).key == UPLOAD["key"]


def test_what_was_found_is_what_is_recorded(states):
    found = InspectionRecord.of(
        Upload.model_validate(UPLOAD),
        **{"now": datetime(2026, 11, 21, tzinfo=UTC), "retention": timedelta(days=1)},
        **{"status": "INSPECTED", "verdict": "FAIL", "score": 0.5},
    ).model_dump(mode="json", exclude_none=True)
    output = evaluate(
        states["Inspect image"]["Output"], states={"input": {"upload": UPLOAD}, "result": {"Payload": found}}
    )
    given = evaluate(states["Record inspection"]["Arguments"]["Payload"], states={"input": output})

    row, answer = record(given)

    assert (row.key, row.verdict, row.pending_alert) == (UPLOAD["key"], "FAIL", "defect")
    told = evaluate(states["Record inspection"]["Output"], states={"result": {"Payload": answer}})
    assert choose(states["Tell people?"], states={"input": told}) == "Send alert"
    asked = evaluate(states["Send alert"]["Arguments"]["Payload"], states={"input": told})
    assert asked == {"inspection_id": row.inspection_id}


def test_nobody_is_told_of_a_good_part(states):
    assert states[choose(states["Tell people?"], states={"input": {"tell": False}})]["Type"] == "Succeed"


@pytest.mark.parametrize("cause", ['{"errorMessage": "There is none."}', "", None])
def test_an_inspection_that_failed_is_recorded_with_its_reason(states, cause):
    [catch] = states["Inspect image"]["Catch"]
    assert catch["ErrorEquals"] == ["States.ALL"]
    assert catch["Next"] == "Record inspection"
    error = {"Error": "EndpointMissingError"} | ({} if cause is None else {"Cause": cause})

    given = evaluate(catch["Output"], states={"input": {"upload": UPLOAD}, "errorOutput": error})
    row, answer = record(given)

    assert (row.status, row.key, answer["tell"]) == ("ERROR", UPLOAD["key"], True)
    assert row.reason.startswith("EndpointMissingError")


def test_an_upload_that_cannot_be_recorded_is_put_aside_as_a_new_attempt(states, names):
    [catch] = states["Record inspection"]["Catch"]
    aside = states[catch["Next"]]
    known = {"context": {"Execution": {"Input": {"upload": UPLOAD}}}, "input": {"Error": "E", "Cause": "C"}}

    [upload] = read_message(evaluate(aside["Arguments"]["MessageBody"], states=known))

    assert aside["Arguments"]["QueueUrl"] == names["put aside"].replace(".Arn", "")
    assert upload.attempt == 2
    assert upload.inspection_id == Upload.model_validate(UPLOAD).inspection_id
    assert upload.execution_name != Upload.model_validate(UPLOAD).execution_name
    assert states[aside["Next"]]["Type"] == "Fail"


def test_permissions_name_no_more_objects_than_the_two_buckets(inspection):
    for folder in FUNCTIONS:
        for action, resource in leaves_of(inspection, folder):
            assert "*" not in action
            assert not matches(resource, "anything")
            assert "*" not in resource or action.startswith("s3:")


def test_what_is_inspected_is_what_the_documentation_says():
    assert {".jpg", ".jpeg", ".png"} == SUFFIXES
