"""Training in SageMaker: from a dataset in a bucket to a model behind the endpoint, past a gate.

The steps are those of ``stacks/state_machines/training.asl.yaml``: Prepare, Train, Evaluate, Judge, Register, deploy,
Verify.  Nothing runs, and with a serverless endpoint nothing is billed, while there is nothing to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as assets
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk.region_info import RegionInfo
from constructs import Construct

from defectory.config import Config
from defectory.errors import ConfigError
from stacks.company_account import training_values
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.secure_bucket import SecureBucket
from stacks.constructs.state_machines import MachineRole, WatchedMachine
from stacks.model_source import ModelSource

# AWS Deep Learning Containers of PyTorch for CPU, with Python 3.12, both to train and to serve
# (https://github.com/aws/deep-learning-containers/blob/master/available_images.md).  Torch itself is not used: the
# scikit-learn containers are smaller, but their Python is older than what this code needs.
PYTORCH = "2.6.0-cpu-py312-ubuntu22.04-sagemaker"
# Where the CDK does not know the account that publishes them (as in the SageMaker SDK's image_uri_config/pytorch.json).
_REGISTRIES = {"af-south-1": "626614931356", "ap-northeast-3": "364406365360", "us-gov-west-1": "442386744353"}
# 4 MB are all that a serverless endpoint takes and answers; it may have 1 to 6 GB of memory
# (https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html).
SERVERLESS_MEMORY_MB = 3072
SERVERLESS_CONCURRENCY = 10
VARIANT = "AllTraffic"
SOURCE_FOLDER = "/opt/ml/input/data/source"


@jsii.implements(cdk.ILocalBundling)
class _Bundling:
    """Builds the archive on this machine; an error stops the synthesis rather than falling back on Docker."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source

    def try_bundle(self, output_dir: str, *, image: cdk.DockerImage, **options: Any) -> bool:  # noqa: ANN401
        self._source.build(Path(output_dir))
        return True


class TrainingMachine(Construct):
    """The bucket of datasets and models, the registry, and the state machine that fills ``endpoint_name``.

    Start ``machine`` with ``{"dataset": "datasets/boards/"}``; the frozen test set is under ``test/`` of ``bucket``.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        alerts: AlertTopic,
        access_logs: s3.IBucket | None,
        endpoint_name: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config, self._endpoint_name = config, endpoint_name
        self._removal_policy = RemovalPolicy(config.removal_policy.upper())
        self._images = container_images(config)
        self.bucket = SecureBucket(
            self,
            "Bucket",
            logs=access_logs,
            removal_policy=self._removal_policy,
            versioned=True,
            lifecycle_rules=[s3.LifecycleRule(noncurrent_version_expiration=Duration.days(30))],
        )
        self.source = self._build_source()
        self.registry = self._build_registry()
        self.job_role = self._build_job_role()
        self.rollback_alarm = self._build_rollback_alarm(alerts)
        self.controller = self._build_controller(alerts)
        self.machine = self._build_machine(alerts)

    def _build_source(self) -> assets.Asset:
        source = ModelSource.of("inspection", for_host=self._config.lambda_platform == "host")
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
        # CloudFormation cannot make one in China; there the bucket alone keeps the models.
        if self._config.region.startswith("cn-"):
            return None
        registry = sagemaker.CfnModelPackageGroup(
            self,
            "Registry",
            model_package_group_name=self._endpoint_name,
            model_package_group_description="Defectory: inspection models that passed the gate",
        )
        registry.apply_removal_policy(self._removal_policy)
        return registry

    def _build_job_role(self) -> iam.Role:
        """What training jobs and the endpoint run as."""
        role = iam.Role(self, "JobRole", assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
        everything, models = self.bucket.arn_for_objects("*"), self.bucket.arn_for_objects("models/*")
        source = f"{self.source.bucket.bucket_arn}/{self.source.s3_object_key}"
        logs = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:/aws/sagemaker/*"
        repositories = [_repository_arn(image) for image in self._images]
        allow(role, ["s3:GetObject"], [everything, source])
        allow(role, ["s3:ListBucket"], [self.bucket.bucket_arn, self.source.bucket.bucket_arn])
        allow(role, ["s3:PutObject", "s3:AbortMultipartUpload"], [models])
        allow(role, ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], [logs])
        allow(role, ["logs:DescribeLogStreams"], [logs])
        ecr = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        allow(role, ecr, repositories)
        allow(role, ["ecr:GetAuthorizationToken"], ["*"])
        namespaces = {"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*", "AWS/SageMaker"]}}
        allow(role, ["cloudwatch:PutMetricData"], ["*"], namespaces)
        acknowledge_wildcards(role, [everything], "Jobs read whichever dataset, test set and model a run names.")
        acknowledge_wildcards(role, [models], "Jobs write their models under the names of their runs.")
        acknowledge_wildcards(role, [logs], "SageMaker names a job's and an endpoint's logs itself.")
        acknowledge_wildcards(role, ["*"], "Logging in to ECR and metrics know no resources; metrics by namespace.")
        return role

    def _build_rollback_alarm(self, alerts: AlertTopic) -> cloudwatch.Alarm:
        alarm = cloudwatch.Metric(
            namespace="AWS/SageMaker",
            metric_name="Invocation5XXErrors",
            dimensions_map={"EndpointName": self._endpoint_name, "VariantName": VARIANT},
            statistic="Sum",
            period=Duration.minutes(1),
        ).create_alarm(
            self,
            "EndpointErrors",
            # A name of its own, because deployments refer to it by name.
            alarm_name=f"{self._endpoint_name}-errors",
            alarm_description="Defectory: the inspection endpoint fails; a deployment under way is rolled back.",
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alerts.on(alarm)
        return alarm

    def _build_controller(self, alerts: AlertTopic) -> PythonFunction:
        controller = PythonFunction(
            self,
            "Controller",
            folder="training_controller",
            description="Decides in training: prepares a run, judges its model, verifies the endpoint",
            config=self._config,
            alerts=alerts,
            environment={"TRAINING_BUCKET": self.bucket.bucket_name, "ENDPOINT_NAME": self._endpoint_name},
            # A serverless endpoint may take a minute to its first answer.
            timeout=Duration.minutes(5),
            caller_retries=True,
        )
        role, objects = controller.role, self.bucket.arn_for_objects("*")
        allow(role, ["s3:GetObject"], [objects])
        allow(role, ["s3:ListBucket"], [self.bucket.bucket_arn])
        allow(role, ["sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint"], [self._sagemaker_arn("endpoint", "")])
        created = [self._sagemaker_arn(kind, "-*") for kind in ("endpoint-config", "model")]
        allow(role, ["sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"], created)
        acknowledge_wildcards(role, [objects], "Any prefix may be named as dataset or test set.")
        acknowledge_wildcards(role, created, "Models and configurations are named after the runs that made them.")
        return controller

    def _build_machine(self, alerts: AlertTopic) -> WatchedMachine:
        role = MachineRole(self, "MachineRole", self.controller)
        self._allow_machine(role, alerts)
        training_image, serving_image = self._images
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
                "TrainingImage": training_image,
                "ServingImage": serving_image,
                "SourceUri": self.source.s3_object_url,
                "SourceArchive": f"{SOURCE_FOLDER}/{self.source.s3_object_key}",
                "ModelsUri": self.bucket.s3_url_for_object("models/"),
                "EndpointName": self._endpoint_name,
                # Serverless endpoints know no network isolation.
                "EndpointIsolated": self._config.inspection_endpoint == "realtime",
                "ProductionVariant": self._production_variant(),
                "RollbackAlarm": self.rollback_alarm.alarm_name,
                "AlertsTopic": alerts.topic.topic_arn,
                **training_values(self._config),
            },
            without=() if self.registry else ("Register",),
            bad_end="training did not come to its end; the execution says at which step and why.",
            log_data=True,
        )

    def _allow_machine(self, role: MachineRole, alerts: AlertTopic) -> None:
        jobs = self._sagemaker_arn("training-job", "-*")
        created = [self._sagemaker_arn(kind, "-*") for kind in ("model", "endpoint-config")]
        endpoint = self._sagemaker_arn("endpoint", "")
        package = self._sagemaker_arn("model-package", "/*")
        allow(
            role,
            [
                f"sagemaker:{verb}"
                for verb in ("CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob", "AddTags")
            ],
            [jobs],
        )
        allow(role, ["sagemaker:CreateModel", "sagemaker:CreateEndpointConfig"], created)
        allow(
            role,
            ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint", "sagemaker:DescribeEndpoint"],
            [endpoint, created[1]],
        )
        if self.registry:
            group = self.registry.attr_model_package_group_arn
            allow(role, ["sagemaker:CreateModelPackage"], [group, package])
            acknowledge_wildcards(role, [package], "Packages are numbered as they are registered.")
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
        allow(role, ["cloudwatch:DescribeAlarms"], [self.rollback_alarm.alarm_arn])
        alerts.grant_publish(role)
        if self._config.tags:
            allow(role, ["sagemaker:AddTags"], [*created, endpoint])
        reason = "Jobs, models and configurations are named after the runs that made them."
        acknowledge_wildcards(role, [jobs, *created], reason)

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


def container_images(config: Config) -> tuple[str, str]:
    """The images that train and that serve.

    Raises:
        ConfigError: it is not known in which account AWS publishes them for the region.
    """
    info = RegionInfo.get(config.region)
    account = config.inspection_registry or info.dlc_repository_account or _REGISTRIES.get(config.region)
    if account is None:
        raise ConfigError(
            "inspection_registry",
            f"the account of AWS Deep Learning Containers in {config.region}",
            fix="AWS lists it with the containers; or use another region.",
        )
    registry = f"{account}.dkr.ecr.{config.region}.{info.domain_suffix}"
    return f"{registry}/pytorch-training:{PYTORCH}", f"{registry}/pytorch-inference:{PYTORCH}"


def _repository_arn(image: str) -> str:
    registry, _, rest = image.partition("/")
    account, _, _, region, *_ = registry.split(".")
    return f"arn:{Aws.PARTITION}:ecr:{region}:{account}:repository/{rest.partition(':')[0]}"
