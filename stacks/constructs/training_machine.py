"""Training in SageMaker: from a dataset in a bucket to a model behind the endpoint, past a gate.

The steps are those of the state machine: Prepare, Train, Evaluate, Judge, Register, deploy, Verify.  Nothing runs, and
with a serverless endpoint nothing is billed, while there is nothing to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii
from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as assets
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk.region_info import RegionInfo
from constructs import Construct

from defectory.config import Config
from defectory.errors import ConfigError
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
TRAINING_INSTANCE = "ml.m5.xlarge"
# 4 MB are all that a serverless endpoint takes and answers; it may have 1 to 6 GB of memory
# (https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html).
SERVERLESS_MEMORY_MB = 3072
SERVERLESS_CONCURRENCY = 10
VARIANT = "AllTraffic"
SOURCE_FOLDER = "/opt/ml/input/data/source"
TRAINING_MODULES = (
    "defectory/__init__.py",
    "defectory/errors.py",
    "defectory/aws",
    "defectory/inspection/__init__.py",
    "defectory/inspection/gate.py",
    "defectory/inspection/training_run.py",
)


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
        self.overseer = self._build_overseer(alerts)
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

    def _build_overseer(self, alerts: AlertTopic) -> PythonFunction:
        overseer = PythonFunction(
            self,
            "Overseer",
            folder="oversee_training",
            modules=TRAINING_MODULES,
            description="Decides in training: prepares a run, judges its model, verifies the endpoint",
            config=self._config,
            alerts=alerts,
            environment={"TRAINING_BUCKET": self.bucket.bucket_name, "ENDPOINT_NAME": self._endpoint_name},
            # A serverless endpoint may take a minute to its first answer.
            timeout=Duration.minutes(5),
            caller_retries=True,
        )
        role, objects = overseer.role, self.bucket.arn_for_objects("*")
        allow(role, ["s3:GetObject"], [objects])
        allow(role, ["s3:ListBucket"], [self.bucket.bucket_arn])
        allow(role, ["sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint"], [self._sagemaker_arn("endpoint", "")])
        created = [self._sagemaker_arn(kind, "-*") for kind in ("endpoint-config", "model")]
        allow(role, ["sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"], created)
        acknowledge_wildcards(role, [objects], "Any prefix may be named as dataset or test set.")
        acknowledge_wildcards(role, created, "Models and configurations are named after the runs that made them.")
        return overseer

    def _build_machine(self, alerts: AlertTopic) -> sfn.StateMachine:
        role = MachineRole(self, "MachineRole", self.overseer)
        self._allow_machine(role, alerts)
        return WatchedMachine(
            self,
            "Machine",
            config=self._config,
            alerts=alerts,
            role=role,
            bad_end="training did not come to its end; the execution says at which step and why.",
            log_data=True,
            # A name that people can type.
            state_machine_name=f"{self._endpoint_name}-training",
            definition_body=sfn.DefinitionBody.from_string(Stack.of(self).to_json_string(self._definition(alerts))),
            timeout=Duration.hours(6),
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
        reason = "Jobs, models and configurations are named after the runs that made them."
        acknowledge_wildcards(role, [jobs, *created], reason)

    def _definition(self, alerts: AlertTopic) -> dict[str, Any]:
        """The machine in the Amazon States Language, with JSONata throughout."""
        failed = [{"ErrorEquals": ["States.ALL"], "Next": "AlertOfFailure", "Output": "{% $states.errorOutput %}"}]
        undo = [{"ErrorEquals": ["States.ALL"], "Next": "HadModelBefore", "Output": "{% $states.errorOutput %}"}]

        def task(resource: str, arguments: object, next_state: str, **more: object) -> dict[str, Any]:
            return {
                "Type": "Task",
                "Resource": f"arn:{Aws.PARTITION}:states:::{resource}",
                "Arguments": arguments,
                "Next": next_state,
                "Catch": failed,
                **more,
            }

        def oversee(payload: dict[str, str], next_state: str, **more: object) -> dict[str, Any]:
            arguments = {"FunctionName": self.overseer.function.function_arn, "Payload": payload}
            return task("lambda:invoke", arguments, next_state, **{"Retry": _LAMBDA_RETRY, **more})

        def publish(subject: str, message: str, next_state: str) -> dict[str, Any]:
            arguments = {"TopicArn": alerts.topic.topic_arn, "Subject": subject, "Message": message}
            state = task("sns:publish", arguments, next_state, Retry=_RETRY, Output=_SAME_INPUT)
            del state["Catch"]
            return state

        accepted, registration = "CreateModel", {}
        if self.registry:
            package = self._package(self.registry)
            accepted = "Register"
            registration = {
                accepted: task("aws-sdk:sagemaker:createModelPackage", package, "CreateModel", Retry=_RETRY)
            }
        states: dict[str, Any] = {
            "Prepare": oversee(
                {
                    "task": "prepare",
                    "request": "{% $states.input %}",
                    "started": "{% $states.context.Execution.StartTime %}",
                },
                "Train",
                Assign={"run": "{% $states.result.Payload %}"},
            ),
            "Train": task(
                "sagemaker:createTrainingJob.sync",
                self._job("train", [_channel("train", "{% $run.dataset %}")], {"options": "{% $run.options %}"}),
                "Evaluate",
                Assign={"model": "{% $states.result.ModelArtifacts.S3ModelArtifacts %}"},
                Retry=_JOB_RETRY,
            ),
            "Evaluate": task(
                "sagemaker:createTrainingJob.sync",
                self._evaluation_job(),
                "Judge",
                Assign={"evaluation": "{% $states.result.ModelArtifacts.S3ModelArtifacts %}"},
                Retry=_JOB_RETRY,
            ),
            "Judge": oversee(
                {"task": "judge", "evaluation": "{% $evaluation %}", "gate": "{% $run.gate %}"},
                "Accepted",
                Assign={"outcome": "{% $states.result.Payload %}"},
            ),
            "Accepted": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $outcome.accepted %}", "Next": accepted}],
                "Default": "AlertOfRejection",
            },
            **registration,
            "CreateModel": task("aws-sdk:sagemaker:createModel", self._model(), "CreateEndpointConfig", Retry=_RETRY),
            "CreateEndpointConfig": task(
                "aws-sdk:sagemaker:createEndpointConfig", self._endpoint_config(), "EndpointExists", Retry=_RETRY
            ),
            "EndpointExists": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $run.endpoint_exists %}", "Next": "UpdateEndpoint"}],
                "Default": "CreateEndpoint",
            },
            "CreateEndpoint": task(
                "aws-sdk:sagemaker:createEndpoint",
                {"EndpointName": self._endpoint_name, "EndpointConfigName": "{% $run.name %}"},
                "DescribeEndpoint",
            ),
            "UpdateEndpoint": task(
                "aws-sdk:sagemaker:updateEndpoint",
                {
                    "EndpointName": self._endpoint_name,
                    "EndpointConfigName": "{% $run.name %}",
                    "DeploymentConfig": self._deployment(),
                },
                "DescribeEndpoint",
            ),
            "DescribeEndpoint": task(
                "aws-sdk:sagemaker:describeEndpoint",
                {"EndpointName": self._endpoint_name},
                "Deployed",
                Assign={"endpoint": "{% $states.result %}"},
                Retry=_RETRY,
            ),
            "Deployed": {
                "Type": "Choice",
                "Choices": [
                    {
                        "Condition": "{% $endpoint.EndpointStatus = 'InService' and "
                        "$endpoint.EndpointConfigName = $run.name %}",
                        "Next": "Verify",
                    },
                    {
                        "Condition": "{% $endpoint.EndpointStatus in ['InService', 'Failed', 'UpdateRollbackFailed', "
                        "'OutOfService', 'Deleting'] %}",
                        "Output": {
                            "Error": "DeploymentFailed",
                            "Cause": "{% 'The endpoint is ' & $endpoint.EndpointStatus & ' with ' & "
                            "$endpoint.EndpointConfigName & '. ' & $endpoint.FailureReason %}",
                        },
                        "Next": "AlertOfFailure",
                    },
                ],
                "Default": "WaitForEndpoint",
            },
            "WaitForEndpoint": {"Type": "Wait", "Seconds": 5, "Next": "DescribeEndpoint"},
            "Verify": oversee(
                {
                    "task": "verify",
                    "test": "{% $run.test %}",
                    "model_version": "{% $outcome.model_version %}",
                },
                "AlertOfSuccess",
                Catch=undo,
            ),
            "HadModelBefore": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $run.endpoint_exists %}", "Next": "RollBack"}],
                "Default": "AlertOfFailure",
            },
            "RollBack": task(
                "aws-sdk:sagemaker:updateEndpoint",
                {"EndpointName": self._endpoint_name, "EndpointConfigName": "{% $run.current_config %}"},
                "AlertOfFailure",
                Output=_SAME_INPUT,
                Retry=_RETRY,
            ),
            "AlertOfSuccess": publish(
                "Defectory: a new inspection model is in service",
                "{% 'Endpoint "
                + self._endpoint_name
                + ", run ' & $run.name & '.\n' & $join($outcome.reasons, '\n') %}",
                "InService",
            ),
            "AlertOfRejection": publish(
                "Defectory: a new inspection model was rejected",
                "{% 'Run ' & $run.name & '; the model in service stays.\n' & $join($outcome.reasons, '\n') %}",
                "Rejected",
            ),
            "AlertOfFailure": publish(
                "Defectory: training an inspection model failed",
                "{% ($cause := $states.input.Cause; $told := $match($cause, " + _REASON + "); "
                "$states.context.Execution.Name & ': ' & $states.input.Error & '\n' & "
                "($exists($told) ? $told[0].groups[0] : $cause)) %}",
                "Failed",
            ),
            "InService": {
                "Type": "Succeed",
                "Output": {"status": "IN_SERVICE", "run": "{% $run.name %}", "outcome": "{% $outcome %}"},
            },
            "Rejected": {
                "Type": "Succeed",
                "Output": {"status": "REJECTED", "run": "{% $run.name %}", "outcome": "{% $outcome %}"},
            },
            "Failed": {
                "Type": "Fail",
                "Error": "{% $states.input.Error %}",
                "Cause": "{% $states.input.Cause %}",
            },
        }
        return {
            "Comment": "Defectory: train, evaluate, judge, register, deploy, verify",
            "QueryLanguage": "JSONata",
            "StartAt": "Prepare",
            "States": states,
        }

    def _job(self, program: str, channels: object, hyperparameters: dict[str, str]) -> dict[str, Any]:
        """A training job in script mode that runs ``models/inspection/<program>.py``, cut off from the network.

        An isolated container cannot fetch its source itself: a channel brings it
        (https://github.com/aws/sagemaker-training-toolkit, ``files.download_and_extract``).
        """
        return {
            "TrainingJobName": f"{{% $run.name & '-{program}' %}}",
            "AlgorithmSpecification": {"TrainingImage": self._images[0], "TrainingInputMode": "File"},
            "RoleArn": self.job_role.role_arn,
            "HyperParameters": {
                "sagemaker_program": f"{program}.py",
                "sagemaker_submit_directory": f"{SOURCE_FOLDER}/{self.source.s3_object_key}",
                **hyperparameters,
            },
            "InputDataConfig": [*channels, self._source_channel()] if isinstance(channels, list) else channels,
            "OutputDataConfig": {"S3OutputPath": self.bucket.s3_url_for_object("models/")},
            "ResourceConfig": {"InstanceType": TRAINING_INSTANCE, "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 2 * 3600},
            "EnableNetworkIsolation": True,
        }

    def _evaluation_job(self) -> dict[str, Any]:
        channels = [
            self._source_channel(),
            _channel("train", "$run.dataset"),
            _channel("test", "$run.test"),
            _channel("candidate", "$model"),
        ]
        current = _jsonata([_channel("current", "$run.current")])
        return self._job("evaluate", f"{{% $append({_jsonata(channels)}, $run.current ? {current} : []) %}}", {})

    def _source_channel(self) -> dict[str, Any]:
        return _channel("source", self.source.s3_object_url)

    def _container(self) -> dict[str, Any]:
        return {
            "Image": self._images[1],
            "ModelDataUrl": "{% $model %}",
            "Environment": {
                "SAGEMAKER_PROGRAM": "inference.py",
                "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                # Our libraries win over the container's own from the first import on.
                "PYTHONPATH": "/opt/ml/model/code/packages",
                "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
            },
        }

    def _package(self, registry: sagemaker.CfnModelPackageGroup) -> dict[str, Any]:
        photos = ["image/png", "image/jpeg"]
        return {
            "ModelPackageGroupName": registry.model_package_group_name,
            "ModelPackageDescription": "{% $join($outcome.reasons, ' ') %}",
            "ModelApprovalStatus": "Approved",
            "CustomerMetadataProperties": "{% $outcome.metadata %}",
            "InferenceSpecification": {
                "Containers": [self._container()],
                "SupportedContentTypes": photos,
                "SupportedResponseMIMETypes": ["application/json"],
            },
        }

    def _model(self) -> dict[str, Any]:
        # Serverless endpoints know no network isolation.
        isolated = self._config.inspection_endpoint == "realtime"
        return {
            "ModelName": "{% $run.name %}",
            "ExecutionRoleArn": self.job_role.role_arn,
            "PrimaryContainer": self._container(),
            "EnableNetworkIsolation": isolated,
        }

    def _endpoint_config(self) -> dict[str, Any]:
        variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": "{% $run.name %}"}
        if self._config.inspection_endpoint == "realtime":
            variant |= {"InstanceType": self._config.inspection_instance, "InitialInstanceCount": 1}
        else:
            limits = {"MemorySizeInMB": SERVERLESS_MEMORY_MB, "MaxConcurrency": SERVERLESS_CONCURRENCY}
            variant |= {"ServerlessConfig": limits}
        return {"EndpointConfigName": "{% $run.name %}", "ProductionVariants": [variant]}

    def _deployment(self) -> dict[str, Any]:
        """Blue/green: the old model goes on until the new one answers, and comes back when the alarm goes off."""
        return {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                "TerminationWaitInSeconds": 300,
                "MaximumExecutionTimeoutInSeconds": 3600,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": self.rollback_alarm.alarm_name}]},
        }

    def _sagemaker_arn(self, kind: str, suffix: str) -> str:
        return f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}:{kind}/{self._endpoint_name}{suffix}"


_SAME_INPUT = "{% $states.input %}"
# A failed function's and a failed job's own words, in the JSON that is the cause of their failure.
_REASON = r"""/"(?:errorMessage|FailureReason)":\s*"((?:\\.|[^\\"])*)"/"""
_RETRY = [
    {
        "ErrorEquals": [
            "SageMaker.SageMakerException",
            "Sagemaker.SagemakerException",
            "SNS.SnsException",
            "ThrottlingException",
        ],
        "IntervalSeconds": 2,
        "MaxAttempts": 4,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    }
]
_LAMBDA_RETRY = [
    {
        "ErrorEquals": [
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.TooManyRequestsException",
            "ServiceError",
            "HostingError",
        ],
        "IntervalSeconds": 5,
        "MaxAttempts": 4,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    }
]
# A job that was started is never started again under its name: only refusals to start it are tried again.
_JOB_RETRY = [
    {
        "ErrorEquals": ["SageMaker.ResourceLimitExceededException", "SageMaker.ThrottlingException"],
        "IntervalSeconds": 60,
        "MaxAttempts": 5,
        "BackoffRate": 2,
    }
]


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _jsonata(value: object) -> str:
    """``value`` as an expression of JSONata; text that starts with ``$`` is an expression already."""
    match value:
        case dict():
            return "{" + ", ".join(f"'{key}': {_jsonata(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_jsonata, value)) + "]"
        case str() if value.startswith("$") and not cdk.Token.is_unresolved(value):
            return value
        case _:
            return f"'{value}'"


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
