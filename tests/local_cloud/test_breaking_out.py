"""Ways around permissions that somebody with a session of a role would try, each refused."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.local.cloud import LocalCloud
from tests.local_cloud.laboratory import unique
from tests.local_cloud.roles import ROLE, create_role, grant, open_queue, policy
from tests.local_cloud.sample_app import eventually
from tests.local_cloud.signed import FORM, send, sign
from tests.local_cloud.visitors import TRUST_ALL, Visitor

pytestmark = pytest.mark.xdist_group("local-cloud")

PLACE = "us-east-1:123456789012:"
BUCKET = "vault"
JSON = {"Content-Type": "application/x-amz-json-1.0"}


@pytest.fixture(scope="module", autouse=True)
def scheduled(cloud: LocalCloud) -> dict[str, str]:
    """Two queues that schedules send to since the beginning of these tests: one by a role that may, one by one not."""
    sqs, scheduler, iam = cloud.client("sqs"), cloud.client("scheduler"), cloud.client("iam")
    queues = {}
    for name in ("sent", "kept"):
        own = unique(name)
        queues[name] = sqs.create_queue(QueueName=own)["QueueUrl"]
        arn = open_queue(cloud, queues[name])
        role = create_role(cloud, own, allow("sqs:SendMessage", arn if name == "sent" else f"{arn}-other"))
        trust = {**TRUST_ALL, "Principal": {"Service": "scheduler.amazonaws.com"}}
        iam.update_assume_role_policy(RoleName=own, PolicyDocument=policy(trust))
        scheduler.create_schedule(
            Name=own,
            ScheduleExpression="at(2026-01-01T00:00:00)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": arn, "RoleArn": role},
        )
    return queues


def allow(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def refused(call: Callable[[], object], words: str = "not authorized") -> str:
    with pytest.raises(ClientError, match=words) as caught:
        call()
    return str(caught.value)


@pytest.fixture(scope="module")
def s3(cloud: LocalCloud) -> Iterator[BaseClient]:
    client = cloud.client("s3")
    client.create_bucket(Bucket=BUCKET)
    for key in ("open/photo", "closed/photo", "/closed/photo"):
        client.put_object(Bucket=BUCKET, Key=key, Body=b"a photo")
    yield client


# ---- a request that is authorized for one thing and does another


def test_a_table_is_not_deleted_under_another_name(cloud: LocalCloud) -> None:
    name = unique("table")
    cloud.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    visitor = Visitor(cloud, allow("dynamodb:ListTables"))
    target = {**JSON, "X-Amz-Target": "DynamoDB_20120810.DeleteTable"}
    answer = visitor.send(
        "POST", "/?Action=ListTables", json.dumps({"TableName": name}).encode(), target, service="dynamodb"
    )
    assert answer.status == 403
    assert b"cannot tell what it wants" in answer.content
    assert name in cloud.client("dynamodb").list_tables()["TableNames"]


def test_a_queue_and_a_topic_are_not_deleted_under_another_name(cloud: LocalCloud) -> None:
    sqs, sns = cloud.client("sqs"), cloud.client("sns")
    url = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    arn = sns.create_topic(Name=unique("topic"))["TopicArn"]
    visitor = Visitor(cloud, allow(["sqs:SendMessage", "sns:ListTopics"]))
    target = {**JSON, "X-Amz-Target": "AmazonSQS.DeleteQueue"}

    of_queue = visitor.send(
        "POST", "/?Action=SendMessage", json.dumps({"QueueUrl": url}).encode(), target, service="sqs"
    )
    of_topic = visitor.send(
        "POST",
        "/?Action=ListTopics",
        f"Action=DeleteTopic&TopicArn={arn}".encode(),
        {"Content-Type": FORM},
        service="sns",
    )
    for answer in (of_queue, of_topic):
        assert answer.status == 403
        assert b"cannot tell what it wants" in answer.content
    assert sqs.get_queue_attributes(QueueUrl=url)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["TopicArn"] == arn


def test_an_execution_is_not_read_by_another_machine(cloud: LocalCloud) -> None:
    machine, execution = f"arn:aws:states:{PLACE}stateMachine:mine", f"arn:aws:states:{PLACE}execution:theirs:1"
    visitor = Visitor(cloud, allow("states:*", machine))
    target = {**JSON, "X-Amz-Target": "AWSStepFunctions.DescribeExecution"}
    both = {"executionArn": execution, "stateMachineArn": machine}
    answer = visitor.send("POST", "/", json.dumps(both).encode(), target, service="states")
    assert b"DescribeExecution has no parameter stateMachineArn" in answer.content
    visitor.denied(
        lambda: visitor.client("stepfunctions").describe_execution(executionArn=execution),
        "states:DescribeExecution",
        execution,
    )


@pytest.mark.parametrize("path", ["/vault/open/new?Action=GetObject", "//vault/closed/photo", "/vault/closed/%00photo"])
def test_a_path_of_s3_is_what_it_seems(cloud: LocalCloud, s3: BaseClient, path: str) -> None:
    visitor = Visitor(cloud, allow("s3:GetObject", f"arn:aws:s3:::{BUCKET}/*"))
    for method in ("GET", "PUT"):
        answer = visitor.send(method, path, b"" if method == "GET" else b"new", service="s3")
        assert answer.status == 403
        assert b"cannot tell what it wants" in answer.content
    assert "open/new" not in {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}


def test_an_empty_part_of_a_key_is_a_part(cloud: LocalCloud, s3: BaseClient) -> None:
    visitor = Visitor(cloud, allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{BUCKET}/closed/*"))
    client = visitor.client("s3")
    for key in ("/closed/photo", "closed", "/"):
        reading = lambda key=key: client.get_object(Bucket=BUCKET, Key=key)  # noqa: E731
        visitor.denied(reading, "s3:GetObject", f"arn:aws:s3:::{BUCKET}/{key}")
    for key in ("closed//photo", "closed/folder/", "closed///"):
        client.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
        assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode()
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode()


# ---- S3


def test_a_copy_needs_leave_to_read_its_source(cloud: LocalCloud, s3: BaseClient) -> None:
    visitor = Visitor(cloud, allow("s3:*", f"arn:aws:s3:::{BUCKET}/open/*"))
    client, source = visitor.client("s3"), f"arn:aws:s3:::{BUCKET}/closed/photo"
    copying = {"Bucket": BUCKET, "Key": "open/copy", "CopySource": f"{BUCKET}/closed/photo"}

    visitor.denied(lambda: client.copy_object(**copying), "s3:GetObject", source)
    upload = client.create_multipart_upload(Bucket=BUCKET, Key="open/copy")["UploadId"]
    visitor.denied(lambda: client.upload_part_copy(**copying, PartNumber=1, UploadId=upload), "s3:GetObject", source)
    # A link may have the source in its query.
    link = visitor.link("PUT", f"/{BUCKET}/open/copy?X-Amz-Copy-Source=/{BUCKET}/closed/photo")
    answer = send(cloud, "PUT", link)
    assert answer.status == 403
    assert b"is not authorized to perform: s3:GetObject" in answer.content
    assert "open/copy" not in {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}


def test_a_link_of_a_session_gives_what_the_session_has(cloud: LocalCloud, s3: BaseClient) -> None:
    visitor = Visitor(cloud, allow("s3:GetObject", f"arn:aws:s3:::{BUCKET}/open/*"))
    for key, method, status in (
        ("open/photo", "GET", 200),
        ("closed/photo", "GET", 403),
        ("open/photo", "DELETE", 403),
    ):
        assert send(cloud, method, visitor.link(method, f"/{BUCKET}/{key}")).status == status


def test_a_bucket_in_the_host_is_the_same_bucket(cloud: LocalCloud, s3: BaseClient) -> None:
    visitor = Visitor(cloud, allow("s3:GetObject", f"arn:aws:s3:::{BUCKET}/open/*"))
    port = cloud.settings.port
    for host in (f"{BUCKET}.localhost:{port}", f"{BUCKET}.s3.localhost:{port}"):
        answer = visitor.send("GET", "/closed/photo", headers={"Host": host}, service="s3")
        assert answer.status == 403
        assert b"a photo" not in answer.content


def test_tags_and_grants_of_an_upload_need_leave_of_their_own(cloud: LocalCloud, s3: BaseClient) -> None:
    visitor = Visitor(cloud, allow("s3:PutObject", f"arn:aws:s3:::{BUCKET}/open/*"))
    client, resource = visitor.client("s3"), f"arn:aws:s3:::{BUCKET}/open/new"
    new = {"Bucket": BUCKET, "Key": "open/new", "Body": b""}
    visitor.denied(lambda: client.put_object(**new, Tagging="a=b"), "s3:PutObjectTagging", resource)
    visitor.denied(lambda: client.put_object(**new, ACL="public-read"), "s3:PutObjectAcl", resource)
    client.put_object(**new)


def test_a_line_break_does_not_lead_past_a_denial(cloud: LocalCloud, s3: BaseClient) -> None:
    visitor = Visitor(cloud, allow("s3:*"), deny("s3:GetObject", f"arn:aws:s3:::{BUCKET}/closed/*"))
    s3.put_object(Bucket=BUCKET, Key="closed/a\nb", Body=b"a photo")
    refused(lambda: visitor.client("s3").get_object(Bucket=BUCKET, Key="closed/a\nb"), "explicit deny")


# ---- sessions and roles


def test_a_session_is_given_no_longer_life_and_no_more(cloud: LocalCloud, s3: BaseClient) -> None:
    narrow = policy(allow("s3:GetObject", f"arn:aws:s3:::{BUCKET}/open/*"))
    visitor = Visitor(cloud, allow(["s3:*", "sts:*"]), Policy=narrow)
    assert visitor.client("s3").get_object(Bucket=BUCKET, Key="open/photo")["ContentLength"] == 7
    refused(lambda: visitor.client("s3").get_object(Bucket=BUCKET, Key="closed/photo"))
    sts = visitor.client("sts")
    refused(sts.get_session_token, "Cannot call GetSessionToken with session credentials")
    refused(lambda: sts.get_federation_token(Name="me"), "Cannot call GetFederationToken")


def test_a_role_is_assumed_by_whom_it_trusts_on_its_conditions(cloud: LocalCloud) -> None:
    visitor = Visitor(cloud, allow("sts:*"))
    sts, iam, name = visitor.client("sts"), cloud.client("iam"), unique("trusting")
    arn = create_role(cloud, name)
    assuming = {"RoleArn": arn, "RoleSessionName": "up"}

    refused(lambda: sts.assume_role(**assuming), f"not authorized to perform: sts:AssumeRole on resource: {arn}$")
    condition = {"StringEquals": {"sts:ExternalId": "agreed"}}
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=policy({**TRUST_ALL, "Condition": condition}))
    refused(lambda: sts.assume_role(**assuming))
    refused(lambda: sts.assume_role(**assuming, ExternalId="guessed"))
    refused(lambda: sts.assume_role(**assuming, ExternalId="agreed", Tags=[{"Key": "k", "Value": "v"}]), "TagSession")
    assert sts.assume_role(**assuming, ExternalId="agreed")["Credentials"]
    token = {"RoleArn": arn, "RoleSessionName": "up", "WebIdentityToken": "a.b.c"}
    signing = {"Content-Type": FORM}
    body = "&".join(["Action=AssumeRoleWithWebIdentity", *(f"{key}={value}" for key, value in token.items())])
    answer = visitor.send("POST", "/", body.encode(), signing, service="sts")
    assert answer.status == 403
    assert b"knows no identity providers" in answer.content


def test_a_session_ends_with_its_role_whatever_comes_after(cloud: LocalCloud, s3: BaseClient) -> None:
    visitor = Visitor(cloud, allow("s3:*"))
    iam = cloud.client("iam")
    iam.delete_role_policy(RoleName=visitor.role, PolicyName="own")
    iam.delete_role(RoleName=visitor.role)
    refused(lambda: visitor.client("s3").list_objects_v2(Bucket=BUCKET))
    create_role(cloud, visitor.role)
    refused(lambda: visitor.client("s3").list_objects_v2(Bucket=BUCKET), "is a session of a role that is there no more")


def test_keys_go_with_their_own_token(cloud: LocalCloud) -> None:
    one, other = Visitor(cloud, allow("s3:*")), Visitor(cloud, allow("s3:*"))
    other.keys = (*one.keys[:2], other.keys[2])
    refused(other.client("s3").list_buckets, "InvalidAccessKeyId")


def test_whoever_hands_a_role_over_has_to_be_allowed_to(cloud: LocalCloud, sample: dict[str, str]) -> None:
    visitor = Visitor(
        cloud,
        allow(["lambda:*", "events:*", "states:*", "sagemaker:*", "codebuild:*"]),
        allow("iam:PassRole", Condition={"StringEquals": {"iam:PassedToService": "states.amazonaws.com"}}),
    )
    functions, events = visitor.client("lambda"), visitor.client("events")
    target = {"Id": "1", "Arn": f"arn:aws:states:{PLACE}stateMachine:m", "RoleArn": ROLE}
    for call in (
        lambda: functions.update_function_configuration(FunctionName=sample["Worker"], Role=ROLE),
        lambda: events.put_targets(Rule="r", Targets=[target]),
        lambda: visitor.client("codebuild").update_project(name="p", serviceRole=ROLE),
        lambda: visitor.client("sagemaker").create_model(ModelName="m", ExecutionRoleArn=ROLE),
    ):
        visitor.denied(call, "iam:PassRole", ROLE)


# ---- MiniStack's own doors, and services that act in others' names


@pytest.mark.parametrize(
    "path",
    ["/_ministack/reset", "/_ministack/config", "/_ministack/eks-auth/c/token", "/_ministack/rds/iam-auth"],
)
def test_ministacks_own_doors_are_the_operators(cloud: LocalCloud, path: str) -> None:
    visitor = Visitor(cloud, allow("*"))
    for service in ("s3", "sts"):
        answer = visitor.send("POST", path, b"{}", service=service)
        assert answer.status == 403
        assert b"is not the operator" in answer.content


def test_services_that_would_act_with_everybodys_rights_are_the_operators(cloud: LocalCloud) -> None:
    visitor = Visitor(cloud, allow("*"))
    template = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    for call in (
        lambda: visitor.client("cloudformation").create_stack(StackName="out", TemplateBody=template),
        lambda: visitor.client("scheduler").create_schedule(
            Name="out",
            ScheduleExpression="rate(1 minute)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": f"arn:aws:sqs:{PLACE}q", "RoleArn": ROLE},
        ),
        lambda: visitor.client("cloudcontrol").create_resource(TypeName="AWS::SNS::Topic", DesiredState="{}"),
    ):
        refused(call, "does not check who may use")
    assert "out" not in {stack["StackName"] for stack in cloud.client("cloudformation").describe_stacks()["Stacks"]}


def test_an_interface_that_the_operator_has_set_up_serves_the_operator_alone(
    cloud: LocalCloud, sample: dict[str, str]
) -> None:
    interfaces = cloud.client("apigatewayv2")
    name = interfaces.create_api(Name=unique("api"), ProtocolType="HTTP")["ApiId"]
    function = f"arn:aws:lambda:{PLACE}function:{sample['Worker']}"
    integration = interfaces.create_integration(
        ApiId=name, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )
    target = f"integrations/{integration['IntegrationId']}"
    interfaces.create_route(ApiId=name, RouteKey="GET /do", Target=target)
    interfaces.create_stage(ApiId=name, StageName="$default", AutoDeploy=True)
    visitor, served = Visitor(cloud, allow("*")), set()
    refused(lambda: visitor.client("apigatewayv2").get_apis(), "does not check who may use apigateway")
    for path, headers in (
        ("/do", {"Host": f"{name}.execute-api.localhost:{cloud.settings.port}"}),
        (f"/_aws/execute-api/{name}/$default/do", {}),
        (f"/restapis/{name}/$default/_user_request_/do", {}),
    ):
        operator = send(cloud, "GET", path, headers=sign(cloud, "GET", path, headers=headers, service="execute-api"))
        served.add(operator.status)
        for service in ("execute-api", "s3", "lambda"):
            answer = visitor.send("GET", path, headers=headers, service=service)
            assert answer.status in (403, 404), (path, service, answer)
            assert answer.content != operator.content
    # It was called, and knows no such event: else none of these would be a door.
    assert served == {502}


# ---- what cannot be evaluated, and what can


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (deny("s3:*", Condition={"StringEquals": {"aws:Unheard": "x"}}), "the condition key aws:Unheard"),
        (deny("s3:*", Condition={"StringMatches": {"s3:prefix": "x"}}), "the condition operator StringMatches"),
        (allow("s3:*", "arn:aws:s3:::${s3:unheard}"), r"the policy variable \$\{s3:unheard\}"),
    ],
)
def test_a_policy_that_cannot_be_evaluated_denies_and_says_so(
    cloud: LocalCloud, s3: BaseClient, statement: dict[str, Any], words: str
) -> None:
    visitor = Visitor(cloud, statement, allow("s3:*"))
    refused(
        lambda: visitor.client("s3").list_objects_v2(Bucket=BUCKET), f"because the local cloud cannot evaluate {words}"
    )


def test_metrics_go_into_the_namespace_that_is_granted(cloud: LocalCloud) -> None:
    condition = {"StringLike": {"cloudwatch:namespace": ["Mine/*"]}}
    visitor = Visitor(cloud, allow("cloudwatch:PutMetricData", Condition=condition))
    metrics, data = visitor.client("cloudwatch"), [{"MetricName": "m", "Value": 1.0}]
    metrics.put_metric_data(Namespace="Mine/Line", MetricData=data)
    putting = lambda: metrics.put_metric_data(Namespace="Theirs", MetricData=data)  # noqa: E731
    visitor.denied(putting, "cloudwatch:PutMetricData", "*")


# ---- what acts without a request


@pytest.mark.parametrize(
    ("resource", "parameters", "action"),
    [
        ("arn:aws:lambda:{place}function:{Worker}", {}, "lambda:InvokeFunction"),
        ("arn:aws:states:::lambda:invoke", {"FunctionName": "{Worker}", "Payload": {}}, "lambda:InvokeFunction"),
        (
            "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            {"QueueUrl": "http://localhost/123456789012/q", "MessageBody.$": "$$.Task.Token"},
            "sqs:SendMessage",
        ),
        (
            "arn:aws:states:::lambda:invoke.waitForTaskToken",
            {"FunctionName": "{Worker}", "Payload": {"token.$": "$$.Task.Token"}},
            "lambda:InvokeFunction",
        ),
        ("arn:aws:states:::aws-sdk:dynamodb:listTables", {}, "dynamodb:ListTables"),
        ("arn:aws:states:::aws-sdk:secretsmanager:getSecretValue", {"SecretId": "s"}, "secretsmanager:GetSecretValue"),
        ("arn:aws:states:::aws-sdk:sqs:purgeQueue.waitForTaskToken", {"QueueUrl": "http://l/1/q"}, "sqs:PurgeQueue"),
        ("arn:aws:states:::states:startExecution.sync:2", {"StateMachineArn": "{machine}"}, "states:DescribeExecution"),
        ("arn:aws:states:::aws-sdk:ec2:describeInstances", {}, "does not know"),
        ("arn:aws:states:::ecs:runTask", {"TaskDefinition": "t"}, "does not know"),
    ],
)
def test_a_task_needs_leave_of_the_machines_role(
    cloud: LocalCloud, sample: dict[str, str], resource: str, parameters: dict[str, Any], action: str
) -> None:
    states, name = cloud.client("stepfunctions"), unique("machine")
    machine = f"arn:aws:states:{PLACE}stateMachine:{name}"
    # What a machine with such a task needs to be made at all, and no more.
    rules = allow(["events:PutTargets", "events:PutRule", "events:DescribeRule"])
    role = create_role(cloud, name, rules, allow("states:StartExecution"))
    known = {"Worker": sample["Worker"], "place": PLACE, "machine": machine}
    task = {"Type": "Task", "Resource": resource.format_map(known), "Parameters": parameters, "End": True}
    if not parameters:
        del task["Parameters"]
    text = json.dumps({"StartAt": "Try", "States": {"Try": {**task, "TimeoutSeconds": 20}}})
    for key, value in known.items():
        text = text.replace(f"{{{key}}}", value)
    states.create_state_machine(name=name, roleArn=role, definition=text)
    execution = states.start_execution(stateMachineArn=machine, input="{}")["executionArn"]

    def over() -> dict[str, Any] | None:
        found: dict[str, Any] = states.describe_execution(executionArn=execution)
        return None if found["status"] == "RUNNING" else found

    ended = eventually(over, "end of the execution")
    assert ended["status"] == "FAILED", ended
    assert action in ended["cause"], ended
    assert "does not know" in action or "is not authorized to perform" in ended["cause"], ended


def test_a_pipelines_action_acts_in_its_own_role(cloud: LocalCloud, sample: dict[str, str]) -> None:
    pipelines, iam = cloud.client("codepipeline"), cloud.client("iam")
    definition = pipelines.get_pipeline(name=sample["Pipeline"])["pipeline"]
    name, own = unique("roles"), unique("own")
    arn = create_role(cloud, own, allow("s3:GetObject", "arn:aws:s3:::elsewhere/*"))
    definition["name"], definition["roleArn"] = name, create_role(cloud, name)
    definition["stages"][0]["actions"][0]["roleArn"] = arn
    pipelines.create_pipeline(pipeline=definition)

    def why() -> str:
        execution = pipelines.start_pipeline_execution(name=name, variables=[{"name": "who", "value": "me"}])[
            "pipelineExecutionId"
        ]

        def over() -> dict[str, Any] | None:
            details = pipelines.list_action_executions(pipelineName=name, filter={"pipelineExecutionId": execution})[
                "actionExecutionDetails"
            ]
            return next((detail for detail in details if detail["status"] == "Failed"), None)

        result = eventually(over, "failure of the source")["output"]["executionResult"]
        assert result["errorDetails"]["code"] == "PermissionError"
        return str(result["errorDetails"]["message"])

    # Its role does not trust the pipeline's; then it does, and may not do it.
    assert f"is not authorized to perform: sts:AssumeRole on resource: {arn}" in why()
    iam.update_assume_role_policy(RoleName=own, PolicyDocument=policy(TRUST_ALL))
    assert f"assumed-role/{own}/{name} is not authorized to perform: s3:GetBucketVersioning" in why()
    grant(cloud, name, allow("s3:*"))
    assert "no identity-based policy allows the sts:AssumeRole action" in why()


def test_an_alarm_tells_a_topic_that_lets_it(cloud: LocalCloud) -> None:
    sns, sqs, metrics = cloud.client("sns"), cloud.client("sqs"), cloud.client("cloudwatch")
    name = unique("alarm")
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=open_queue(cloud, queue, "sns.amazonaws.com"))
    metrics.put_metric_alarm(
        AlarmName=name,
        MetricName="m",
        Namespace="n",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[topic],
    )

    def told() -> bool:
        metrics.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="a test")
        metrics.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
        return "Messages" in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=0)

    condition = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    publishing = {"Effect": "Allow", "Action": "sns:Publish", "Resource": topic, "Condition": condition}
    for service, expected in (("events.amazonaws.com", False), ("cloudwatch.amazonaws.com", True)):
        statement = {**publishing, "Principal": {"Service": service}}
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy(statement))
        assert told() is expected


def test_a_group_of_logs_calls_a_function_that_lets_it(cloud: LocalCloud, sample: dict[str, str]) -> None:
    logs, name = cloud.client("logs"), unique("group")
    logs.create_log_group(logGroupName=name)
    arn = cloud.client("lambda").get_function(FunctionName=sample["Worker"])["Configuration"]["FunctionArn"]
    subscribing = {"logGroupName": name, "filterName": "f", "filterPattern": "", "destinationArn": arn}
    refused(lambda: logs.put_subscription_filter(**subscribing), "Could not execute the lambda function")
    cloud.client("lambda").add_permission(
        FunctionName=sample["Worker"], StatementId=name, Action="lambda:InvokeFunction", Principal="logs.amazonaws.com"
    )
    logs.put_subscription_filter(**subscribing)


def test_a_rule_does_not_reach_what_nobody_knows(cloud: LocalCloud) -> None:
    events, name = cloud.client("events"), unique("rule")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    bus = events.create_event_bus(Name=name)["EventBusArn"]
    for target in (bus, f"arn:aws:firehose:{PLACE}deliverystream/d"):
        events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": target}])
        events.put_events(Entries=[{"Source": name, "DetailType": "t", "Detail": "{}"}])
        eventually(
            lambda target=target: f"the rule {name} may not reach {target}" in cloud.settings.log.read_text(),
            "denial in the log",
        )


def test_a_topic_reaches_a_queue_whose_key_lets_it(cloud: LocalCloud) -> None:
    sns, sqs, kms, name = cloud.client("sns"), cloud.client("sqs"), cloud.client("kms"), unique("locked")
    owner = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "kms:*", "Resource": "*"}
    key = kms.create_key(Policy=policy(owner))["KeyMetadata"]["KeyId"]
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=open_queue(cloud, queue, "sns.amazonaws.com"))

    def told() -> bool:
        sns.publish(TopicArn=topic, Message="?")
        return "Messages" in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=0)

    assert not told()
    using = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Resource": "*"}
    using |= {"Action": ["kms:GenerateDataKey", "kms:Decrypt"]}
    using |= {"Condition": {"ArnEquals": {"aws:SourceArn": topic}}}
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(owner, using))
    assert told()


@pytest.mark.parametrize(
    "condition",
    [
        {"ArnEquals": {"aws:SourceArn": f"arn:aws:sns:{PLACE}another"}},
        {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:another-*"}},
        {"StringEquals": {"aws:SourceAccount": "210987654321"}},
        {"Bool": {"aws:PrincipalIsAWSService": "false"}},
    ],
)
def test_a_service_is_no_deputy_of_somebody_else(cloud: LocalCloud, condition: dict[str, Any]) -> None:
    sns, sqs, name = cloud.client("sns"), cloud.client("sqs"), unique("deputy")
    topic, queue = sns.create_topic(Name=name)["TopicArn"], sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = f"arn:aws:sqs:{PLACE}{name}"
    sending = allow("sqs:SendMessage", arn, Principal={"Service": "sns.amazonaws.com"}, Condition=condition)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy(sending)})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="?")
    assert "Messages" not in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=0)


def test_a_stream_feeds_a_function_whose_role_may_read_it(cloud: LocalCloud, sample: dict[str, str]) -> None:
    functions, tables, name = cloud.client("lambda"), cloud.client("dynamodb"), unique("stream")
    stream = tables.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )["TableDescription"]["LatestStreamArn"]
    before = functions.get_function_configuration(FunctionName=sample["Worker"])["Role"]
    role = create_role(cloud, name, allow("dynamodb:DescribeStream"))
    functions.update_function_configuration(FunctionName=sample["Worker"], Role=role)
    try:
        mapping = functions.create_event_source_mapping(
            FunctionName=sample["Worker"], EventSourceArn=stream, StartingPosition="TRIM_HORIZON"
        )["UUID"]
        tables.put_item(TableName=name, Item={"id": {"S": "1"}})
        eventually(lambda: f"cannot read {stream}" in cloud.settings.log.read_text(), "denial in the log")
        functions.delete_event_source_mapping(UUID=mapping)
    finally:
        functions.update_function_configuration(FunctionName=sample["Worker"], Role=before)


def test_a_schedule_reaches_what_its_role_may(cloud: LocalCloud, scheduled: dict[str, str]) -> None:
    sqs = cloud.client("sqs")
    eventually(lambda: sqs.receive_message(QueueUrl=scheduled["sent"]).get("Messages"), "scheduled message")
    name = scheduled["kept"].rpartition("/")[2]
    eventually(lambda: f"the rule {name} may not reach" in cloud.settings.log.read_text(), "denial in the log")
    assert "Messages" not in sqs.receive_message(QueueUrl=scheduled["kept"])
