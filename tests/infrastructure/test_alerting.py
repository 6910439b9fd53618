"""Nothing fails in silence: what is retried, where it ends, and who is told."""

from __future__ import annotations

import pytest
from templates import flat


@pytest.fixture(scope="module")
def topic(template):
    return template.only("AWS::SNS::Topic")


@pytest.fixture(scope="module")
def rules(template):
    return list(template.of_type("AWS::Events::Rule").values())


def alarms_on(template, metric, dimension):
    return [
        alarm
        for alarm in template.of_type("AWS::CloudWatch::Alarm").values()
        if alarm["MetricName"] == metric and dimension in [entry["Value"] for entry in alarm["Dimensions"]]
    ]


def test_an_asynchronous_event_is_tried_again_and_then_kept(template):
    queues = template.of_type("AWS::SQS::Queue")
    configured = {
        config["FunctionName"]["Ref"]: config for config in template.of_type("AWS::Lambda::EventInvokeConfig").values()
    }

    assert set(configured) == set(template.of_type("AWS::Lambda::Function"))
    for config in configured.values():
        assert config["MaximumRetryAttempts"] == 2
        assert config["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0] in queues


def test_a_function_may_send_to_its_own_dead_letters(template):
    for config in template.of_type("AWS::Lambda::EventInvokeConfig").values():
        function = template.of_type("AWS::Lambda::Function")[config["FunctionName"]["Ref"]]
        queue = flat(config["DestinationConfig"]["OnFailure"]["Destination"])
        leaves = template.leaves(function["Role"]["Fn::GetAtt"][0])

        assert queue in {leave.resource for leave in leaves if leave.action == "sqs:SendMessage"}


def test_dead_letters_are_encrypted_kept_for_two_weeks_and_told_of(template, topic):
    for name, queue in template.of_type("AWS::SQS::Queue").items():
        [alarm] = alarms_on(template, "ApproximateNumberOfMessagesVisible", {"Fn::GetAtt": [name, "QueueName"]})

        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
        assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")
        assert alarm["AlarmActions"] == [{"Ref": topic}]


def test_a_function_that_fails_is_told_of(template, topic):
    for name in template.of_type("AWS::Lambda::Function"):
        [alarm] = alarms_on(template, "Errors", {"Ref": name})

        assert alarm["AlarmActions"] == [{"Ref": topic}]


def test_the_topic_is_encrypted_with_a_key_that_alarms_may_use(template, topic):
    key = template.only("AWS::KMS::Key")
    properties = template.of_type("AWS::KMS::Key")[key]
    users = [
        statement["Principal"]
        for statement in properties["KeyPolicy"]["Statement"]
        if "kms:Decrypt" in statement["Action"]
    ]

    assert template.of_type("AWS::SNS::Topic")[topic]["KmsMasterKeyId"] == {"Fn::GetAtt": [key, "Arn"]}
    assert users == [{"Service": "cloudwatch.amazonaws.com"}]
    assert properties["EnableKeyRotation"] is True


def test_only_the_accounts_own_alarms_may_publish_as_a_service(template):
    [policy] = template.of_type("AWS::SNS::TopicPolicy").values()
    [allowed] = [statement for statement in policy["PolicyDocument"]["Statement"] if statement["Effect"] == "Allow"]

    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_the_configured_address_is_told_and_no_other(template, synthesise):
    [subscription] = template.of_type("AWS::SNS::Subscription").values()

    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")
    assert not synthesise().of_type("AWS::SNS::Subscription")


def test_every_end_of_an_execution_and_every_hour_call_the_closing_function(template, rules):
    pipeline = template.only("AWS::CodePipeline::Pipeline")
    [ended] = [rule["EventPattern"] for rule in rules if "EventPattern" in rule]
    [hourly] = [rule["ScheduleExpression"] for rule in rules if "ScheduleExpression" in rule]

    assert ended["source"] == ["aws.codepipeline"]
    assert ended["detail-type"] == ["CodePipeline Pipeline Execution State Change"]
    assert ended["detail"]["pipeline"] == [{"Ref": pipeline}]
    assert set(ended["detail"]["state"]) == {"FAILED", "STOPPED", "CANCELED", "SUCCEEDED"}
    assert hourly == "rate(1 hour)"
    closer = template.only("AWS::Lambda::Function", "CloseFailedRequest")
    assert {flat(target["Arn"]) for rule in rules for target in rule["Targets"]} == {f"<{closer}.Arn>"}


def test_an_event_that_cannot_be_delivered_is_tried_again_and_kept(template, rules):
    for rule in rules:
        [target] = rule["Targets"]
        queue = target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
        senders = [
            statement
            for policy in template.of_type("AWS::SQS::QueuePolicy").values()
            if {"Ref": queue} in policy["Queues"]
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Allow"
        ]

        assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
        assert {flat(statement["Principal"]) for statement in senders} == {"Service: events.amazonaws.com"}


def test_a_rule_may_call_its_function(template):
    permissions = template.of_type("AWS::Lambda::Permission").values()

    assert {flat(each["SourceArn"]) for each in permissions} == {
        f"<{name}.Arn>" for name in template.of_type("AWS::Events::Rule")
    }
    assert {each["Principal"] for each in permissions} == {"events.amazonaws.com"}


@pytest.mark.parametrize("stack", ["inspection", "synthesis"])
def test_a_state_machine_that_fails_is_stopped_or_runs_out_of_time_is_told_of(stack, request):
    template = request.getfixturevalue(stack)
    topics = template.of_type("AWS::SNS::Topic")

    for machine in template.of_type("AWS::StepFunctions::StateMachine"):
        for end in ("Failed", "Aborted", "TimedOut"):
            [alarm] = alarms_on(template, f"Executions{end}", {"Ref": machine})
            [action] = alarm["AlarmActions"]
            assert action["Ref"] in topics
            assert alarm["TreatMissingData"] == "notBreaching"
