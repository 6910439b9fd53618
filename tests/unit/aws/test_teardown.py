"""What a deployment has left behind is found by its tag, whichever service has it."""

from typing import Any
from unittest.mock import MagicMock

import pytest
from botocore.exceptions import ClientError

from defectory.aws.teardown import DEPLOYMENT_TAG, Deployment, Teardown

HERE = "eu-west-1:123456789012"


class Account:
    """An account without stacks, in which things with tags are."""

    def __init__(self, *arns: str) -> None:
        self.clients: dict[str, MagicMock] = {}
        mappings = [{"ResourceARN": arn} for arn in arns]
        paginate = self("resourcegroupstaggingapi").get_paginator.return_value.paginate
        paginate.return_value = [{"ResourceTagMappingList": mappings}]
        absent = {"Error": {"Code": "ValidationError", "Message": "Stack with id plant-inspection does not exist"}}
        self("cloudformation").describe_stacks.side_effect = ClientError(absent, "DescribeStacks")
        self("sagemaker").get_paginator.return_value.paginate.return_value = []
        self("logs").describe_log_groups.return_value = {"logGroups": []}
        self("sqs").get_queue_url.side_effect = lambda QueueName: {"QueueUrl": f"https://queues/{QueueName}"}

    def __call__(self, service: str) -> Any:
        return self.clients.setdefault(service, MagicMock(name=service))


@pytest.mark.parametrize(
    ("arn", "kind", "name"),
    [
        ("arn:aws:s3:::plant-uploads", "AWS::S3::Bucket", "plant-uploads"),
        (f"arn:aws:dynamodb:{HERE}:table/plant-rows", "AWS::DynamoDB::GlobalTable", "plant-rows"),
        (f"arn:aws:sqs:{HERE}:plant-dead", "AWS::SQS::Queue", "https://queues/plant-dead"),
        (f"arn:aws:logs:{HERE}:log-group:/aws/vendedlogs/plant", "AWS::Logs::LogGroup", "/aws/vendedlogs/plant"),
        (f"arn:aws:logs:{HERE}:log-group:plant-logs:*", "AWS::Logs::LogGroup", "plant-logs"),
        *(
            (arn, "AWS::SageMaker::ModelPackageGroup", arn)
            for arn in (f"arn:aws:sagemaker:{HERE}:model-package-group/plant-inspection",)
        ),
    ],
)
def test_what_was_retained_is_found(arn: str, kind: str, name: str) -> None:
    account = Account(arn)

    deployment = Teardown("plant", ("inspection",), account).find()

    assert deployment
    assert deployment == Deployment(resources={kind: [name]})
    asked = account("resourcegroupstaggingapi").get_paginator.return_value.paginate.call_args.kwargs
    assert asked == {"TagFilters": [{"Key": DEPLOYMENT_TAG, "Values": ["plant"]}]}


def test_what_goes_with_its_stack_or_in_time_is_no_remainder() -> None:
    arns = (f"arn:aws:kms:{HERE}:key/0d9f3a6c", f"arn:aws:lambda:{HERE}:function:plant-send-alert")
    assert not Teardown("plant", ("inspection",), Account(*arns)).find()


def test_a_repository_is_deleted_by_its_name() -> None:
    account = Account(f"arn:aws:codecommit:{HERE}:plant-sensor-data-1a2b3c4d")
    teardown = Teardown("plant", ("sensor-data",), account)

    assert teardown.destroy(teardown.find()) == []

    account("codecommit").delete_repository.assert_called_once_with(repositoryName="plant-sensor-data-1a2b3c4d")
