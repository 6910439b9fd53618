"""Who may do what: each role reaches what its work needs, and nothing else."""

from __future__ import annotations

import pytest
from templates import Template, is_tracing, matches

ACTIONS = {
    "write": ({"Source"}, {"Scripts"}),
    "run": ({"Source", "Scripts"}, {"Datasets", "Failures"}),
    "repair": ({"Source", "Scripts", "Failures"}, {"RepairedScripts"}),
    "rerun": ({"Source", "RepairedScripts"}, {"RerunDatasets"}),
    "publish": ({"Source", "Scripts", "Datasets", "RepairedScripts", "RerunDatasets"}, set()),
}
ARTIFACTS = set().union(*(inputs | outputs for inputs, outputs in ACTIONS.values()))


def may(template: Template, name: str, action: str) -> set[str]:
    """The resources on which a role may do ``action``."""
    leaves = template.leaves(template.roles()[name])
    return {leave.resource for leave in leaves if matches(leave.action, action)}


def who_may(template: Template, action: str) -> set[str]:
    return {name for name in template.roles() if may(template, name, action)}


def reached(template: Template, name: str, action: str, resources: dict[str, str]) -> set[str]:
    """Which of ``resources``, by name, a role may do ``action`` on."""
    patterns = may(template, name, action)
    return {key for key, resource in resources.items() if any(matches(pattern, resource) for pattern in patterns)}


def objects(template: Template) -> dict[str, str]:
    """An object of each artifact, where CodePipeline puts it, and one of the data bucket."""
    artifacts = template.only("AWS::S3::Bucket", "Artifacts")
    data = template.only("AWS::S3::Bucket", "Data")
    stored = {name: f"<{artifacts}.Arn>/defectory-sensor-da/{name[:10]}/Ab3dE9x" for name in ARTIFACTS}
    return {**stored, "data": f"<{data}.Arn>/ann/20261121T104500123Z-3f9a1c2b/etcher/data.csv"}


def test_every_action_and_function_has_a_role_of_its_own_for_its_service_alone(template):
    roles = template.roles()
    assert len(set(roles.values())) == len(roles)
    for name, role in roles.items():
        service = "lambda" if name[0].isupper() else "codebuild"
        [trust] = template.of_type("AWS::IAM::Role")[role]["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"}


@pytest.mark.parametrize("action", ["run", "rerun"])
def test_where_generated_code_runs_nothing_but_artifacts_and_logs_is_reached(template, action):
    artifacts = template.only("AWS::S3::Bucket", "Artifacts")
    logs = template.only("AWS::Logs::LogGroup", f"Pipeline{action.capitalize()}Logs")

    leaves = template.leaves(template.roles()[action])

    assert {leave.action.partition(":")[0] for leave in leaves} == {"s3", "logs"}
    for leave in leaves:
        owner = f"<{artifacts}.Arn>" if leave.action.startswith("s3:") else f"<{logs}.Arn>"
        assert leave.resource.startswith(owner)
    assert not may(template, action, "s3:ListBucket"), "other requests' artifacts cannot be found by listing"


@pytest.mark.parametrize("action", ["run", "rerun"])
def test_where_generated_code_runs_the_environment_names_no_service(template, action):
    project = template.project(action)

    assert "EnvironmentVariables" not in project["Environment"]
    assert project["Environment"]["PrivilegedMode"] is False


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_reads_its_inputs_and_writes_its_outputs_only(template, action):
    inputs, outputs = ACTIONS[action]
    stored = objects(template)

    assert reached(template, action, "s3:GetObject", stored) == inputs
    assert reached(template, action, "s3:PutObject", stored) == outputs | ({"data"} if action == "publish" else set())
    assert not may(template, action, "s3:DeleteObject")


def test_what_the_other_actions_run_can_be_written_by_none(template):
    source = {"Source": objects(template)["Source"]}

    assert not any(reached(template, name, "s3:PutObject", source) for name in template.roles())


def test_the_trigger_makes_requests_and_starts_the_pipeline_alone(template):
    assert who_may(template, "dynamodb:PutItem") == {"RequestSensorData"}
    assert who_may(template, "codepipeline:StartPipelineExecution") == {"RequestSensorData"}
    assert who_may(template, "dynamodb:UpdateItem") == {
        *("write", "repair", "publish", "RequestSensorData", "CloseFailedRequest")
    }
    assert not who_may(template, "dynamodb:DeleteItem")
    assert not who_may(template, "dynamodb:Scan")


def test_only_those_who_owe_alerts_may_send_them(template):
    assert who_may(template, "sns:Publish") == {"publish", "RequestSensorData", "CloseFailedRequest"}
    assert who_may(template, "kms:Decrypt") == who_may(template, "sns:Publish")


def test_none_may_change_permissions_or_pass_roles(template):
    for action in ("iam:PassRole", "iam:PutRolePolicy", "sts:AssumeRole", "lambda:InvokeFunction", "kms:PutKeyPolicy"):
        assert not who_may(template, action)


@pytest.mark.parametrize("name", [*ACTIONS, "RequestSensorData", "CloseFailedRequest"])
def test_no_leave_is_for_everything(template, name):
    for leave in template.leaves(template.roles()[name]):
        assert "*" not in leave.action
        assert leave.resource != "*" or is_tracing(leave.action)


def test_the_model_is_called_by_those_who_write_or_list_through_the_profile_alone(template):
    profile = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-2-lite-v1:0"

    assert who_may(template, "bedrock:InvokeModel") == {"write", "repair", "RequestSensorData"}
    for name in who_may(template, "bedrock:InvokeModel"):
        leaves = {leave for leave in template.leaves(template.roles()[name]) if leave.action.startswith("bedrock")}
        models = {leave for leave in leaves if leave.resource != profile}
        assert leaves - models
        assert {leave.resource.split(":")[3] for leave in models} >= {"us-east-1", "us-east-2", "us-west-2"}
        assert all(leave.resource.endswith("::foundation-model/amazon.nova-2-lite-v1:0") for leave in models)
        assert all(f"bedrock:InferenceProfileArn: {profile}" in leave.conditions for leave in models)


def test_a_global_profile_may_route_anywhere(synthesise):
    template = synthesise(region="sa-east-1")
    resources = may(template, "write", "bedrock:InvokeModel")

    assert "arn:aws:bedrock:::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0" in resources


def test_a_model_on_demand_is_called_in_its_region_alone(synthesise):
    template = synthesise(region="us-gov-west-1")

    assert may(template, "write", "bedrock:InvokeModel") == {
        "arn:aws:bedrock:us-gov-west-1::foundation-model/amazon.nova-pro-v1:0"
    }


def test_an_applications_own_profile_is_called_through_its_arn_alone(synthesise):
    profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"
    template = synthesise(model_id=profile, base_model_id="us.anthropic.claude-sonnet-4-6")
    leaves = {leave for leave in template.leaves(template.roles()["write"]) if leave.action.startswith("bedrock")}

    [own] = [leave for leave in leaves if leave.resource == profile]
    models = leaves - {own}
    assert {leave.resource for leave in models} == {
        f"arn:aws:bedrock:{region}::foundation-model/anthropic.claude-sonnet-4-6"
        for region in ("us-east-1", "us-east-2", "us-west-1", "us-west-2")
    }
    assert all(f"bedrock:InferenceProfileArn: {profile}" in leave.conditions for leave in models)
    # A third party's: Bedrock subscribes to it on the first call.
    assert "aws-marketplace:Subscribe" in {leave.action for leave in template.leaves(template.roles()["write"])}
    environment = template.function("RequestSensorData")["Environment"]["Variables"]
    assert (environment["MODEL_ID"], environment["BASE_MODEL_ID"]) == (profile, "us.anthropic.claude-sonnet-4-6")


@pytest.mark.parametrize(("settings", "called"), [({}, False), ({"photos_may_leave": "true"}, True)])
def test_photos_leave_europe_by_a_setting_alone(synthesise, settings, called):
    template = synthesise("image-synthesis", region="eu-central-1", **settings)
    role = template.function("SynthesizeImages")["Role"]["Fn::GetAtt"][0]

    assert bool([leave for leave in template.leaves(role) if leave.action == "bedrock:InvokeModel"]) is called


def test_the_catalogue_needs_no_model(synthesise):
    assert not who_may(synthesise(author="catalogue"), "bedrock:InvokeModel")


def test_a_third_partys_model_is_subscribed_to_through_bedrock_alone(synthesise, template):
    other = synthesise(model_id="us.anthropic.claude-sonnet-4-6")
    subscribers = who_may(other, "aws-marketplace:Subscribe")

    assert subscribers == who_may(other, "bedrock:InvokeModel")
    for name in subscribers:
        for leave in other.leaves(other.roles()[name]):
            if leave.action.startswith("aws-marketplace:"):
                assert "aws:CalledViaLast: bedrock.amazonaws.com" in leave.conditions
    assert not who_may(template, "aws-marketplace:Subscribe")
