"""The app as a whole: synthesised from nothing, in any region, with no finding left unexplained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import pytest
from cdk_nag import AwsSolutionsChecks
from company import COMPANY
from templates import flat

from defectory.config import STACKS
from stacks.application import create_app
from stacks.packaging import Package, PackagingError

CONFIGURATIONS = {
    "as in cdk.json": {},
    "with an e-mail address": {"alert_email": "ops@example.com"},
    "catalogue": {"author": "catalogue"},
    "another provider's model": {"model_id": "us.anthropic.claude-sonnet-4-6"},
    "freeform": {"prompt_style": "freeform"},
    "codecommit": {"pipeline_source": "codecommit"},
    "destroyed with its stack": {"removal_policy": "destroy"},
    "on this machine": {"lambda_platform": "host"},
    "China": {"region": "cn-north-1", "author": "catalogue"},
    "GovCloud": {"region": "us-gov-west-1"},
    "a company's account": COMPANY,
    "inspection by a function": {"inspection_endpoint": "lambda"},
    "photos may leave": {"region": "eu-central-1", "photos_may_leave": "true"},
}


# What ELF calls Lambda's processor.
AARCH64 = 183


def run_app(tmp_path, settings=None, **environment):
    """Run the app as a user does who has neither Docker, nor Node, nor credentials."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "CDK_", "JSII_"))}
    kept |= {"PATH": "", "CDK_OUTDIR": str(tmp_path), "CDK_CONTEXT_JSON": json.dumps(settings or {}), **environment}
    return subprocess.run([sys.executable, "app.py"], env=kept, capture_output=True, text=True)


@pytest.mark.parametrize("settings", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_every_configuration_synthesises_without_an_unexplained_finding(synthesise, settings):
    app = synthesise(**settings).app

    report = AwsSolutionsChecks(app).validate_scope(app)

    findings = [
        f"{violation.rule_name} {resource.construct_path}"
        for violation in report.violations
        for resource in violation.violating_resources
    ]
    assert report.success, "\n".join(findings)


def test_a_finding_is_found():
    app = cdk.App()
    cdk.aws_s3.Bucket(cdk.Stack(app, "Open"), "Bucket")

    assert not AwsSolutionsChecks(app).validate_scope(app).success


def test_the_app_needs_no_docker_no_node_and_no_credentials(tmp_path):
    done = run_app(tmp_path, {"inspection_endpoint": "lambda"}, AWS_REGION="eu-west-1")

    assert done.returncode == 0, done.stderr
    template = json.loads((tmp_path / "defectory-sensor-data.template.json").read_text())
    assets = json.loads((tmp_path / "defectory-sensor-data.assets.json").read_text())
    assert "eu.amazon.nova-2-lite-v1:0" in json.dumps(template)
    assert "us-east-1" not in json.dumps(template)
    assert not assets.get("dockerImages")
    packages = [function["Code"]["S3Key"] for function in functions(template)]
    assert len(packages) == 2
    for key in packages:
        assert (tmp_path / f"asset.{key.removesuffix('.zip')}" / "defectory" / "errors.py").is_file()
    # The functions of images share one package; it and that of the model are for Lambda's processor, and no larger
    # than Lambda takes.
    template = json.loads((tmp_path / "defectory-image-synthesis.template.json").read_text())
    [of_images] = {function["Code"]["S3Key"] for function in functions(template)}
    template = json.loads((tmp_path / "defectory-inspection.template.json").read_text())
    [of_model] = {code["S3Key"] for name, code in codes(template).items() if name == "defectory-inspect-with-model"}
    for key in (of_images, of_model):
        package = tmp_path / f"asset.{key.removesuffix('.zip')}"
        assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) < 262_144_000
        [library] = (package / "cv2").glob("*.so")
        assert int.from_bytes(library.read_bytes()[18:20], "little") == AARCH64


def codes(template):
    return {function["FunctionName"]: function["Code"] for function in functions(template)}


def functions(template):
    resources = template["Resources"].values()
    return [each["Properties"] for each in resources if each["Type"] == "AWS::Lambda::Function"]


def test_a_wrong_setting_ends_the_app_with_a_message_and_no_trace(tmp_path):
    done = run_app(tmp_path, {"autor": "catalogue"})

    assert done.returncode == 2
    assert done.stderr.startswith("InvalidConfig: autor")
    assert "Traceback" not in done.stderr


def test_a_package_that_cannot_be_built_ends_the_app_and_never_turns_to_docker(monkeypatch, tmp_path):
    def fail(self, output):
        raise PackagingError("uv could not install: no such version")

    monkeypatch.setattr(Package, "build", fail)

    with pytest.raises(Exception, match="no such version") as caught:
        create_app({}, outdir=tmp_path).synth()
    assert "docker" not in str(caught.value).lower()


def test_the_stacks_are_named_after_the_installation(synthesise):
    stacks = synthesise(name="plant7").app.synth().stacks

    assert {stack.stack_name for stack in stacks} == {
        "plant7-sensor-data",
        "plant7-inspection",
        "plant7-image-synthesis",
        "plant7-detection",
    }


@pytest.mark.parametrize(
    ("region", "settings", "left_out", "said"),
    [
        ("il-central-1", {}, set(), ""),
        ("us-gov-east-1", {}, set(), ""),
        # A region that AWS made after the table: no account is known whose registry has the containers.
        ("eu-west-9", {"author": "catalogue"}, {"inspection", "detection"}, "inspection_registry"),
        ("eu-west-9", {"author": "catalogue", "inspection_registry": "123456789012"}, set(), ""),
        (
            "ap-southeast-5",
            {"inspection_endpoint": "serverless"},
            {"inspection", "detection"},
            "inspection_endpoint=lambda",
        ),
        ("mx-central-1", {"author": "catalogue"}, {"sensor-data"}, "check_region=false"),
        ("mx-central-1", {"author": "catalogue", "check_region": "false"}, set(), ""),
    ],
)
def test_stacks_that_cannot_run_in_the_region_are_left_out_alone(tmp_path, capsys, region, settings, left_out, said):
    app = create_app({"AWS_REGION": region}, {"aws:cdk:bundling-stacks": [], **settings}, tmp_path)
    stacks = {child.node.id for child in app.node.children if isinstance(child, cdk.Stack)}

    told = capsys.readouterr().err
    assert stacks == {f"defectory-{name}" for name in set(STACKS) - left_out}
    lines = told.splitlines()
    assert len(lines) == len(left_out)
    for name in left_out:
        [line] = [line for line in lines if line.startswith(f"InvalidConfig: the stack defectory-{name} is left out. ")]
        assert said in line


def test_the_region_is_the_environments(synthesise):
    stacks = synthesise(region="ap-southeast-2").app.synth().stacks

    assert {stack.environment.region for stack in stacks} == {"ap-southeast-2"}


def test_there_are_no_custom_resources(stack):
    kinds = {resource["Type"] for resource in stack.body["Resources"].values()}

    assert not [kind for kind in kinds if kind.startswith("Custom::") or "CustomResource" in kind]


def test_the_outputs_name_what_a_user_needs(template):
    assert {name: flat(output["Value"]) for name, output in template.body["Outputs"].items()} == {
        "FunctionName": f"<{template.only('AWS::Lambda::Function', 'RequestSensorData')}>",
        "TableName": f"<{template.only('AWS::DynamoDB::GlobalTable')}>",
        "DataBucketName": f"<{template.only('AWS::S3::Bucket', 'Data')}>",
        "PipelineName": f"<{template.only('AWS::CodePipeline::Pipeline')}>",
        "AlertsTopicArn": f"<{template.only('AWS::SNS::Topic')}>",
        "FleetMachineArn": f"<{template.only('AWS::StepFunctions::StateMachine')}>",
    }


def test_the_trigger_is_told_of_everything_its_environment_model_asks_for(template):
    from lambdas.close_failed_request.handler import Environment as CloserEnvironment
    from lambdas.request_sensor_data.handler import Environment as TriggerEnvironment

    for name, model in (("RequestSensorData", TriggerEnvironment), ("CloseFailedRequest", CloserEnvironment)):
        variables = template.function(name)["Environment"]["Variables"]
        model.model_validate({key: flat(value) for key, value in variables.items()})
        assert {key.lower() for key in variables} <= set(model.model_fields)


def test_the_same_sources_make_the_same_template(tmp_path):
    # Packages included: a digest that changes by itself would deploy every function again each time.
    first, second = (
        [
            Path(stack.template_full_path).read_text()
            for stack in create_app({"AWS_REGION": "us-east-1"}, {"lambda_platform": "host"}, tmp_path / name)
            .synth()
            .stacks
        ]
        for name in ("first", "second")
    )

    assert first == second
