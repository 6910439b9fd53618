"""What an intruder would like to have done in a local cloud, and that nothing of it is."""

import functools

from botocore.client import BaseClient

from defectory.local.cloud import LocalCloud

TEMPLATE = {
    "Resources": {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "RoleName": "intruder",
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "lambda.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                },
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "FunctionName": "intruder",
                "Runtime": "python3.11",
                "Handler": "index.handler",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Code": {"ZipFile": "def handler(event, context):\n    open('proof.txt', 'w').write('here')\n"},
            },
        },
    }
}


@functools.cache
def client(cloud: LocalCloud, service: str) -> BaseClient:
    return cloud.client(service)


def assert_untouched(cloud: LocalCloud) -> None:
    assert client(cloud, "cloudformation").describe_stacks()["Stacks"] == []
    assert client(cloud, "iam").list_roles()["Roles"] == []
    assert client(cloud, "lambda").list_functions()["Functions"] == []
    assert client(cloud, "sqs").list_queues().get("QueueUrls", []) == []
    s3 = client(cloud, "s3")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["album"]
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="album")["Contents"]] == ["photo.txt"]
    assert s3.get_object(Bucket="album", Key="photo.txt")["Body"].read() == b"a photo"
