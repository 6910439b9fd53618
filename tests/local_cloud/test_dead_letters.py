"""Dead letters of the inspection line, taken up again as docs/operations.md says."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.local_cloud.application import Application
from tests.local_cloud.sample_app import eventually

pytestmark = pytest.mark.xdist_group("application")
KEY = "aside/part.png"


def attempts(app: Application) -> list[dict[str, Any]]:
    """The uploads that executions of the line were started for, of this test's photo."""
    machines = app.cloud.client("stepfunctions")
    runs = machines.list_executions(stateMachineArn=app.outputs["StateMachineArn"])["executions"]
    inputs = [machines.describe_execution(executionArn=run["executionArn"])["input"] for run in runs]
    return [json.loads(text)["upload"] for text in inputs if KEY in text]


def test_moved_to_the_queue_they_are_inspected_under_a_name_of_their_own(applications: dict[str, Application]) -> None:
    app = applications["catalogue"]
    sqs, photo = app.cloud.client("sqs"), io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photo, "PNG")
    app.cloud.client("s3").put_object(Bucket=app.outputs["UploadBucketName"], Key=KEY, Body=photo.getvalue())
    [upload] = eventually(lambda: attempts(app), "execution")
    # As the state machine puts an upload aside.
    again = {**upload, "attempt": upload["attempt"] + 1}
    sqs.send_message(QueueUrl=app.outputs["DeadLetterQueueUrl"], MessageBody=json.dumps({"upload": again}))
    dead, queue = (
        sqs.get_queue_attributes(QueueUrl=app.outputs[name], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for name in ("DeadLetterQueueUrl", "QueueUrl")
    )

    sqs.start_message_move_task(SourceArn=dead, DestinationArn=queue)

    eventually(lambda: len(attempts(app)) == 2, "second attempt")
    assert sorted(attempt["attempt"] for attempt in attempts(app)) == [upload["attempt"], again["attempt"]]
    [task] = sqs.list_message_move_tasks(SourceArn=dead)["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
