"""The safety line: cameras' uploads, the rules that they are held against, and what they end as."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Aws, Duration
from aws_cdk import aws_s3 as s3
from constructs import Construct

from defectory.detection.safety.frames import PARTITION, SORT
from defectory.detection.safety.results_table import INDEXES
from defectory.detection.safety.rules_file import KEY
from stacks.capability import Capability
from stacks.constructs.acknowledgements import acknowledge_wildcards
from stacks.constructs.alert_topic import AlertTopic
from stacks.constructs.kept_table import KeptTable
from stacks.constructs.permissions import allow
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.secure_bucket import SecureBucket
from stacks.constructs.upload_line import LineFunction, UploadLine
from stacks.constructs.upload_queue import UploadQueue

# What judges images needs OpenCV and onnxruntime, as what makes scenes does: one package of that size is enough.  What
# hands images on needs nothing of them.
JUDGING = ("render_scenes", "assemble_scenes", "check_safety", "set_safety_rules")
HANDLING = ("start_safety_check", "record_safety_check", "send_safety_alert", "send_safety_digest")

BLURRED = "person"
"""The class that is blurred where privacy is on."""


class SafetyLine(Construct):
    """From a camera's image in the bucket of uploads to a row, a picture with boxes and an alert.

    Args:
        stack: whose resources the functions are.
        models: the bucket of detectors, which has the file of rules as well.
        endpoint_name: the detector's endpoint, where no function holds the detector.
    """

    def __init__(self, stack: Capability, construct_id: str, *, models: SecureBucket, endpoint_name: str) -> None:
        super().__init__(stack, construct_id)
        self._stack, self._models = stack, models
        config = stack.config
        self.violations, self.reviews = (self._build_topic(name) for name in ("Violations", "Reviews"))
        self.uploads = self._build_uploads()
        self.results = stack.build_bucket("SafetyResults", overwritten_days=config.retention_days)
        self.table = KeptTable(
            self, "Detections", partition="inspection_id", indexes=INDEXES, removal_policy=stack.removal_policy
        )
        self.frames = KeptTable(self, "Frames", partition=PARTITION, sort=SORT, removal_policy=stack.removal_policy)
        self.queue = UploadQueue(
            self, "UploadQueue", config=config, bucket=self.uploads, alerts=stack.alerts, of="the safety line"
        )
        self.check = self._build_check("" if config.inspection_endpoint == "lambda" else endpoint_name)
        self.line = self._build_line()
        self.set_rules = self._build_set_rules()

    def outputs(self) -> Mapping[str, str]:
        """The names of what people use."""
        return {
            "SafetyUploadBucketName": self.uploads.bucket_name,
            "SafetyResultsBucketName": self.results.bucket_name,
            "SafetyTableName": self.table.table_name,
            "SafetyMachineArn": self.line.machine.state_machine_arn,
            "SafetyAlertTopicArn": self.violations.topic.topic_arn,
            "SafetyReviewTopicArn": self.reviews.topic.topic_arn,
            "SafetyQueueUrl": self.queue.queue.queue_url,
            "SafetyDeadLetterQueueUrl": self.queue.dead_letters.queue.queue_url,
            "SafetyRulesFunctionName": self.set_rules.function.function_name,
        }

    def _build_topic(self, name: str) -> AlertTopic:
        return AlertTopic(
            self,
            name,
            email=self._stack.config.safety_email,
            key=self._stack.alerts.key,
            display_name=f"Defectory safety {name.lower()}",
        )

    def _build_uploads(self) -> SecureBucket:
        """What cameras upload shows people as they are: it is kept for the configured days, overwritten for one."""
        return SecureBucket(
            self._stack,
            "SafetyUploads",
            logs=self._stack.access_logs,
            removal_policy=self._stack.removal_policy,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=Duration.days(self._stack.config.safety_original_days),
                    noncurrent_version_expiration=Duration.days(1),
                )
            ],
        )

    def _build_check(self, endpoint_name: str) -> PythonFunction:
        config = self._stack.config
        check = self._stack.build_function(
            "check_safety",
            "Looks at one image of a camera and holds it against the rules",
            {
                "TRAINING_BUCKET": self._models.bucket_name,
                "RESULTS_BUCKET": self.results.bucket_name,
                "RETENTION_DAYS": str(config.retention_days),
                **({"ENDPOINT_NAME": endpoint_name} if endpoint_name else {}),
                **({"BLURRED_CLASS": BLURRED} if config.safety_privacy else {}),
            },
            timeout=Duration.minutes(3),
            # The largest image and a detector in memory, several times over.
            memory_size=2048 if endpoint_name else 3008,
            caller_retries=True,
            package=JUDGING,
        )
        if endpoint_name:
            endpoint = f"arn:{Aws.PARTITION}:sagemaker:{self._stack.region}:{Aws.ACCOUNT_ID}:endpoint/{endpoint_name}"
            # SageMaker does not find one that is still being made: whether it comes, its description says.
            allow(check.role, ["sagemaker:InvokeEndpoint", "sagemaker:DescribeEndpoint"], [endpoint])
            self._allow_rules(check)
        else:
            models = self._models.arn_for_objects("*")
            allow(check.role, ["s3:GetObject"], [models])
            allow(check.role, ["s3:ListBucket"], [self._models.bucket_arn])
            acknowledge_wildcards(check.role, [models], "Detectors of every run, and the file of rules.")
        uploads, results = self.uploads.arn_for_objects("*"), self.results.arn_for_objects("*")
        allow(check.role, ["s3:GetObjectVersion"], [uploads])
        # Without it an upload that was deleted looks like a forbidden one.
        allow(check.role, ["s3:ListBucket"], [self.uploads.bucket_arn])
        allow(check.role, ["s3:PutObject"], [results])
        acknowledge_wildcards(check.role, [uploads, results], "Any upload is looked at, by this one function.")
        return check

    def _build_line(self) -> UploadLine:
        state = {"FRAMES_TABLE": self.frames.table_name, "TRAINING_BUCKET": self._models.bucket_name}
        line = UploadLine(
            self._stack,
            self,
            name="safety",
            queue=self.queue,
            table=self.table,
            results=self.results,
            topics={"ALERT_TOPIC_ARN": self.violations, "REVIEW_TOPIC_ARN": self.reviews},
            inspect=self.check,
            start=LineFunction("start_safety_check", "Starts a check of every camera's image, once", state),
            record=LineFunction("record_safety_check", "Writes the row of a camera's image", state),
            notify=LineFunction("send_safety_alert", "Tells people of one camera's image"),
            digest=LineFunction("send_safety_digest", "Tells people of all images that had no mail of their own"),
            package=HANDLING,
        )
        allow(line.start.role, ["dynamodb:PutItem"], [self.frames.table_arn])
        allow(line.record.role, ["dynamodb:Query", "dynamodb:UpdateItem"], [self.frames.table_arn])
        for function in (line.start, line.record):
            self._allow_rules(function)
        return line

    def _build_set_rules(self) -> PythonFunction:
        function = self._stack.build_function(
            "set_safety_rules",
            "Puts cameras and their rules in force",
            {"TRAINING_BUCKET": self._models.bucket_name},
            timeout=Duration.seconds(50),
            package=JUDGING,
        )
        allow(function.role, ["s3:PutObject"], [self._models.arn_for_objects(KEY)])
        return function

    def _allow_rules(self, function: PythonFunction) -> None:
        """Let ``function`` read the file of rules."""
        allow(function.role, ["s3:GetObject"], [self._models.arn_for_objects(KEY)])
        # Without it a file that is not there looks like a forbidden one.
        allow(function.role, ["s3:ListBucket"], [self._models.bucket_arn])
