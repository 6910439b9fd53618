"""The safety line: who may do what, what is kept how long, where failures end, and what settings change."""

from __future__ import annotations

from importlib import import_module

import pytest
from state_machines import states_of
from templates import Template, flat, is_tracing

from defectory.detection.safety.frames import PARTITION, SORT
from defectory.detection.safety.results_table import INDEXES

FUNCTIONS = (
    *("start_safety_check", "check_safety", "record_safety_check"),
    *("send_safety_alert", "send_safety_digest", "set_safety_rules"),
)
ENDPOINT = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/defectory-detection"


def logical(folder: str) -> str:
    return "".join(word.capitalize() for word in folder.split("_"))


@pytest.fixture(scope="module")
def detection(synthesise) -> Template:
    return synthesise("detection", alert_email="ops@example.com", defect_email="line@example.com")


@pytest.fixture(scope="module")
def tuned(synthesise) -> Template:
    """The template of an installation with settings of its own, whose detector a function holds."""
    return synthesise(
        "detection",
        inspection_endpoint="lambda",
        name="plant7",
        retention_days="30",
        safety_email="ehs@example.com",
        safety_privacy="false",
        safety_original_days="2",
        alert_limit_per_hour="5",
    )


@pytest.fixture(scope="module")
def names(detection) -> dict[str, str]:
    """Resources by what they are, as policies name them."""
    only, bucket, table = detection.only, "AWS::S3::Bucket", "AWS::DynamoDB::GlobalTable"
    [queue] = [name for name, queue in detection.of_type("AWS::SQS::Queue").items() if "RedrivePolicy" in queue]
    return {
        "uploads": f"<{only(bucket, 'SafetyUploads')}.Arn>",
        "results": f"<{only(bucket, 'SafetyResults')}.Arn>",
        "models": f"<{only(bucket, 'Models')}.Arn>",
        "table": f"<{only(table, 'SafetyDetections')}.Arn>",
        "frames": f"<{only(table, 'SafetyFrames')}.Arn>",
        "machine": f"<{only('AWS::StepFunctions::StateMachine', 'SafetyLine')}>",
        "queue": f"<{queue}.Arn>",
        "put aside": f"<{only('AWS::SQS::Queue', 'SafetyUploadQueueDeadLetters')}.Arn>",
        "violations": f"<{only('AWS::SNS::Topic', 'SafetyViolations')}>",
        "reviews": f"<{only('AWS::SNS::Topic', 'SafetyReviews')}>",
        "key": f"<{only('AWS::KMS::Key')}.Arn>",
        **{folder: f"<{only('AWS::Lambda::Function', f'{logical(folder)}Function')}.Arn>" for folder in FUNCTIONS},
    }


def leaves_of(template: Template, folder: str) -> set[tuple[str, str]]:
    """What a function's role may do on what, beyond its own logs, traces and dead letters."""
    role = template.function(f"{logical(folder)}Function")["Role"]["Fn::GetAtt"][0]
    own = (f"<{logical(folder)}Logs", f"<{logical(folder)}DeadLetters")
    leaves = [leave for leave in template.leaves(role) if not is_tracing(leave.action)]
    return {(leave.action, leave.resource) for leave in leaves if not leave.resource.startswith(own)}


def test_each_function_reaches_what_its_work_needs_and_nothing_else(detection, names):
    publishing = [("sns:Publish", names[topic]) for topic in ("violations", "reviews")]
    publishing += [(f"kms:{verb}", names["key"]) for verb in ("Decrypt", "GenerateDataKey")]
    polling = ("ReceiveMessage", "ChangeMessageVisibility", "GetQueueUrl", "DeleteMessage", "GetQueueAttributes")
    rules = [("s3:GetObject", f"{names['models']}/safety/cameras.json"), ("s3:ListBucket", names["models"])]
    table, frames = names["table"], names["frames"]
    expected = {
        "start_safety_check": {
            ("states:StartExecution", names["machine"]),
            *((f"sqs:{verb}", names["queue"]) for verb in polling),
            ("dynamodb:PutItem", frames),
            *rules,
        },
        "check_safety": {
            *((f"sagemaker:{verb}", ENDPOINT) for verb in ("InvokeEndpoint", "DescribeEndpoint")),
            ("s3:GetObjectVersion", f"{names['uploads']}/*"),
            ("s3:ListBucket", names["uploads"]),
            ("s3:PutObject", f"{names['results']}/*"),
            *rules,
        },
        "record_safety_check": {
            ("dynamodb:PutItem", table),
            *((f"dynamodb:{verb}", frames) for verb in ("Query", "UpdateItem")),
            *rules,
        },
        "send_safety_alert": {("dynamodb:GetItem", table), ("dynamodb:UpdateItem", table), *publishing},
        "send_safety_digest": {
            ("dynamodb:UpdateItem", table),
            ("dynamodb:Query", f"{table}/index/owed-index"),
            *publishing,
        },
        "set_safety_rules": {("s3:PutObject", f"{names['models']}/safety/cameras.json")},
    }

    assert {folder: leaves_of(detection, folder) for folder in FUNCTIONS} == expected


def test_a_function_that_holds_the_detector_reads_detectors_and_asks_no_endpoint(tuned):
    actions = {action for action, _ in leaves_of(tuned, "check_safety")}

    assert actions == {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:PutObject"}
    assert "ENDPOINT_NAME" not in tuned.function("CheckSafetyFunction")["Environment"]["Variables"]


def test_the_machine_is_that_of_the_inspection_line_with_functions_of_its_own(detection, inspection, names):
    role = detection.of_type("AWS::StepFunctions::StateMachine")[names["machine"].strip("<>")]["RoleArn"]
    leaves = {(leave.action, leave.resource) for leave in detection.leaves(role["Fn::GetAtt"][0])}

    assert {leave for leave in leaves if not leave[0].startswith(("logs:", "xray:"))} == {
        *(
            ("lambda:InvokeFunction", names[folder])
            for folder in ("check_safety", "record_safety_check", "send_safety_alert")
        ),
        ("sqs:SendMessage", names["put aside"]),
    }
    ours, theirs = states_of(detection, "SafetyLine"), states_of(inspection, "Line")
    assert ours.keys() == theirs.keys()
    assert [ours[name].get("Retry") for name in ours] == [theirs[name].get("Retry") for name in ours]


def test_every_upload_is_told_of_and_messages_are_put_aside_in_the_end(detection, names):
    bucket = detection.of_type("AWS::S3::Bucket")[names["uploads"].split(".")[0].strip("<")]
    [told] = bucket["NotificationConfiguration"]["QueueConfigurations"]
    queue = detection.of_type("AWS::SQS::Queue")[names["queue"].split(".")[0].strip("<")]
    [source] = detection.of_type("AWS::Lambda::EventSourceMapping").values()

    assert (flat(told["Queue"]), told["Event"], "Filter" in told) == (names["queue"], "s3:ObjectCreated:*", False)
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert flat(queue["RedrivePolicy"]["deadLetterTargetArn"]) == names["put aside"]
    assert queue["VisibilityTimeout"] >= 6 * detection.function("StartSafetyCheckFunction")["Timeout"]
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_people_are_told_of_dead_letters_failures_and_a_line_that_is_behind(detection, names):
    alerts = detection.only("AWS::SNS::Topic", "Alerts")
    alarms = detection.of_type("AWS::CloudWatch::Alarm").values()
    watched = {(alarm["MetricName"], flat(alarm["Dimensions"][0]["Value"])) for alarm in alarms}

    assert all({"Ref": alerts} in alarm["AlarmActions"] for alarm in alarms)
    assert watched >= {
        ("ApproximateNumberOfMessagesVisible", names["put aside"].replace(".Arn", ".QueueName")),
        ("ApproximateAgeOfOldestMessage", names["queue"].replace(".Arn", ".QueueName")),
        *(("ExecutionsFailed", names["machine"]), ("ExecutionsAborted", names["machine"])),
    }


def test_topics_are_encrypted_and_told_to_those_who_see_to_safety(detection, tuned):
    key = {"Fn::GetAtt": [detection.only("AWS::KMS::Key"), "Arn"]}
    told = {
        (flat(each["TopicArn"]).strip("<>"), each["Endpoint"])
        for each in tuned.of_type("AWS::SNS::Subscription").values()
    }

    assert {flat(topic["KmsMasterKeyId"]) for topic in detection.of_type("AWS::SNS::Topic").values()} == {flat(key)}
    assert told == {
        (tuned.only("AWS::SNS::Topic", like), "ehs@example.com") for like in ("SafetyViolations", "SafetyReviews")
    }
    # Those of parts and of failures are others.
    assert [each["Endpoint"] for each in detection.of_type("AWS::SNS::Subscription").values()] == ["ops@example.com"]


def test_the_tables_have_the_keys_and_indexes_that_their_adapters_use(detection, names):
    tables = detection.of_type("AWS::DynamoDB::GlobalTable")
    results, frames = (tables[names[name].split(".")[0].strip("<")] for name in ("table", "frames"))

    assert [key["AttributeName"] for key in results["KeySchema"]] == ["inspection_id"]
    assert {
        index["IndexName"]: tuple(key["AttributeName"] for key in index["KeySchema"])
        for index in results["GlobalSecondaryIndexes"]
    } == INDEXES
    assert [(key["AttributeName"], key["KeyType"]) for key in frames["KeySchema"]] == [
        (PARTITION, "HASH"),
        (SORT, "RANGE"),
    ]
    for table in (results, frames):
        assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


@pytest.mark.parametrize(("template", "days", "kept"), [("detection", 7, 365), ("tuned", 2, 30)])
def test_what_cameras_uploaded_is_kept_for_a_few_days_and_what_was_seen_for_long(request, template, days, kept):
    template = request.getfixturevalue(template)
    rules = {
        name: {
            key: value
            for rule in template.of_type("AWS::S3::Bucket")[template.only("AWS::S3::Bucket", name)][
                "LifecycleConfiguration"
            ]["Rules"]
            for key, value in rule.items()
        }
        for name in ("SafetyUploads", "SafetyResults", "Models")
    }

    assert rules["SafetyUploads"]["ExpirationInDays"] == days
    # What has expired is a version that is not the current one: a day later it is gone.
    assert rules["SafetyUploads"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 1
    assert rules["SafetyResults"]["ExpirationInDays"] == kept
    assert "ExpirationInDays" not in rules["Models"], "the rules are there"


def test_persons_are_blurred_unless_a_setting_says_otherwise(detection, tuned):
    assert detection.function("CheckSafetyFunction")["Environment"]["Variables"]["BLURRED_CLASS"] == "person"
    assert "BLURRED_CLASS" not in tuned.function("CheckSafetyFunction")["Environment"]["Variables"]
    assert tuned.function("SendSafetyAlertFunction")["Environment"]["Variables"]["ALERT_LIMIT_PER_HOUR"] == "5"


@pytest.mark.parametrize("folder", FUNCTIONS)
def test_a_function_is_told_of_everything_its_environment_model_asks_for(detection, folder):
    handler = import_module(f"lambdas.{folder}.handler")
    variables = detection.function(f"{logical(folder)}Function")["Environment"]["Variables"]

    # Lambda itself tells the region.
    handler.Environment.model_validate({key: flat(value) for key, value in variables.items()} | {"AWS_REGION": "x"})
    assert {key.lower() for key in variables} <= set(handler.Environment.model_fields)
