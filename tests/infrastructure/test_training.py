"""Training in SageMaker: the order of its steps, what its jobs and its endpoint are given, and who may do what."""

from __future__ import annotations

import json
import re
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
import yaml
from cdk_nag import AwsSolutionsChecks
from state_machines import choose, evaluate, following, longest_loop, states_of
from templates import Leave, Template, flat, matches

from defectory import errors
from defectory.aws.regions import region as region_of
from defectory.aws.regions import regions
from defectory.config import Config, load_config
from defectory.errors import ConfigError
from defectory.inspection import training_run
from defectory.inspection.approved_models import ApprovedModel
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.secure_bucket import SecureBucket
from stacks.constructs.training_machine import ModelKind, TrainingMachine, container_images
from stacks.model_source import ModelSource

ROOT = Path(__file__).parent.parent.parent
ENDPOINT = "factory-inspection"
RUN = {
    "name": "factory-inspection-20261121T150405678",
    "dataset": "s3://parts/datasets/boards/",
    "test": "s3://parts/test/",
    "options": "{}",
    "gate": {},
    "endpoint_exists": False,
    "current": "",
    "current_config": "",
}


@cache
def synthesise(region: str = "us-east-1", **settings: str) -> Template:
    config = load_config(settings, {"AWS_REGION": region})
    context = {**json.loads((ROOT / "cdk.json").read_text())["context"], "aws:cdk:bundling-stacks": []}
    app = cdk.App(context=context, analytics_reporting=False)
    stack = cdk.Stack(app, "factory", env=cdk.Environment(region=region))
    policy = cdk.RemovalPolicy.RETAIN
    alerts = AlertTopic(stack, "Alerts", email=None)
    logs = SecureBucket(stack, "Logs", logs=None, removal_policy=policy)
    TrainingMachine(
        stack,
        "Training",
        config=config,
        alerts=alerts,
        kind=ModelKind.inspection(),
        bucket=SecureBucket(stack, "TrainingBucket", logs=logs, removal_policy=policy),
        endpoint_name=ENDPOINT,
        serving=_serving(stack, config, alerts) if config.inspection_endpoint == "lambda" else None,
    )
    return Template(json.loads(Path(app.synth().stacks[0].template_full_path).read_text()), app)


def _serving(stack: cdk.Stack, config: Config, alerts: AlertTopic) -> PythonFunction:
    return PythonFunction(
        stack,
        "Serving",
        folder="inspect_with_model",
        description="",
        config=config,
        alerts=alerts,
        environment={},
        timeout=cdk.Duration.minutes(3),
        caller_retries=True,
    )


@pytest.fixture(scope="module")
def template() -> Template:
    return synthesise()


@pytest.fixture(scope="module")
def states(template: Template) -> dict[str, Any]:
    return states_of(template)


@pytest.fixture(scope="module")
def function_template() -> Template:
    return synthesise(inspection_endpoint="lambda")


@pytest.fixture(scope="module")
def function_states(function_template: Template) -> dict[str, Any]:
    return states_of(function_template)


def path(states: dict[str, Any], **variables: Any) -> list[str]:
    """The states of an execution in which nothing fails."""
    names = ["Prepare"]
    while "Next" in (state := states[names[-1]]) or state["Type"] == "Choice":
        names.append(choose(state, **variables) if state["Type"] == "Choice" else state["Next"])
    return names


def channels(state: dict[str, Any], **variables: Any) -> dict[str, str]:
    """The inputs of a job, by name."""
    inputs = evaluate(state["Arguments"]["InputDataConfig"], **variables)
    return {entry["ChannelName"]: entry["DataSource"]["S3DataSource"]["S3Uri"] for entry in inputs}


def test_the_first_model_is_trained_evaluated_judged_registered_and_deployed(states):
    endpoint = {"EndpointStatus": "InService", "EndpointConfigName": RUN["name"]}
    assert path(states, run=RUN, outcome={"accepted": True}, endpoint=endpoint) == [
        *("Prepare", "Train", "Evaluate", "Judge", "Accepted", "Register", "CreateModel", "CreateEndpointConfig"),
        *("EndpointExists", "CreateEndpoint", "DescribeEndpoint", "Deployed", "Verify", "AlertOfSuccess", "InService"),
    ]


def test_a_later_model_updates_the_endpoint(states):
    run = {**RUN, "endpoint_exists": True}
    endpoint = {"EndpointStatus": "InService", "EndpointConfigName": RUN["name"]}
    taken = path(states, run=run, outcome={"accepted": True}, endpoint=endpoint)
    assert "UpdateEndpoint" in taken
    assert "CreateEndpoint" not in taken


def test_a_rejected_model_touches_nothing_and_people_are_told(states):
    taken = path(states, run=RUN, outcome={"accepted": False})
    assert taken == ["Prepare", "Train", "Evaluate", "Judge", "Accepted", "AlertOfRejection", "Rejected"]


@pytest.mark.parametrize(
    ("status", "config", "then"),
    [
        ("Creating", RUN["name"], "WaitForEndpoint"),
        ("Updating", "old", "WaitForEndpoint"),
        ("RollingBack", "old", "WaitForEndpoint"),
        ("InService", RUN["name"], "Verify"),
        # Rolled back by the alarm: the endpoint is well, with the old model.
        ("InService", "old", "AlertOfFailure"),
        ("Failed", RUN["name"], "AlertOfFailure"),
        ("UpdateRollbackFailed", "old", "AlertOfFailure"),
    ],
)
def test_a_deployment_is_waited_for_until_it_is_decided(states, status, config, then):
    endpoint = {"EndpointStatus": status, "EndpointConfigName": config}
    assert choose(states["Deployed"], endpoint=endpoint, run=RUN) == then


def test_a_deployment_that_never_ends_fits_into_the_history_for_as_long_as_it_is_waited_for(template, states):
    [machine] = template.of_type("AWS::StepFunctions::StateMachine").values()
    timeout = json.loads(flat(machine["DefinitionString"]))["TimeoutSeconds"]
    # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    endpoint = {"EndpointStatus": "Creating", "EndpointConfigName": "run"}
    assert choose(states["Deployed"], endpoint=endpoint, run={"name": "run"}) == "WaitForEndpoint"
    looks = evaluate(states["Prepare"]["Assign"]["looks"])
    waits = []
    for _ in range(20):
        looks = evaluate(states["DescribeEndpoint"]["Assign"]["looks"], looks=looks)
        waits.append(evaluate(states["WaitForEndpoint"]["Seconds"], looks=looks))
    last = evaluate(states["WaitForEndpoint"]["Seconds"], looks=10_000)
    assert waits[-1] == last
    times = len(waits) + (timeout - sum(waits)) // last + 1
    assert longest_loop(states, ("DescribeEndpoint", "Deployed", "WaitForEndpoint"), times) < 25_000


def test_a_failed_deployment_says_what_the_endpoint_said(states):
    endpoint = {"EndpointStatus": "Failed", "EndpointConfigName": "new", "FailureReason": "no capacity"}
    said = evaluate(states["Deployed"]["Choices"][1]["Output"], endpoint=endpoint, run=RUN)
    assert said == {"Error": "DeploymentFailed", "Cause": "The endpoint is Failed with new. no capacity"}
    del endpoint["FailureReason"]
    assert "Failed with new." in evaluate(states["Deployed"]["Choices"][1]["Output"], endpoint=endpoint)["Cause"]


def test_a_new_model_that_does_not_answer_gives_way_to_the_one_before(states):
    [caught] = states["Verify"]["Catch"]
    assert caught["Next"] == "HadModelBefore"
    assert choose(states["HadModelBefore"], run={**RUN, "endpoint_exists": True}) == "RollBack"
    assert choose(states["HadModelBefore"], run=RUN) == "AlertOfFailure"
    run = {**RUN, "current_config": "factory-inspection-before"}
    arguments = evaluate(states["RollBack"]["Arguments"], run=run)
    assert arguments == {"EndpointName": ENDPOINT, "EndpointConfigName": "factory-inspection-before"}


def test_whatever_fails_people_are_told_and_the_execution_fails(states):
    for name, state in states.items():
        if state["Type"] == "Task" and not name.startswith(("AlertOf", "RetireEndpoint")):
            assert {"AlertOfFailure", "HadModelBefore"} & {rule["Next"] for rule in state["Catch"]}, name
    assert states["AlertOfFailure"]["Next"] == "Failed"
    assert states["Failed"]["Type"] == "Fail"


def test_a_run_that_hangs_is_stopped_and_one_that_only_waits_is_not(template, states):
    [machine] = template.of_type("AWS::StepFunctions::StateMachine").values()
    limit = json.loads(flat(machine["DefinitionString"]))["TimeoutSeconds"]

    # Two jobs of two hours, each asked for again after 1, 2, 4, 8 and 16 minutes; an hour to deploy; five tries of the
    # function's five minutes to verify.
    jobs = sum(states[name]["Arguments"]["StoppingCondition"]["MaxRuntimeInSeconds"] for name in ("Train", "Evaluate"))
    assert jobs + 2 * 31 * 60 + 3600 + 5 * 300 == 23_220
    assert 23_220 + 3600 < limit <= 12 * 3600


def test_every_next_exists_and_every_state_is_reached_with_an_endpoint_or_a_function(states, function_states):
    for machine in (states, function_states):
        reached, waiting = set(), ["Prepare"]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += following(machine[name])
        assert reached == set(machine)
    document = yaml.safe_load((ROOT / "stacks" / "state_machines" / "training.asl.yaml").read_text())
    assert states.keys() | function_states.keys() == document["States"].keys()


class TestFunction:
    """Where a function serves: no endpoint, no container to serve with, no model in service before it has answered."""

    def test_a_model_is_verified_before_it_is_put_in_service(self, function_states):
        assert path(function_states, run=RUN, outcome={"accepted": True}) == [
            *("Prepare", "Train", "Evaluate", "Judge", "Accepted", "VerifyModel", "PutInService", "RetireEndpoint"),
            *("AlertOfSuccess", "InService"),
        ]
        assert function_states["VerifyModel"]["Catch"][0]["Next"] == "AlertOfFailure"

    @pytest.mark.parametrize(
        ("cause", "told"),
        [
            ('Could not find endpoint "factory-inspection". (Service: SageMaker)', []),
            ("Cannot delete an endpoint that is being created", ["could not be deleted", "being created"]),
            (None, ["was deleted"]),
        ],
    )
    def test_the_endpoint_that_served_before_goes_and_people_are_told(self, function_states, cause, told):
        state = function_states["RetireEndpoint"]
        [caught] = state["Catch"]
        assert state["Arguments"] == {"EndpointName": ENDPOINT}
        assert (state["Next"], caught["Next"], caught["ErrorEquals"]) == (
            "AlertOfSuccess",
            "AlertOfSuccess",
            ["States.ALL"],
        )
        outcome = {"accepted": True, "reasons": ["AUROC rises."]}
        rule = state if cause is None else caught
        states = {"errorOutput": {"Error": "SageMaker.SageMakerException", "Cause": cause}}
        after = evaluate(rule["Assign"]["outcome"], outcome=outcome, states=states)
        said = evaluate(function_states["AlertOfSuccess"]["Arguments"]["Message"], outcome=after, run=RUN)
        assert after["accepted"]
        assert all(part in said for part in ("AUROC rises.", *told))
        assert (ENDPOINT in "".join(after["reasons"])) == bool(told)

    def test_what_is_put_in_service_is_what_was_verified(self, function_states):
        given = {
            "run": RUN,
            "model": "s3://parts/models/new.tar.gz",
            "outcome": {"model_version": "v", "reasons": ["r"]},
        }
        verified = evaluate(function_states["VerifyModel"]["Arguments"]["Payload"], **given)["verify"]
        served = evaluate(function_states["PutInService"]["Arguments"]["Payload"], **given)
        assert served["task"] == "put_in_service"
        record = ApprovedModel.model_validate(served["model"])
        assert (verified["archive"], verified["model_version"]) == (record.archive, record.model_version)
        assert (record.run, record.archive, verified["test"]) == (RUN["name"], given["model"], RUN["test"])

    def test_nothing_of_sagemaker_is_made_but_jobs(self, function_template, function_states):
        resources = {state.get("Resource", "").rpartition(":")[2] for state in function_states.values()}
        assert resources <= {"", "invoke", "publish", "createTrainingJob.sync", "deleteEndpoint"}
        # The registry stays, for the day that an endpoint serves again.
        assert function_template.only("AWS::SageMaker::ModelPackageGroup") not in str(function_states)
        for like in ("MachineRole", "ControllerRole"):
            leaves = function_template.leaves(function_template.only("AWS::IAM::Role", like))
            verbs = {leave.action for leave in leaves if leave.action.startswith("sagemaker:")}
            assert not [
                verb
                for verb in verbs
                if "TrainingJob" not in verb
                and verb not in ("sagemaker:AddTags", "sagemaker:ListTags", "sagemaker:DeleteEndpoint")
            ]

    def test_the_controller_writes_records_of_approved_models_and_nothing_else(self, function_template):
        leaves = function_template.leaves(function_template.only("AWS::IAM::Role", "ControllerRole"))
        bucket = function_template.only("AWS::S3::Bucket", "TrainingBucket")
        written = {leave.resource for leave in leaves if leave.action == "s3:PutObject"}
        assert written == {f"<{bucket}.Arn>/approved/*"}

    def test_cdk_nag_finds_nothing_unexplained(self, function_template):
        report = AwsSolutionsChecks(function_template.app).validate_scope(function_template.app)
        assert report.success, report


def test_where_there_is_no_registry_models_are_deployed_without():
    template = synthesise(region="cn-north-1", author="catalogue")
    assert not template.of_type("AWS::SageMaker::ModelPackageGroup")
    assert choose(states_of(template)["Accepted"], outcome={"accepted": True}) == "CreateModel"


def test_messages_name_the_run_and_the_reasons(states):
    outcome = {"reasons": ["AUROC falls.", "More escapes."]}
    message = evaluate(states["AlertOfRejection"]["Arguments"], run=RUN, outcome=outcome)["Message"]
    assert RUN["name"] in message
    assert "AUROC falls.\nMore escapes." in message


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("no image", "no image"),
        ('{"errorMessage": "dataset: must be \\"x/\\"", "errorType": "E"}', r"dataset: must be \"x/\""),
        ('{"TrainingJobName":"a","FailureReason":"AlgorithmError: BadImage"}', "AlgorithmError: BadImage"),
    ],
)
def test_a_failure_is_told_in_the_words_of_what_failed(states, cause, told):
    failed = {"context": {"Execution": {"Name": "run-1"}}, "input": {"Error": "BadModel", "Cause": cause}}
    assert evaluate(states["AlertOfFailure"]["Arguments"], states=failed)["Message"] == f"run-1: BadModel\n{told}"


class TestJobs:
    """What the two jobs are given."""

    def test_training_sees_the_dataset_and_never_the_test_set(self, states):
        given = channels(states["Train"], run=RUN)
        assert given.keys() == {"train", "source"}
        assert given["train"] == RUN["dataset"]

    def test_evaluation_compares_with_the_model_in_service_where_there_is_one(self, states):
        first = channels(states["Evaluate"], run=RUN, model="s3://parts/models/new.tar.gz")
        assert first.keys() == {"train", "test", "candidate", "source"}
        assert (first["test"], first["candidate"]) == (RUN["test"], "s3://parts/models/new.tar.gz")

        run = {**RUN, "current": "s3://parts/models/old.tar.gz"}
        later = channels(states["Evaluate"], run=run, model="s3://parts/models/new.tar.gz")
        assert later["current"] == "s3://parts/models/old.tar.gz"

    @pytest.mark.parametrize(("name", "program"), [("Train", "train.py"), ("Evaluate", "evaluate.py")])
    def test_jobs_run_our_programs_cut_off_from_the_network(self, states, name, program):
        arguments = evaluate(states[name]["Arguments"], run=RUN, model="m")
        source = channels(states[name], run=RUN, model="m")["source"]
        assert arguments["EnableNetworkIsolation"] is True
        assert arguments["HyperParameters"]["sagemaker_program"] == program
        # The archive lies in the channel's folder under the last part of its key.
        directory = arguments["HyperParameters"]["sagemaker_submit_directory"]
        assert directory == f"/opt/ml/input/data/source/{source.rpartition('/')[2]}"
        assert (ROOT / "models" / "inspection" / program).is_file()

    @pytest.mark.parametrize("name", ["Train", "Evaluate"])
    @pytest.mark.parametrize("refusal", ["ResourceLimitExceededException", "ThrottlingException"])
    def test_a_job_that_sagemaker_has_no_room_for_now_is_asked_for_again_for_a_while(self, states, name, refusal):
        [rule] = [rule for rule in states[name]["Retry"] if f"SageMaker.{refusal}" in rule["ErrorEquals"]]
        waits = [rule["IntervalSeconds"] * rule["BackoffRate"] ** turn for turn in range(rule["MaxAttempts"])]
        assert len(waits) >= 4
        # Another job has to end first: a quarter of an hour at least; within an hour people have to know.
        assert waits[0] >= 30
        assert 15 * 60 <= sum(waits) <= 60 * 60

    @pytest.mark.parametrize("name", ["Train", "Evaluate"])
    def test_a_job_that_was_refused_in_general_is_asked_for_again_for_minutes(self, states, name):
        """A throttled call comes as the service's general exception, as does a wrong one."""
        [rule] = [rule for rule in states[name]["Retry"] if "SageMaker.AmazonSageMakerException" in rule["ErrorEquals"]]
        waits = [rule["IntervalSeconds"] * rule["BackoffRate"] ** turn for turn in range(rule["MaxAttempts"])]
        assert 60 <= sum(waits) <= 5 * 60

    @pytest.mark.parametrize("name", ["Prepare", "Judge", "Verify"])
    def test_a_controller_that_was_killed_is_called_again_and_bad_input_is_not(self, states, name):
        hopeless, other = states[name]["Retry"]
        assert (hopeless["MaxAttempts"], other["ErrorEquals"]) == (0, ["States.ALL"])
        for error in hopeless["ErrorEquals"]:
            raised = getattr(errors, error, None) or getattr(training_run, error)
            assert raised.kind is errors.FailureKind.PERMANENT

    @pytest.mark.parametrize(
        "name",
        ["CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint", "DescribeEndpoint", "RollBack"],
    )
    def test_a_throttled_call_is_made_again(self, states, name):
        [rule] = states[name]["Retry"]
        assert {"SageMaker.SageMakerException", "SageMaker.SdkClientException"} <= set(rule["ErrorEquals"])

    def test_the_registry_gets_no_more_words_than_it_takes(self, states):
        said = evaluate(
            states["Register"]["Arguments"]["ModelPackageDescription"], outcome={"reasons": ["long " * 100] * 30}
        )
        assert len(said) == 1024

    @pytest.mark.parametrize("name", ["Train", "Evaluate"])
    def test_a_job_that_failed_is_not_started_again_under_its_name(self, states, name):
        tried_again = {error for rule in states[name]["Retry"] for error in rule["ErrorEquals"]}
        assert not tried_again & {"States.ALL", "States.TaskFailed", "States.Timeout"}

    def test_names_of_jobs_fit_sagemaker(self, states):
        longest = {**RUN, "name": f"{'x' * 20}-inspection-20261121T150405678"}
        for name in ("Train", "Evaluate"):
            assert len(evaluate(states[name]["Arguments"]["TrainingJobName"], run=longest)) <= 63


class TestEndpoint:
    """What is hosted, and what it costs idle."""

    def variant(self, states: dict[str, Any]) -> dict[str, Any]:
        [variant] = evaluate(states["CreateEndpointConfig"]["Arguments"], run=RUN)["ProductionVariants"]
        return variant

    def test_serverless_by_default_so_that_nothing_is_billed_idle(self, template, states):
        variant = self.variant(states)
        assert variant["ServerlessConfig"] == {"MemorySizeInMB": 3072, "MaxConcurrency": 10}
        assert not {"InstanceType", "InitialInstanceCount", "ProvisionedConcurrency"} & variant.keys()
        assert not {"AWS::SageMaker::Endpoint", "AWS::SageMaker::NotebookInstance", "AWS::EC2::Instance"} & {
            resource["Type"] for resource in template.body["Resources"].values()
        }

    def test_realtime_by_config(self):
        states = states_of(synthesise(inspection_endpoint="realtime", inspection_instance="ml.m5.large"))
        variant = self.variant(states)
        assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.m5.large", 1)
        assert "ServerlessConfig" not in variant
        assert states["CreateModel"]["Arguments"]["EnableNetworkIsolation"] is True

    def test_a_serverless_model_does_not_ask_for_the_isolation_there_is_none_of(self, states):
        assert states["CreateModel"]["Arguments"]["EnableNetworkIsolation"] is False

    def test_what_is_registered_is_what_is_hosted(self, states):
        outcome = {"reasons": [], "metadata": {}}
        package = evaluate(states["Register"]["Arguments"], run=RUN, model="s3://m", outcome=outcome)
        model = evaluate(states["CreateModel"]["Arguments"], run=RUN, model="s3://m")
        assert package["InferenceSpecification"]["Containers"] == [model["PrimaryContainer"]]
        assert model["PrimaryContainer"]["ModelDataUrl"] == "s3://m"
        assert "/sagemaker-scikit-learn:" in model["PrimaryContainer"]["Image"]

    def test_the_program_is_found_where_it_lies(self, states):
        environment = evaluate(states["CreateModel"]["Arguments"], run=RUN, model="s3://m")["PrimaryContainer"]
        variables = environment["Environment"]
        # Else the toolkit of the container installs it by pip, which needs a network.
        assert variables["PYTHONPATH"] == variables["SAGEMAKER_SUBMIT_DIRECTORY"] == "/opt/ml/model/code"

    def test_updates_are_rolled_back_by_an_alarm_on_the_endpoints_errors(self, template, states):
        deployment = states["UpdateEndpoint"]["Arguments"]["DeploymentConfig"]
        [alarm] = deployment["AutoRollbackConfiguration"]["Alarms"]
        logical = template.only("AWS::CloudWatch::Alarm", "EndpointErrors")
        assert alarm["AlarmName"] == f"<{logical}>"
        properties = template.of_type("AWS::CloudWatch::Alarm")[logical]
        assert properties["MetricName"] == "Invocation5XXErrors"
        [variant] = states["CreateEndpointConfig"]["Arguments"]["ProductionVariants"]
        dimensions = {entry["Name"]: entry["Value"] for entry in properties["Dimensions"]}
        assert dimensions == {"EndpointName": ENDPOINT, "VariantName": variant["VariantName"]}
        assert properties["AlarmActions"]

    def test_the_old_model_stays_until_the_alarm_has_seen_the_new_one_for_some_minutes(self, template, states):
        policy = states["UpdateEndpoint"]["Arguments"]["DeploymentConfig"]["BlueGreenUpdatePolicy"]
        alarm = template.of_type("AWS::CloudWatch::Alarm")[template.only("AWS::CloudWatch::Alarm", "EndpointErrors")]
        told_after = alarm["Period"] * alarm["EvaluationPeriods"]
        kept = policy["TerminationWaitInSeconds"]
        # Metrics arrive a minute or two late; SageMaker takes waits of up to an hour.
        assert told_after + 120 <= kept <= 3600
        assert kept >= 240
        # A deployment that runs out of time is rolled back: the wait has to fit in, and starting an instance.
        assert kept + 15 * 60 <= policy["MaximumExecutionTimeoutInSeconds"]


class TestPermissions:
    """Each role reaches what its work needs."""

    def role(self, template: Template, like: str) -> set[Leave]:
        return template.leaves(template.only("AWS::IAM::Role", like))

    def test_the_machine_passes_on_the_jobs_role_alone_and_to_sagemaker_alone(self, template):
        passed = [leave for leave in self.role(template, "MachineRole") if leave.action == "iam:PassRole"]
        assert [leave.resource for leave in passed] == [f"<{template.only('AWS::IAM::Role', 'JobRole')}.Arn>"]
        assert "sagemaker.amazonaws.com" in passed[0].conditions

    @pytest.mark.parametrize("like", ["MachineRole", "JobRole", "ControllerRole"])
    def test_nobody_may_delete_or_reach_another_endpoint(self, template, like):
        leaves = self.role(template, like)
        assert not [leave for leave in leaves if re.match(r"(sagemaker|s3):(Delete|.*\*)", leave.action)]
        endpoints = {leave.resource for leave in leaves if leave.action in ("sagemaker:InvokeEndpoint",)}
        assert endpoints <= {f"arn:aws:sagemaker:<AWS::Region>:123456789012:endpoint/{ENDPOINT}"}

    def test_every_step_the_machine_takes_is_allowed(self, template, states):
        leaves = self.role(template, "MachineRole")
        names = {
            "CreateTrainingJob": f"training-job/{RUN['name']}-train",
            "CreateModel": f"model/{RUN['name']}",
            "CreateEndpointConfig": f"endpoint-config/{RUN['name']}",
            "CreateEndpoint": f"endpoint/{ENDPOINT}",
            "UpdateEndpoint": f"endpoint/{ENDPOINT}",
            "DescribeEndpoint": f"endpoint/{ENDPOINT}",
            "CreateModelPackage": f"model-package/{ENDPOINT}-0a1b2c3d/1",
        }
        steps = {
            state["Resource"].rpartition(":")[2].removesuffix(".sync")
            for state in states.values()
            if ":sagemaker:" in state.get("Resource", "")
        }
        assert {step[0].upper() + step[1:] for step in steps} == set(names)
        for action, name in names.items():
            arn = f"arn:aws:sagemaker:<AWS::Region>:123456789012:{name}"
            assert any(leave.action == f"sagemaker:{action}" and matches(leave.resource, arn) for leave in leaves), name

    def test_jobs_write_models_and_no_datasets(self, template):
        bucket = template.only("AWS::S3::Bucket", "Training")
        written = {leave.resource for leave in self.role(template, "JobRole") if leave.action == "s3:PutObject"}
        assert written == {f"<{bucket}.Arn>/models/*"}

    def test_cdk_nag_finds_nothing_unexplained(self, template):
        report = AwsSolutionsChecks(template.app).validate_scope(template.app)
        assert report.success, report


class TestContainers:
    """Where the images come from."""

    @pytest.mark.parametrize(
        ("region", "registry"),
        [
            ("us-east-1", ("763104351884.dkr.ecr.us-east-1.amazonaws.com", "683313688378")),
            ("cn-north-1", ("727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn", "450853457545")),
            ("us-gov-east-1", ("446045086412.dkr.ecr.us-gov-east-1.amazonaws.com", "237065988967")),
            ("il-central-1", ("780543022126.dkr.ecr.il-central-1.amazonaws.com", "898809789911")),
        ],
    )
    def test_come_from_the_regions_own_registries(self, region, registry):
        images = container_images(load_config({"author": "catalogue"}, {"AWS_REGION": region}))
        assert images["training"] == f"{registry[0]}/pytorch:2.13-cpu-amzn2023-sagemaker"
        serving = f"{registry[1]}{registry[0][12:]}"
        assert images["serving"] == f"{serving}/sagemaker-scikit-learn:1.9-0-cpu-py3"

    @pytest.mark.parametrize("region", regions())
    @pytest.mark.parametrize("kind", ["serverless", "realtime", "lambda"])
    def test_every_region_of_the_table_has_them_or_says_which_setting_would_do(self, region, kind):
        try:
            config = load_config({"author": "catalogue", "region": region, "inspection_endpoint": kind}, {})
        except ConfigError as error:
            assert (kind, error.field) == ("serverless", "inspection_endpoint")
            return
        facts = region_of(region)
        if kind == "lambda" or facts.scikit_learn_containers:
            assert container_images(config).keys() == ({"training"} if kind == "lambda" else {"training", "serving"})
            return
        with pytest.raises(ConfigError, match="inspection_endpoint=lambda") as caught:
            container_images(config)
        assert caught.value.field == "inspection_registry"

    def test_a_region_without_a_known_registry_is_refused_with_the_setting_that_names_one(self):
        settings = {"author": "catalogue", "region": "eu-west-9"}
        with pytest.raises(ConfigError, match="inspection_registry"):
            container_images(load_config(settings, {}))
        images = container_images(load_config({**settings, "inspection_registry": "123456789012"}, {}))
        assert {image.partition("/")[0] for image in images.values()} == {
            "123456789012.dkr.ecr.eu-west-9.amazonaws.com"
        }


class TestSource:
    """The archive that containers start from."""

    @pytest.fixture
    def source(self) -> ModelSource:
        return ModelSource.of("inspection", for_host=True)

    def test_holds_the_programs_the_library_and_the_backbone(self, source, tmp_path):
        with tarfile.open(source.build(tmp_path)) as archive:
            names = archive.getnames()
        assert {"train.py", "evaluate.py", "inference.py", "backbone.onnx"} <= set(names)
        assert "defectory/inspection/model.py" in names
        assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "defectory/local"))]
        # With this, pip would go to the network when the container starts.
        assert "requirements.txt" not in names

    def test_the_same_source_makes_the_same_archive(self, source, tmp_path):
        (tmp_path / "again").mkdir()
        assert source.build(tmp_path).read_bytes() == source.build(tmp_path / "again").read_bytes()

    def test_a_change_of_a_program_or_of_the_platform_makes_another_archive(self, source, tmp_path):
        for file in source.folder.iterdir():
            if file.is_file():
                (tmp_path / file.name).write_bytes(file.read_bytes())
        copy = ModelSource(tmp_path, for_host=True)
        before = copy.digest()
        assert before == source.digest()
        assert ModelSource(tmp_path, for_host=False).digest() != before
        (tmp_path / "inference.py").write_text("raise SystemExit\n")
        assert copy.digest() != before
