"""Permissions in the local cloud: what a role may not do is denied in AWS's words, whoever acts in its name."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.local.clients import connect
from defectory.local.cloud import LocalCloud
from defectory.local.server.authorization.requirements import TABLE
from tests.local_cloud.laboratory import IMAGE, unique
from tests.local_cloud.roles import ROLE, create_role, grant, open_queue, policy
from tests.local_cloud.sample_app import eventually
from tests.local_cloud.visitors import Visitor

pytestmark = pytest.mark.xdist_group("local-cloud")

BUCKET = "granted"
OBJECTS = f"arn:aws:s3:::{BUCKET}/*"
READING = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": OBJECTS}
LISTING = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"}


@pytest.fixture(scope="module")
def bucket(cloud: LocalCloud) -> Iterator[BaseClient]:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="open/photo.txt", Body=b"a photo")
    yield s3


def test_a_role_may_do_what_is_granted_and_nothing_else(cloud: LocalCloud, bucket: BaseClient) -> None:
    visitor = Visitor(cloud, READING)
    s3, key = visitor.client("s3"), f"arn:aws:s3:::{BUCKET}/open/photo.txt"

    assert s3.get_object(Bucket=BUCKET, Key="open/photo.txt")["Body"].read() == b"a photo"
    for call, action, resource in (
        (lambda: s3.put_object(Bucket=BUCKET, Key="open/photo.txt", Body=b""), "s3:PutObject", key),
        (lambda: s3.delete_object(Bucket=BUCKET, Key="open/photo.txt"), "s3:DeleteObject", key),
        (lambda: s3.list_objects_v2(Bucket=BUCKET), "s3:ListBucket", f"arn:aws:s3:::{BUCKET}"),
        (
            lambda: s3.copy_object(Bucket="elsewhere", Key="k", CopySource=f"{BUCKET}/open/photo.txt"),
            "s3:PutObject",
            "arn:aws:s3:::elsewhere/k",
        ),
    ):
        assert visitor.denied(call, action, resource) == "AccessDenied"
    assert bucket.get_object(Bucket=BUCKET, Key="open/photo.txt")["Body"].read() == b"a photo"


def test_an_object_that_is_not_there_is_forbidden_to_who_may_not_list(cloud: LocalCloud, bucket: BaseClient) -> None:
    visitor = Visitor(cloud, READING)
    s3 = visitor.client("s3")

    missing = lambda: s3.get_object(Bucket=BUCKET, Key="not/there")  # noqa: E731
    assert visitor.denied(missing, "s3:ListBucket", f"arn:aws:s3:::{BUCKET}") == "AccessDenied"
    with pytest.raises(ClientError, match="403"):
        s3.head_object(Bucket=BUCKET, Key="not/there")
    grant(cloud, visitor.role, READING, LISTING)
    with pytest.raises(s3.exceptions.NoSuchKey):
        missing()


def test_a_deny_a_condition_and_a_boundary_narrow_what_is_granted(cloud: LocalCloud, bucket: BaseClient) -> None:
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    forbidden = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/closed/*"}
    some = {**LISTING, "Condition": {"StringLike": {"s3:prefix": "open/*"}}}
    boundary = cloud.client("iam").create_policy(PolicyName="readers", PolicyDocument=policy(READING))["Policy"]["Arn"]
    denying, prefixed = Visitor(cloud, everything, forbidden), Visitor(cloud, some)
    bounded = Visitor(cloud, everything, boundary=boundary)

    put = {"Bucket": BUCKET, "Key": "closed/x", "Body": b""}
    resource = f"arn:aws:s3:::{BUCKET}/closed/x"
    why = "with an explicit deny in an identity-based policy"
    denying.denied(lambda: denying.client("s3").put_object(**put), "s3:PutObject", resource, why)
    assert prefixed.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="open/")["KeyCount"] == 1
    listing = lambda: prefixed.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="closed/")  # noqa: E731
    prefixed.denied(listing, "s3:ListBucket", f"arn:aws:s3:::{BUCKET}")
    why = "because no permissions boundary allows the s3:PutObject action"
    bounded.denied(lambda: bounded.client("s3").put_object(**put), "s3:PutObject", resource, why)
    assert bounded.client("s3").get_object(Bucket=BUCKET, Key="open/photo.txt")["ContentLength"] == 7


def test_a_resources_own_policy_lets_in_and_keeps_out(cloud: LocalCloud, bucket: BaseClient) -> None:
    guest, banned = Visitor(cloud, LISTING), Visitor(cloud, READING)
    roles = {visitor: f"arn:aws:iam::123456789012:role/{visitor.role}" for visitor in (guest, banned)}
    welcome = {**READING, "Principal": {"AWS": roles[guest]}}
    unwelcome = {**READING, "Effect": "Deny", "Principal": {"AWS": roles[banned]}}
    without_tls = {**unwelcome, "Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    bucket.put_bucket_policy(Bucket=BUCKET, Policy=policy(welcome, unwelcome, without_tls))
    try:
        assert guest.client("s3").get_object(Bucket=BUCKET, Key="open/photo.txt")["ContentLength"] == 7
        why = "with an explicit deny in a resource-based policy"
        reading = lambda: banned.client("s3").get_object(Bucket=BUCKET, Key="open/photo.txt")  # noqa: E731
        banned.denied(reading, "s3:GetObject", f"arn:aws:s3:::{BUCKET}/open/photo.txt", why)
    finally:
        bucket.delete_bucket_policy(Bucket=BUCKET)


def test_services_are_closed_to_who_was_granted_nothing(cloud: LocalCloud) -> None:
    visitor = Visitor(cloud, LISTING)
    place = "us-east-1:123456789012:"
    table, queue = f"arn:aws:dynamodb:{place}table/t", f"arn:aws:sqs:{place}q"
    sagemaker, runtime = visitor.client("sagemaker"), visitor.client("sagemaker-runtime")
    pipelines, builds = visitor.client("codepipeline"), visitor.client("codebuild")
    url = f"{cloud.endpoint}/123456789012/q"
    key = {"id": {"S": "1"}}
    for call, action, resource in (
        (lambda: visitor.client("dynamodb").get_item(TableName="t", Key=key), "dynamodb:GetItem", table),
        (lambda: visitor.client("sqs").send_message(QueueUrl=url, MessageBody="?"), "sqs:SendMessage", queue),
        (
            lambda: visitor.client("lambda").invoke(FunctionName="f"),
            "lambda:InvokeFunction",
            f"arn:aws:lambda:{place}function:f",
        ),
        (
            lambda: runtime.invoke_endpoint(EndpointName="e", Body=b""),
            "sagemaker:InvokeEndpoint",
            f"arn:aws:sagemaker:{place}endpoint/e",
        ),
        (
            lambda: sagemaker.describe_training_job(TrainingJobName="j"),
            "sagemaker:DescribeTrainingJob",
            f"arn:aws:sagemaker:{place}training-job/j",
        ),
        (lambda: sagemaker.list_models(), "sagemaker:ListModels", "*"),
        (
            lambda: pipelines.start_pipeline_execution(name="p"),
            "codepipeline:StartPipelineExecution",
            f"arn:aws:codepipeline:{place}p",
        ),
        (
            lambda: builds.batch_get_builds(ids=["b:1"]),
            "codebuild:BatchGetBuilds",
            f"arn:aws:codebuild:{place}project/b",
        ),
        (
            lambda: visitor.client("logs").create_log_stream(logGroupName="g", logStreamName="s"),
            "logs:CreateLogStream",
            f"arn:aws:logs:{place}log-group:g:log-stream:s",
        ),
        (lambda: visitor.client("iam").get_role(RoleName="any"), "iam:GetRole", ROLE),
        (lambda: visitor.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="up"), "sts:AssumeRole", ROLE),
    ):
        assert visitor.denied(call, action, resource) in ("AccessDenied", "AccessDeniedException")
    topic = f"arn:aws:sns:{place}t"
    publishing = lambda: visitor.client("sns").publish(TopicArn=topic, Message="?")  # noqa: E731
    assert visitor.denied(publishing, "sns:Publish", topic) == "AuthorizationError"
    assert visitor.client("sts").get_caller_identity()["Arn"] == visitor.arn


def test_what_is_in_no_table_is_open_to_nobody_but_the_operator(cloud: LocalCloud) -> None:
    visitor = Visitor(cloud)
    with pytest.raises(ClientError, match="does not know which permission that needs"):
        visitor.client("sagemaker").list_notebook_instances()


@pytest.mark.parametrize(("service", "call"), [("sagemaker", "list_labeling_jobs"), ("codepipeline", "list_webhooks")])
def test_whatever_our_services_do_is_in_the_table(cloud: LocalCloud, service: str, call: str) -> None:
    with pytest.raises(ClientError, match="does not know") as caught:
        getattr(cloud.client(service), call)()
    operations = str(caught.value).rpartition("only ")[2].rstrip(".").split(", ")

    assert len(operations) > 10
    assert set(operations) <= TABLE[service].keys()


def test_a_role_is_handed_over_by_who_may_pass_it(cloud: LocalCloud) -> None:
    creating = {"Effect": "Allow", "Action": ["sagemaker:CreateModel", "states:CreateStateMachine"], "Resource": "*"}
    passing = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": ROLE,
        "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
    }
    visitor = Visitor(cloud, creating)
    model = {"ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}}
    create = visitor.client("sagemaker").create_model
    machine = {"name": unique("machine"), "definition": "{}", "roleArn": ROLE}

    visitor.denied(lambda: create(ModelName=unique("model"), **model), "iam:PassRole", ROLE)
    grant(cloud, visitor.role, creating, passing)
    assert create(ModelName=unique("model"), **model)["ModelArn"]
    visitor.denied(lambda: visitor.client("stepfunctions").create_state_machine(**machine), "iam:PassRole", ROLE)


def test_a_topics_key_is_needed_to_publish(cloud: LocalCloud) -> None:
    kms, sns = cloud.client("kms"), cloud.client("sns")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    topic = sns.create_topic(Name=unique("sealed"), Attributes={"KmsMasterKeyId": key})["TopicArn"]
    publishing = {"Effect": "Allow", "Action": "sns:Publish", "Resource": topic}
    sealing = {
        "Effect": "Allow",
        "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
        "Resource": key,
        "Condition": {"StringEquals": {"kms:ViaService": "sns.us-east-1.amazonaws.com"}},
    }
    visitor = Visitor(cloud, publishing)
    publish = lambda: visitor.client("sns").publish(TopicArn=topic, Message="sealed")  # noqa: E731

    visitor.denied(publish, "kms:GenerateDataKey", key)
    grant(cloud, visitor.role, publishing, sealing)
    assert publish()["MessageId"]


def test_functions_run_as_their_role_and_never_with_the_operators_keys(
    cloud: LocalCloud, sample: dict[str, str]
) -> None:
    reply = cloud.client("lambda").invoke(FunctionName=sample["Worker"], Payload=json.dumps({"do": "describe"}))
    environment = json.load(reply["Payload"])["environment"]
    names = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
    key, secret, token = (environment[f"AWS_{name}"] for name in names)

    identity = connect("sts", cloud.endpoint, key, secret, "us-east-1", token).get_caller_identity()

    assert identity["Arn"].endswith(f"/{sample['Worker']}")
    assert ":assumed-role/sample-Role-" in identity["Arn"]
    assert cloud.settings.secret not in json.dumps(environment)


def test_a_machine_acts_as_its_role(cloud: LocalCloud) -> None:
    role = unique("machine")
    arn = create_role(cloud, role, LISTING)
    topic = cloud.client("sns").create_topic(Name=unique("told"))["TopicArn"]
    publish = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sns:publish",
        "Arguments": {"TopicArn": topic, "Message": "?"},
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "Tell", "States": {"Tell": {**publish, "End": True}}}
    machines = cloud.client("stepfunctions")
    machine = machines.create_state_machine(name=role, definition=json.dumps(definition), roleArn=arn)[
        "stateMachineArn"
    ]

    def run() -> dict[str, Any]:
        execution = machines.start_execution(stateMachineArn=machine)["executionArn"]

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = machines.describe_execution(executionArn=execution)
            return None if found["status"] == "RUNNING" else found

        return eventually(look, "end of the execution")

    failed = run()
    assert (failed["status"], failed["error"]) == ("FAILED", "SNS.AuthorizationErrorException")
    assert (
        f"assumed-role/{role}/{role} is not authorized to perform: sns:Publish on resource: {topic}" in failed["cause"]
    )
    grant(cloud, role, {"Effect": "Allow", "Action": "sns:Publish", "Resource": topic})
    assert run()["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loggingConfiguration": {"level": "ALL"}}, "not authorized to access the Log Destination"),
        ({"definition": "arn:aws:states:::sagemaker:createTrainingJob.sync"}, "not authorized to create managed-rule"),
    ],
)
def test_a_machine_whose_role_lacks_what_its_watching_needs_is_not_made(
    cloud: LocalCloud, changes: dict[str, Any], words: str
) -> None:
    arn = create_role(cloud, unique("machine"), LISTING)
    wait = {"Type": "Pass", "End": True, "Comment": changes.pop("definition", "")}
    definition = json.dumps({"StartAt": "Wait", "States": {"Wait": wait}})
    with pytest.raises(ClientError, match=words):
        cloud.client("stepfunctions").create_state_machine(
            name=unique("machine"), definition=definition, roleArn=arn, **changes
        )


def test_a_rule_reaches_a_queue_that_lets_it_and_else_its_dead_letters(cloud: LocalCloud) -> None:
    events, sqs = cloud.client("events"), cloud.client("sqs")
    name = unique("rule")
    queues = {kind: sqs.create_queue(QueueName=f"{name}-{kind}")["QueueUrl"] for kind in ("closed", "letters")}
    place = "arn:aws:sqs:us-east-1:123456789012:"
    open_queue(cloud, queues["letters"])
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    letters = {"Arn": f"{place}{name}-letters"}
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": f"{place}{name}-closed", "DeadLetterConfig": letters}])

    events.put_events(Entries=[{"Source": name, "DetailType": "t", "Detail": "{}"}])

    received = eventually(
        lambda: sqs.receive_message(QueueUrl=queues["letters"]).get("Messages"), "event among the dead letters"
    )
    assert json.loads(received[0]["Body"])["source"] == name
    assert "Messages" not in sqs.receive_message(QueueUrl=queues["closed"])
    assert f"the rule {name} may not reach" in cloud.settings.log.read_text()


def test_a_bucket_tells_a_queue_that_lets_it(cloud: LocalCloud) -> None:
    s3, sqs = cloud.client("s3"), cloud.client("sqs")
    name = unique("uploads")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    s3.create_bucket(Bucket=name)
    arn = f"arn:aws:sqs:us-east-1:123456789012:{name}"
    telling = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}

    with pytest.raises(ClientError, match="Unable to validate the following destination configurations"):
        s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=telling)
    open_queue(cloud, queue, "s3.amazonaws.com")
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=telling)
    s3.put_object(Bucket=name, Key="k", Body=b"")

    def told() -> bool:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        # The first is of the configuration itself.
        return any(json.loads(message["Body"]).get("Records") for message in messages)

    assert eventually(told, "notification")


def test_a_queue_feeds_a_function_whose_role_may_receive(cloud: LocalCloud, sample: dict[str, str]) -> None:
    functions, sqs = cloud.client("lambda"), cloud.client("sqs")
    role, queue = unique("fed"), sqs.create_queue(QueueName=unique("feed"))["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:123456789012:{queue.rpartition('/')[2]}"
    before = functions.get_function_configuration(FunctionName=sample["Worker"])["Role"]
    functions.update_function_configuration(FunctionName=sample["Worker"], Role=create_role(cloud, role, LISTING))
    try:
        mapping = functions.create_event_source_mapping(FunctionName=sample["Worker"], EventSourceArn=arn)["UUID"]
        sqs.send_message(QueueUrl=queue, MessageBody="{}")
        log = cloud.settings.log
        eventually(lambda: f"cannot receive from {arn}" in log.read_text(), "denial in the log")
        attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        assert attributes["ApproximateNumberOfMessages"] == "1"
        functions.delete_event_source_mapping(UUID=mapping)
    finally:
        functions.update_function_configuration(FunctionName=sample["Worker"], Role=before)
