"""Training in SageMaker: from a dataset in a bucket to a model behind the endpoint, past a gate.

The steps are those of ``stacks/state_machines/training.asl.yaml``: Prepare, Train, Evaluate, Judge, Register, deploy,
Verify.  Nothing runs, and with a serverless endpoint nothing is billed, while there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as assets
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from defectory.aws.regions import Container, container
from defectory.aws.regions import region as region_of
from defectory.config import Config
from defectory.errors import ConfigError
from defectory.inspection.approved_models import FOLDER
from stacks.company_account import endpoint_key, training_values
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.removal import name_of_its_own, removal_policy
from stacks.constructs.secure_bucket import SecureBucket
from stacks.constructs.state_machines import MachineRole, WatchedMachine
from stacks.model_source import ModelSource

# 4 MB are all that a serverless endpoint takes and answers; it may have 1 to 6 GB of memory
# (https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html).
SERVERLESS_MEMORY_MB = 3072
SERVERLESS_CONCURRENCY = 10
VARIANT = "AllTraffic"
SOURCE_FOLDER = "/opt/ml/input/data/source"


@dataclass(frozen=True, slots=True)
class ModelKind:
    """What a machine trains.

    Attributes:
        source: the folder of its entry points, in ``models/``.
        noun: what people are told it is, with its article.
        controller: the name of the controlling function, behind the configured one.
        variables: the controlling function's, beyond those of every kind.
    """

    source: str
    noun: str
    controller: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The noun without its article."""
        return self.noun.partition(" ")[2]

    @classmethod
    def inspection(cls) -> ModelKind:
        """Models of inspection."""
        return cls("inspection", "an inspection model", "training-controller")

    @classmethod
    def detector(cls) -> ModelKind:
        """Detectors of objects."""
        return cls("detector", "a detector", "detector-controller", {"MODEL_KIND": "detector"})


@jsii.implements(cdk.ILocalBundling)
class _Bundling:
    """Builds the archive on this machine; an error stops the synthesis rather than falling back on Docker."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source

    def try_bundle(self, output_dir: str, *, image: cdk.DockerImage, **options: Any) -> bool:  # noqa: ANN401
        self._source.build(Path(output_dir))
        return True


class TrainingMachine(Construct):
    """The registry and the state machine that fills ``endpoint_name``, or the function ``serving`` where there is one.

    Start ``machine`` with ``{"dataset": "datasets/boards/"}``, a prefix in ``datasets``; the frozen test set is under
    ``test/`` of ``bucket``, which is where the datasets are if nothing else is said.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        alerts: AlertTopic,
        kind: ModelKind,
        bucket: SecureBucket,
        endpoint_name: str,
        serving: PythonFunction | None,
        datasets: SecureBucket | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config, self._kind, self._endpoint_name, self._serving = config, kind, endpoint_name, serving
        self._images = container_images(config)
        self.bucket = bucket
        self._datasets = datasets
        self.source = self._build_source()
        self.registry = self._build_registry()
        self.job_role = self._build_job_role()
        self.rollback_alarm = None if serving else self._build_rollback_alarm(alerts)
        self.controller = self._build_controller(alerts)
        self.machine = self._build_machine(alerts)

    def _build_source(self) -> assets.Asset:
        source = ModelSource.of(self._kind.source, for_host=self._config.lambda_platform == "host")
        return assets.Asset(
            self,
            "Source",
            path=str(source.folder),
            asset_hash=source.digest(),
            asset_hash_type=cdk.AssetHashType.CUSTOM,
            bundling=cdk.BundlingOptions(
                # Never pulled: the CDK asks for an image even where Docker has no part.
                image=cdk.DockerImage.from_registry("none"),
                local=_Bundling(source),
                output_type=cdk.BundlingOutput.SINGLE_FILE,
            ),
        )

    def _build_registry(self) -> sagemaker.CfnModelPackageGroup | None:
        # CloudFormation cannot make one in China, where the bucket alone keeps the models.  Where a function serves it
        # is there all the same, unused and free: left out it would be retained, and in the way of its own return.
        if self._config.region.startswith("cn-"):
            return None
        registry = sagemaker.CfnModelPackageGroup(
            self,
            "Registry",
            model_package_group_name=name_of_its_own(self._endpoint_name),
            model_package_group_description=f"Defectory: {self._kind.name}s that passed the gate",
        )
        registry.apply_removal_policy(removal_policy(self._config))
        return registry

    def _build_job_role(self) -> iam.Role:
        """What training jobs and the endpoint run as."""
        role = iam.Role(self, "JobRole", assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
        everything = [bucket.arn_for_objects("*") for bucket in self._buckets]
        models = self.bucket.arn_for_objects("models/*")
        source = f"{self.source.bucket.bucket_arn}/{self.source.s3_object_key}"
        logs = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:/aws/sagemaker/*"
        repositories = [_repository_arn(image) for image in self._images.values()]
        allow(role, ["s3:GetObject"], [*everything, source])
        buckets = [bucket.bucket_arn for bucket in self._buckets]
        allow(role, ["s3:ListBucket"], [*buckets, self.source.bucket.bucket_arn])
        allow(role, ["s3:PutObject", "s3:AbortMultipartUpload"], [models])
        allow(role, ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], [logs])
        allow(role, ["logs:DescribeLogStreams"], [logs])
        ecr = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        allow(role, ecr, repositories)
        allow(role, ["ecr:GetAuthorizationToken"], ["*"])
        namespaces = {"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*", "AWS/SageMaker"]}}
        allow(role, ["cloudwatch:PutMetricData"], ["*"], namespaces)
        acknowledge_wildcards(role, everything, "Jobs read whichever dataset, test set and model a run names.")
        acknowledge_wildcards(role, [models], "Jobs write their models under the names of their runs.")
        acknowledge_wildcards(role, [logs], "SageMaker names a job's and an endpoint's logs itself.")
        acknowledge_wildcards(role, ["*"], "Logging in to ECR and metrics know no resources; metrics by namespace.")
        return role

    @property
    def _buckets(self) -> list[SecureBucket]:
        """Where jobs read."""
        return [self.bucket, *([self._datasets] if self._datasets else [])]

    def _build_rollback_alarm(self, alerts: AlertTopic) -> cloudwatch.Alarm:
        errors = cloudwatch.Metric(
            namespace="AWS/SageMaker",
            metric_name="Invocation5XXErrors",
            dimensions_map={"EndpointName": self._endpoint_name, "VariantName": VARIANT},
            statistic="Sum",
            period=Duration.minutes(1),
        )
        return alerts.watch(
            self,
            "EndpointErrors",
            errors,
            f"the {self._kind.source} endpoint fails; a deployment under way is rolled back.",
            # Deployments refer to it by name.
            name=f"{self._endpoint_name}-errors",
        )

    def _build_controller(self, alerts: AlertTopic) -> PythonFunction:
        controller = PythonFunction(
            self,
            "Controller",
            folder="training_controller",
            name=self._kind.controller,
            description="Decides in training: prepares a run, judges its model, verifies the endpoint",
            config=self._config,
            alerts=alerts,
            environment={
                "TRAINING_BUCKET": self.bucket.bucket_name,
                "ENDPOINT_NAME": self._endpoint_name,
                "ENDPOINT_KIND": self._config.inspection_endpoint,
                **({"DATASETS_BUCKET": self._datasets.bucket_name} if self._datasets else {}),
                **self._kind.variables,
            },
            # A serverless endpoint may take a minute to its first answer.
            timeout=Duration.minutes(5),
            # The largest image of a test set in memory, several times over.
            memory_size=2048,
            caller_retries=True,
        )
        role, objects = controller.role, [bucket.arn_for_objects("*") for bucket in self._buckets]
        allow(role, ["s3:GetObject"], objects)
        allow(role, ["s3:ListBucket"], [bucket.bucket_arn for bucket in self._buckets])
        acknowledge_wildcards(role, objects, "Any prefix may be named as dataset or test set.")
        if self._serving:
            approved = self.bucket.arn_for_objects(f"{FOLDER}*")
            allow(role, ["s3:PutObject"], [approved])
            acknowledge_wildcards(role, [approved], "Records of approved models are named after their runs.")
            return controller
        allow(role, ["sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint"], [self._sagemaker_arn("endpoint", "")])
        created = [self._sagemaker_arn(kind, "-*") for kind in ("endpoint-config", "model")]
        allow(role, ["sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"], created)
        acknowledge_wildcards(role, created, "Models and configurations are named after the runs that made them.")
        return controller

    def _build_machine(self, alerts: AlertTopic) -> WatchedMachine:
        role = MachineRole(self, "MachineRole", self.controller, *([self._serving] if self._serving else []))
        self._allow_machine(role, alerts)
        return WatchedMachine(
            self,
            "Machine",
            config=self._config,
            alerts=alerts,
            role=role,
            name=f"{self._endpoint_name}-training",
            definition="training",
            values={
                "TrainingController": self.controller.function.function_arn,
                "JobRole": self.job_role.role_arn,
                "TrainingImage": self._images["training"],
                "SourceUri": self.source.s3_object_url,
                "SourceArchive": f"{SOURCE_FOLDER}/{self.source.s3_object_key}",
                "ModelsUri": self.bucket.s3_url_for_object("models/"),
                "EndpointName": self._endpoint_name,
                "AlertsTopic": alerts.topic.topic_arn,
                "Model": self._kind.name,
                "AModel": self._kind.noun,
                **self._deployment(),
                **training_values(self._config),
            },
            without=() if self.registry or self._serving else ("Register",),
            bad_end="training did not come to its end; the execution says at which step and why.",
            log_data=True,
        )

    def _deployment(self) -> dict[str, Any]:
        """What the definition is given of how a model comes into service."""
        if self._serving:
            return {"Deployment": "VerifyModel", "ServingFunction": self._serving.function.function_arn}
        assert self.rollback_alarm is not None
        registry = {"Registry": self.registry.model_package_group_name} if self.registry else {}
        return {
            "Deployment": "Register" if self.registry else "CreateModel",
            **registry,
            "ServingImage": self._images["serving"],
            # Serverless endpoints know no network isolation.
            "EndpointIsolated": self._config.inspection_endpoint == "realtime",
            "ProductionVariant": self._production_variant(),
            "RollbackAlarm": self.rollback_alarm.alarm_name,
            "EndpointKey": endpoint_key(self._config),
        }

    def _allow_machine(self, role: MachineRole, alerts: AlertTopic) -> None:
        jobs = self._sagemaker_arn("training-job", "-*")
        allow(
            role,
            [
                f"sagemaker:{verb}"
                for verb in ("CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob", "AddTags", "ListTags")
            ],
            [jobs],
        )
        acknowledge_wildcards(role, [jobs], "Jobs are named after the runs that made them.")
        allow(
            role,
            ["iam:PassRole"],
            [self.job_role.role_arn],
            {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )
        # How Step Functions hears of a job's end
        # (https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html).
        rule = "rule/StepFunctionsGetEventsForSageMakerTrainingJobsRule"
        allow(
            role,
            ["events:PutTargets", "events:PutRule", "events:DescribeRule"],
            [f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:{rule}"],
        )
        alerts.grant_publish(role)
        if self.rollback_alarm:
            self._allow_deployment(role, self.rollback_alarm)
        else:
            # The one that served before a function did.
            allow(role, ["sagemaker:DeleteEndpoint"], [self._sagemaker_arn("endpoint", "")])

    def _allow_deployment(self, role: MachineRole, rollback_alarm: cloudwatch.Alarm) -> None:
        """Leave to register a model and to put it behind the endpoint."""
        created = [self._sagemaker_arn(kind, "-*") for kind in ("model", "endpoint-config")]
        endpoint = self._sagemaker_arn("endpoint", "")
        allow(role, ["sagemaker:CreateModel", "sagemaker:CreateEndpointConfig"], created)
        allow(
            role,
            ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint", "sagemaker:DescribeEndpoint"],
            [endpoint, created[1]],
        )
        if self._config.tags:
            allow(role, ["sagemaker:AddTags"], [*created, endpoint])
        acknowledge_wildcards(role, created, "Models and configurations are named after the runs that made them.")
        if self.registry:
            group = self.registry.attr_model_package_group_arn
            package = self._sagemaker_arn("model-package", "-*/*")
            allow(role, ["sagemaker:CreateModelPackage"], [group, package])
            acknowledge_wildcards(role, [package], "Packages are numbered as they are registered.")
        allow(role, ["cloudwatch:DescribeAlarms"], [rollback_alarm.alarm_arn])

    def _production_variant(self) -> dict[str, Any]:
        """What answers at the endpoint: nothing while nobody asks, or an instance day and night."""
        if self._config.inspection_endpoint == "realtime":
            hosting: dict[str, Any] = {
                "InstanceType": self._config.inspection_instance,
                "InitialInstanceCount": 1,
            }
        else:
            limits = {"MemorySizeInMB": SERVERLESS_MEMORY_MB, "MaxConcurrency": SERVERLESS_CONCURRENCY}
            hosting = {"ServerlessConfig": limits}
        return {"VariantName": VARIANT, "ModelName": "{% $run.name %}", **hosting}

    def _sagemaker_arn(self, kind: str, suffix: str) -> str:
        return f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}:{kind}/{self._endpoint_name}{suffix}"


def container_images(config: Config) -> dict[str, str]:
    """The image that jobs run in, ``training``, and where an endpoint of SageMaker serves, the one for ``serving``.

    Raises:
        ConfigError: it is not known in which account AWS publishes them for the region.
    """
    region = region_of(config.region)
    accounts = {"training": region.deep_learning_containers}
    if config.inspection_endpoint != "lambda":
        accounts["serving"] = region.scikit_learn_containers
    images = {}
    for use, account in accounts.items():
        image = container(use)
        account = config.inspection_registry or account
        if account is None:
            raise _unknown_registry(config, image)
        images[use] = f"{account}.dkr.ecr.{config.region}.{region.suffix}/{image.repository}:{image.tag}"
    return images


def _unknown_registry(config: Config, image: Container) -> ConfigError:
    fix = f"Copy {image.repository}:{image.tag} into a registry of yours there, and set its account."
    if region_of(config.region).deep_learning_containers:
        fix = f"Set inspection_endpoint=lambda, which needs no container to serve with. {fix}"
    rule = f"the account of a registry in {config.region} that has {image.repository}, for AWS's own is not known there"
    return ConfigError("inspection_registry", rule, fix=fix)


def _repository_arn(image: str) -> str:
    registry, _, rest = image.partition("/")
    account, _, _, region, *_ = registry.split(".")
    return f"arn:{Aws.PARTITION}:ecr:{region}:{account}:repository/{rest.partition(':')[0]}"
