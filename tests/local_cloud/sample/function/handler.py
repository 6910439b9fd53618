"""A function that does what its event says, to see how the local cloud runs functions."""

import importlib
import json
import logging
import os
import pathlib
import sys
import time

import boto3

logging.getLogger().setLevel(logging.INFO)
CALLS = []
# Made before the clock of the first invocation starts.
TABLE = boto3.resource("dynamodb").Table(os.environ["TABLE"])


class MachineJammed(Exception):
    pass


def handler(event, context):
    CALLS.append(context.aws_request_id)
    if "Records" in event:
        return work(event["Records"], context)
    if "detail-type" in event:
        return record(event["id"], event)
    return globals()[event["do"]](event, context)


def describe(event, context):
    logging.info("described at level info")
    print("described on standard output")
    return {
        "name": context.function_name,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "request_id": context.aws_request_id,
        "environment": dict(os.environ),
        "cwd": str(pathlib.Path.cwd()),
        "calls": len(CALLS),
        "pid": os.getpid(),
        "python": sys.version_info[:2],
    }


def jam(event, context):
    raise MachineJammed(event["why"])


def leave(event, context):
    os._exit(event["status"])


def linger(event, context):
    time.sleep(event["seconds"])
    return {"pid": os.getpid()}


def load(event, context):
    importlib.import_module(event["module"])


def work(records, context):
    for message in records:
        print(f"working on {message['body']}, try {message['attributes']['ApproximateReceiveCount']}")
        if message["body"] == "poison":
            raise MachineJammed("poison")
        record(message["messageId"], {"body": message["body"]})


def record(key, value):
    TABLE.put_item(Item={"id": key, "value": json.dumps(value)})
