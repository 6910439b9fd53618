"""A Lambda function in Python, packaged without Docker, with its own role, logs, dead letters and alarms."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk import Duration, Size
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from constructs import Construct

from defectory.aws.metrics import DEPLOYMENT_VARIABLE
from defectory.config import Config
from stacks.constructs.acknowledgements import acknowledge
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.dead_letters import DeadLetters
from stacks.constructs.retained_log_group import RetainedLogGroup
from stacks.packaging import Package


@jsii.implements(cdk.ILocalBundling)
class _Bundling:
    """Builds a package on this machine; an error stops the synthesis rather than falling back on Docker."""

    def __init__(self, package: Package) -> None:
        self._package = package

    def try_bundle(self, output_dir: str, *, image: cdk.DockerImage, **options: Any) -> bool:  # noqa: ANN401
        self._package.build(Path(output_dir))
        return True


class PythonFunction(Construct):
    """``lambdas/<folder>`` with what its handler imports of defectory.

    An asynchronous event that fails is tried again twice within an hour, then kept as a dead letter.  With
    ``caller_retries``, whoever calls it (a queue, a state machine) tries again, keeps what fails and tells people.
    Without ``error_alarm`` people are told of dead letters alone, where a failure is mostly one that is tried again.
    With ``package`` it is in a package together with other functions, whose folders are named: what is large is then
    built and uploaded once.  ``name`` takes the folder's place in the function's name, where a deployment has it twice.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        folder: str,
        description: str,
        config: Config,
        alerts: AlertTopic,
        environment: Mapping[str, str],
        timeout: Duration,
        memory_size: int = 512,
        storage: Size | None = None,
        caller_retries: bool = False,
        error_alarm: bool = True,
        package: Sequence[str] = (),
        name: str = "",
    ) -> None:
        super().__init__(scope, construct_id)
        log_group = RetainedLogGroup(self, "Logs", config)
        self.role = self._build_role(log_group)
        folders = package or (folder,)
        self.function = lambda_.Function(
            self,
            "Function",
            # A name that people can type; stacks that stand side by side differ in the configured name.
            function_name=f"{config.name}-{name or folder.replace('_', '-')}",
            description=description,
            runtime=lambda_.Runtime(f"python{config.lambda_python}", lambda_.RuntimeFamily.PYTHON),
            architecture=_architecture(config),
            handler="handler.handler" if folder == folders[0] else f"lambdas/{folder}/handler.handler",
            code=_code(Package.of(folders, config)),
            role=self.role,
            environment={**environment, DEPLOYMENT_VARIABLE: config.name},
            # What the runtime traces by itself: docs/decisions/0015.
            tracing=lambda_.Tracing.ACTIVE,
            timeout=timeout,
            memory_size=memory_size,
            ephemeral_storage_size=storage,
            log_group=log_group,
        )
        acknowledge(
            self.function,
            {"L1": f"Python {config.lambda_python} is the configured runtime (lambda_python), one that AWS supports."},
        )
        if not caller_retries:
            self.dead_letters = DeadLetters(
                self, "DeadLetters", config=config, of=f"the function {folder}", alerts=alerts
            )
            self.function.configure_async_invoke(
                retry_attempts=2,
                max_event_age=Duration.hours(1),
                on_failure=destinations.SqsDestination(self.dead_letters.queue),
            )
            if error_alarm:
                self._build_alarm(folder, alerts)

    def _build_role(self, log_group: RetainedLogGroup) -> iam.Role:
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(role)
        # Granted by the CDK; Lambda refuses to make a function that traces and may not.
        acknowledge(role, {"IAM5[Resource::*]": "Traces know no resources."})
        return role

    def _build_alarm(self, folder: str, alerts: AlertTopic) -> None:
        errors = self.function.metric_errors(period=Duration.minutes(5))
        alerts.watch(self, "Errors", errors, f"the function {folder} failed; its logs say why.")


def _architecture(config: Config) -> lambda_.Architecture:
    intel = config.lambda_platform == "host" and platform.machine().lower() in ("x86_64", "amd64")
    return lambda_.Architecture.X86_64 if intel else lambda_.Architecture.ARM_64


def _code(package: Package) -> lambda_.Code:
    return lambda_.Code.from_asset(
        str(package.functions[0]),
        asset_hash=package.digest(),
        bundling=cdk.BundlingOptions(
            # Never pulled: the CDK asks for an image even where Docker has no part.
            image=cdk.DockerImage.from_registry("none"),
            local=_Bundling(package),
            output_type=cdk.BundlingOutput.NOT_ARCHIVED,
        ),
    )
