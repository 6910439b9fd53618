"""Drills of the inspection line: what is done to it, and the account of it afterwards.

After each: as many rows as uploads, none twice, each with the right status, one mail where one is due.  `make test`
runs them in small, `make drills` in full.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from tests.local_cloud.laboratory import IMAGE, ROLE, SERVERLESS, Laboratory, packed
from tests.local_cloud.line import Line, part
from tests.local_cloud.processes import belonging
from tests.support.faulty_wire import FaultyWire

PATIENCE = 1800.0
VERDICTS = frozenset({"PASS", "REVIEW", "FAIL"})
NO_IMAGE = frozenset({"UNREADABLE"})

POISON = [
    *("not json", "{}", "null", '{"Records":"x"}', "[]", "[" * 100_000, "{" * 1000),
    '{"Records":[{"eventName":"ObjectCreated:Put"}]}',
    '{"upload":{"bucket":"b"}}',
    json.dumps({"upload": {"bucket": "b", "key": "k" * 200_000, "size": 1, "uploaded_at": "2026-11-28T01:00:00Z"}}),
    json.dumps({"version": "0", "source": "aws.ec2", "detail-type": "State-change", "detail": {"state": "x"}}),
    json.dumps({"Type": "Notification", "Message": "hi", "TopicArn": "arn"}),
    '{"Records":[{"eventSource":"aws:sns","Sns":{"Message":"x"}}]}',
]

GOOD_ANSWER = {
    **{"verdict": "PASS", "score": 0.1, "confidence": 0.9, "review_threshold": 0.2, "fail_threshold": 0.3},
    **{"model_version": "x", "width": 256, "height": 256},
}
BIG_ANSWER = json.dumps({**GOOD_ANSWER, "reasons": ["r" * 300_000] * 2})
NONSENSE = [
    *("", "<html>502</html>", "null", "[]", "{" * 100_000, BIG_ANSWER),
    json.dumps({**GOOD_ANSWER, "score": "@"}).replace('"@"', "NaN"),
    json.dumps({**GOOD_ANSWER, "fail_threshold": "@"}).replace('"@"', "1e999"),
    json.dumps({**GOOD_ANSWER, "verdict": "MAYBE"}),
    json.dumps({**GOOD_ANSWER, "confidence": 7}),
    json.dumps({**GOOD_ANSWER, "heatmap": "!!!not base64"}),
    json.dumps({**GOOD_ANSWER, "heatmap": "aGVsbG8="}),
    json.dumps({**GOOD_ANSWER, "defects": [{"name": "x"}]}),
    json.dumps({**GOOD_ANSWER, "model_version": "v" * 500_000}),
]


def blank(width: int, height: int) -> bytes:
    """The PNG of a size, with next to nothing in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def garbage() -> dict[str, tuple[bytes, frozenset[str]]]:
    """Uploads of odd names and contents, each with what it may end as."""
    good = part(7)
    names = [
        *("a b  c.png", "a+b+c.png", "100%.png", "%20%2B.png", "Prüfling äöüß.PNG", "emoji😀 \u202e.png", "tab\t.png"),
        *("new\nline.png", "quote\"'&<>.png", "{% $x %}.png", "/double//slash.png", "../../etc/passwd.png"),
        *("ü" * 300 + "/" + "x" * 290 + ".png", "k" * 896 + ".png"),
    ]
    contents = {
        **{"zero.png": b"", "text.png": b"hello\n" * 20, "huge.png": blank(60_000, 60_000)},
        **{"wide.png": blank(2**31 - 1, 1), "dot.png": blank(1, 1), "cut.jpg": good[:3000]},
    }
    return {
        **dict.fromkeys(names, (good, VERDICTS)),
        **{name: (content, NO_IMAGE) for name, content in contents.items()},
        **{name: (good, frozenset({"UNSUPPORTED"})) for name in ("noext", ".png", "a.png.bak")},
    }


@dataclass
class Drill:
    """Uploads below a prefix of their own, with what each may end as."""

    line: Line
    prefix: str
    expected: dict[str, frozenset[str]] = field(default_factory=dict)

    def upload(self, contents: Mapping[str, tuple[bytes, frozenset[str]]]) -> None:
        """Upload many at a time."""
        s3, bucket = self.line.cloud.client("s3"), self.line.outputs["UploadBucketName"]

        def put(name: str) -> None:
            s3.put_object(Bucket=bucket, Key=f"{self.prefix}/{name}", Body=contents[name][0])

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(put, contents))
        self.expected |= {f"{self.prefix}/{name}": outcomes for name, (_, outcomes) in contents.items()}

    def rows(self) -> list[dict[str, Any]]:
        return [row for row in self.line.all_rows() if row["key"].startswith(f"{self.prefix}/")]

    def wait(self, meanwhile: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
        """The rows, once every upload has one and all who have to know were told."""
        end = time.monotonic() + PATIENCE
        while True:
            rows = self.rows()
            pending = [row["key"] for row in rows if row.get("owed") and row["outcome"] != "UNSUPPORTED"]
            if len(rows) >= len(self.expected) and not pending:
                return rows
            assert time.monotonic() < end, f"{len(rows)} of {len(self.expected)} rows, pending: {pending}"
            meanwhile()
            time.sleep(0.5)

    def account(self, rows: Sequence[Mapping[str, Any]]) -> Counter[str]:
        """Hold the rows and the mails against the uploads; how many ended as what."""
        twice = {key for key, count in Counter(row["key"] for row in rows).items() if count > 1}
        assert (twice, {row["key"] for row in rows}) == (set(), self.expected.keys())
        wrong = {
            row["key"]: (row["outcome"], row.get("reason"))
            for row in rows
            if row["outcome"] not in self.expected[row["key"]]
        }
        assert not wrong, wrong
        mails = list(self.line.cloud.mails())
        for row in rows:
            due = row["outcome"] not in ("PASS", "UNSUPPORTED")
            assert sum(row["inspection_id"] in mail.body for mail in mails) == due, (row["key"], row["outcome"])
        return Counter(row["outcome"] for row in rows)


def photos(number: int) -> dict[str, tuple[bytes, frozenset[str]]]:
    """Photos of parts, every fourth scratched."""
    some = [part(100 + seed, scratched=seed % 4 == 0) for seed in range(20)]
    return {f"{place:04d}.png": (some[place % len(some)], VERDICTS) for place in range(number)}


# ------------------------------------------------------------------ the drills


def burst(line: Line, *, uploads: int, repeated: int) -> Counter[str]:
    """Many uploads at once, some of which S3 tells of three times."""
    drill = Drill(line, f"burst-{uploads}")
    drill.upload(photos(uploads) | (garbage() if uploads >= 100 else {}))
    s3, sqs = line.cloud.client("s3"), line.cloud.client("sqs")
    bucket = line.outputs["UploadBucketName"]
    for key in list(drill.expected)[:repeated]:
        head = s3.head_object(Bucket=bucket, Key=key)
        what = {"key": quote_plus(key), "size": head["ContentLength"], "versionId": head["VersionId"]}
        when = f"{head['LastModified']:%Y-%m-%dT%H:%M:%S}.000Z"
        record = {
            "eventName": "ObjectCreated:Put",
            "eventTime": when,
            "s3": {"bucket": {"name": bucket}, "object": what},
        }
        for _ in range(2):
            sqs.send_message(QueueUrl=line.outputs["QueueUrl"], MessageBody=json.dumps({"Records": [record, record]}))
    return drill.account(drill.wait())


def kill_endpoint(line: Line, *, uploads: int, kills: int) -> Counter[str]:
    """The endpoint's container is killed while it is asked, ``kills`` times at moments drawn at random."""
    drill, chance, killed = Drill(line, f"killed-endpoint-{uploads}"), random.Random(1), 0
    drill.upload(photos(uploads))

    def kill() -> None:
        nonlocal killed
        containers = _containers(line)
        if containers and killed < kills:
            time.sleep(chance.uniform(0, 1.5))
            killed += _kill(chance.choice(containers))

    outcomes = drill.account(drill.wait(kill))
    assert killed, "no container was killed: the drill proves nothing"
    return outcomes + Counter(killed=killed)


def kill_functions(line: Line, *, uploads: int, kills: int) -> Counter[str]:
    """Functions are killed at work, whichever is drawn."""
    drill, chance, killed = Drill(line, f"killed-functions-{uploads}"), random.Random(2), Counter[str]()
    # What a killed function had in hand is handed out again after that.
    line.cloud.client("sqs").set_queue_attributes(
        QueueUrl=line.outputs["QueueUrl"], Attributes={"VisibilityTimeout": "15"}
    )
    drill.upload(photos(uploads))

    def kill() -> None:
        functions = _functions(line)
        # Whoever dies between a mail and its word that it went out is followed by the digest, hours later.
        victims = [pid for pid, name in functions.items() if not name.endswith("send-alert")]
        if victims and killed.total() < kills:
            pid = chance.choice(victims)
            killed[functions[pid]] += _kill(pid)

    outcomes = drill.account(drill.wait(kill))
    assert killed, "no function was killed: the drill proves nothing"
    return outcomes + Counter(killed=killed.total())


def poison(line: Line, messages: Sequence[str] = POISON) -> None:
    """Messages that tell of no upload: they harm none beside them, and lie among the dead letters at last."""
    sqs, queue = line.cloud.client("sqs"), line.outputs["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "3"})
    before = _waiting(line, "DeadLetterQueueUrl")
    for message in messages:
        sqs.send_message(QueueUrl=queue, MessageBody=message)
    drill = Drill(line, f"poison-{len(messages)}")
    drill.upload(photos(4))
    drill.account(drill.wait())
    end = time.monotonic() + PATIENCE
    # An empty list of nothing tells of nothing, and is done.
    while _waiting(line, "DeadLetterQueueUrl") < before + len(messages) or _waiting(line, "QueueUrl"):
        assert time.monotonic() < end, (before, _waiting(line, "DeadLetterQueueUrl"), _waiting(line, "QueueUrl"))
        time.sleep(0.5)


def throttle(line: Line, *, uploads: int, share: float) -> Counter[str]:
    """The table and the topics refuse a share of the calls, as where too many come at once."""
    chance, drill = random.Random(3), Drill(line, f"throttled-{uploads}")

    def refuse() -> bool:
        return chance.random() < share

    with (
        FaultyWire(line.cloud, "dynamodb", refuse) as table,
        FaultyWire(line.cloud, "sns", refuse) as topic,
        _environment(
            line,
            ("record-inspection", "send-alert"),
            {"AWS_ENDPOINT_URL_DYNAMODB": table.endpoint, "AWS_ENDPOINT_URL_SNS": topic.endpoint},
        ),
    ):
        drill.upload(photos(uploads))
        outcomes = drill.account(drill.wait())
        assert table.refused, "nothing was refused: the drill proves nothing"
        return outcomes + Counter(refused=table.refused + topic.refused)


def answer_nonsense(line: Line, answers: Sequence[str] = NONSENSE) -> Counter[str]:
    """The endpoint answers, in turn, what is no inspection: each upload ends as an ERROR that says so, with a mail."""
    sagemaker, endpoint = line.cloud.client("sagemaker"), line.outputs["EndpointName"]
    before = sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    name = f"nonsense-{len(answers)}"
    code = (
        "import json, os\n"
        f"ANSWERS = json.loads({json.dumps(json.dumps(list(answers)))})\n"
        "def model_fn(folder): return []\n"
        "def input_fn(body, content_type): return body\n"
        "def predict_fn(body, asked):\n"
        "    asked.append(1)\n"
        "    return ANSWERS[(len(asked) - 1) % len(ANSWERS)]\n"
        "def output_fn(answer, accept): return answer\n"
    )
    bucket = line.outputs["TrainingBucketName"]
    line.cloud.client("s3").put_object(
        Bucket=bucket, Key=f"models/{name}.tar.gz", Body=packed(**{"code/inference_py": code})
    )
    container = {
        "Image": IMAGE,
        "ModelDataUrl": f"s3://{bucket}/models/{name}.tar.gz",
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
    }
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "AllTraffic", "ModelName": name, **SERVERLESS}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    _update(line, name)
    try:
        drill = Drill(line, name)
        for number in range(len(answers)):
            drill.upload({f"{number:02d}.png": (part(200 + number), frozenset({"ERROR"}))})
        rows = drill.wait()
        assert all(len(row["reason"]) <= 500 for row in rows)
        return drill.account(rows)
    finally:
        _update(line, before)


# ------------------------------------------------------------------ what they do it with


def _update(line: Line, config: str) -> None:
    endpoint = line.outputs["EndpointName"]
    line.cloud.client("sagemaker").update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    settled = Laboratory(line.cloud).settled(endpoint)
    assert (settled["EndpointStatus"], settled["EndpointConfigName"]) == ("InService", config), settled


def _waiting(line: Line, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = line.cloud.client("sqs").get_queue_attributes(QueueUrl=line.outputs[queue], AttributeNames=names)
    return sum(int(value) for value in attributes["Attributes"].values())


@contextlib.contextmanager
def _environment(line: Line, functions: Sequence[str], variables: Mapping[str, str]) -> Iterator[None]:
    """Give functions more environment variables for a while."""
    client = line.cloud.client("lambda")
    names = [function["FunctionName"] for function in client.list_functions()["Functions"]]
    table = line.outputs["ResultsTableName"]
    before = {}
    for name in names:
        own = client.get_function_configuration(FunctionName=name).get("Environment", {}).get("Variables", {})
        # There may be a second application in the cloud.
        if name.endswith(tuple(functions)) and own.get("RESULTS_TABLE") == table:
            before[name] = own
    assert len(before) == len(functions), (names, list(before))
    for name, own in before.items():
        client.update_function_configuration(FunctionName=name, Environment={"Variables": {**own, **variables}})
    try:
        yield
    finally:
        for name, own in before.items():
            client.update_function_configuration(FunctionName=name, Environment={"Variables": own})


def _commands(line: Line) -> dict[int, tuple[str, dict[str, str]]]:
    """Command line and environment of the cloud's processes."""
    processes = {}
    for pid in belonging(line.cloud.settings.folder):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            pairs = Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
            processes[pid] = command, dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return processes


def _containers(line: Line) -> list[int]:
    return [pid for pid, (command, _) in _commands(line).items() if "container.py" in command]


def _functions(line: Line) -> dict[int, str]:
    return {
        pid: environment["AWS_LAMBDA_FUNCTION_NAME"]
        for pid, (command, environment) in _commands(line).items()
        if "awslambdaric" in command
        and environment.get("RESULTS_TABLE", line.outputs["ResultsTableName"])
        and "AWS_LAMBDA_FUNCTION_NAME" in environment
    }


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
