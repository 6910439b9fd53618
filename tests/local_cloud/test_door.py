"""Who is let into the local cloud: what web pages, other names and people without its secret send, over the wire."""

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import boto3
import pytest
from botocore import UNSIGNED
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from defectory.errors import InputError, LocalCloudError
from defectory.local import instance
from defectory.local.cloud import LocalCloud, connect
from tests.local_cloud.intruder import TEMPLATE, assert_untouched
from tests.local_cloud.roles import create_role
from tests.local_cloud.signed import DIGEST, FORM, Answer, presign, send, send_raw, sign

pytestmark = pytest.mark.xdist_group("local-cloud-door")

EVIL = "http://evil.example"
CREATE = urlencode(
    {"Action": "CreateStack", "Version": "2010-05-15", "StackName": "intruder", "TemplateBody": json.dumps(TEMPLATE)}
).encode()
FORMED = {"Content-Type": FORM}
ITEM = json.dumps({"QueueName": "intruder"}).encode()
QUEUE = {"X-Amz-Target": "AmazonSQS.CreateQueue", "Content-Type": "application/x-amz-json-1.0"}
INVOKE = "/2015-03-31/functions/intruder/invocations"


@pytest.fixture(autouse=True)
def untouched(guarded: LocalCloud) -> Iterator[None]:
    """Whatever a test sends, nothing comes of it."""
    yield
    assert_untouched(guarded)


def assert_refused(answer: Answer, code: str) -> None:
    assert 400 <= answer.status < 500
    assert code in answer.content.decode() + dict(answer.headers)["x-amzn-errortype"]
    assert answer.permissive == []


FOREIGN = {
    "page": {"Origin": EVIL},
    "page-of-another-port": {"Origin": "http://localhost:1"},
    "page-in-a-bucket": {"Origin": "http://album.localhost:1"},
    "sandboxed-page-or-file": {"Origin": "null"},
    "extension": {"Origin": "chrome-extension://abcdefghijklmnop"},
    "image-or-script": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "script-of-another-port": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    "form": {"Origin": EVIL, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    "link": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
}
REQUESTS = {
    "stack": ("POST", "/", CREATE, FORMED),
    "queue": ("POST", "/", ITEM, {**QUEUE, "Content-Type": "text/plain"}),
    "invoke": ("POST", INVOKE, b"{}", {"Content-Type": "text/plain"}),
    "object": ("PUT", "/album/photo.txt", b"replaced", {"Content-Type": "text/plain"}),
    "read": ("GET", "/album/photo.txt", b"", {}),
    "reset": ("POST", "/_ministack/reset", b"", {}),
    "configure": ("POST", "/_ministack/config", b"{}", {"Content-Type": "text/plain"}),
    "health": ("GET", "/_localstack/health", b"", {}),
    "preflight": ("OPTIONS", "/album/photo.txt", b"", {"Access-Control-Request-Method": "PUT"}),
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN.keys())
def test_pages_of_others_are_refused_signed_or_not(guarded: LocalCloud, headers: dict[str, str]) -> None:
    for method, path, body, own in REQUESTS.values():
        assert_refused(send(guarded, method, path, body, {**own, **headers}), "AccessDenied")
        signed = sign(guarded, method, path, body, own)
        assert_refused(send(guarded, method, path, body, {**signed, **headers}), "AccessDenied")


NAMES = {
    "evil": EVIL.removeprefix("http://"),
    "evil-with-port": "evil.example:{port}",
    "localhost-in-front": "localhost.evil.example:{port}",
    "address-in-front": "127.0.0.1.evil.example:{port}",
    "localhost-in-the-end": "evillocalhost:{port}",
    "bucket-of-aws": "album.s3.amazonaws.com",
    "other-port": "localhost:1",
    "no-port": "localhost",
    "empty": "",
    "user": "evil@localhost:{port}",
    "path": "localhost:{port}/evil",
    "spaced": "localhost: {port}",
    "number": "2130706433:{port}",
    "half-an-address": "127.1:{port}",
    "unfinished": "[::1:{port}",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_other_names_are_refused_signed_or_not(guarded: LocalCloud, name: str) -> None:
    host = {"Host": name.format(port=guarded.settings.port)}
    for method, path, body, own in REQUESTS.values():
        assert_refused(send(guarded, method, path, body, {**own, **host}), "AccessDenied")
        signed = sign(guarded, method, path, body, {**own, **host})
        assert_refused(send(guarded, method, path, body, {**signed, **host}), "AccessDenied")


@pytest.mark.parametrize(
    "hosts",
    [[], ["localhost:{port}", "evil.example"], ["evil.example", "localhost:{port}"], ["localhost:{port}"] * 2],
    ids=["none", "evil-second", "evil-first", "twice"],
)
def test_no_host_or_two_are_refused(guarded: LocalCloud, hosts: list[str]) -> None:
    lines = "".join(f"Host: {host.format(port=guarded.settings.port)}\r\n" for host in hosts)
    length = f"Content-Type: {FORM}\r\nContent-Length: {len(CREATE)}\r\n"
    request = f"POST / HTTP/1.1\r\n{lines}{length}Connection: close\r\n\r\n".encode() + CREATE
    assert send_raw(guarded.settings.port, request).split()[1] in (b"400", b"403")


def test_a_websocket_is_refused(guarded: LocalCloud) -> None:
    request = (
        f"GET /_aws/execute-api/x/y HTTP/1.1\r\nHost: localhost:{guarded.settings.port}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert send_raw(guarded.settings.port, request.encode()).split()[1] == b"403"


@pytest.mark.parametrize(("method", "path", "body", "own"), REQUESTS.values(), ids=REQUESTS.keys())
def test_nothing_is_done_unsigned(
    guarded: LocalCloud, method: str, path: str, body: bytes, own: dict[str, str]
) -> None:
    code = "CORS is not enabled" if method == "OPTIONS" else "MissingAuthenticationToken"
    assert_refused(send(guarded, method, path, body, own), code)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"secret": "local"}, "SignatureDoesNotMatch"),
        ({"secret": "test"}, "SignatureDoesNotMatch"),
        ({"account": "999999999999"}, "InvalidClientTokenId"),
        ({"account": "test"}, "InvalidClientTokenId"),
        ({"account": "AKIAIOSFODNN7EXAMPLE"}, "InvalidClientTokenId"),
        ({"ago": timedelta(minutes=16)}, "RequestExpired"),
        ({"ago": timedelta(minutes=-16)}, "RequestExpired"),
        ({"ago": timedelta(days=1)}, "RequestExpired"),
    ],
    ids=["old-constant", "ministacks", "account", "ministacks-key", "unknown-key", "late", "early", "yesterday"],
)
def test_wrong_signatures_are_refused(guarded: LocalCloud, wrong: dict, code: str) -> None:
    signed = sign(guarded, "POST", "/", CREATE, FORMED, **wrong)
    assert_refused(send(guarded, "POST", "/", CREATE, signed), code)


def test_an_address_that_is_right_is_answered(guarded: LocalCloud) -> None:
    """Or what is refused here would prove nothing."""
    body = b"Action=ListStacks&Version=2010-05-15"
    answer = send(guarded, "POST", "/", body, sign(guarded, "POST", "/", body, FORMED))
    assert (answer.status, answer.permissive) == (200, [])
    for host in (f"127.0.0.1:{guarded.settings.port}", f"[::1]:{guarded.settings.port}"):
        signed = sign(guarded, "POST", "/", body, {**FORMED, "Host": host})
        assert send(guarded, "POST", "/", body, {**signed, "Host": host}).status == 200
    own = {"Origin": guarded.endpoint, "Sec-Fetch-Site": "same-origin"}
    assert send(guarded, "POST", "/", body, {**sign(guarded, "POST", "/", body, FORMED), **own}).status == 200


class TestReplay:
    """What somebody does who has seen a signed request."""

    def test_with_another_body(self, guarded: LocalCloud) -> None:
        harmless = b"Action=ListStacks&Version=2010-05-15"
        signed = sign(guarded, "POST", "/", harmless, FORMED)
        assert_refused(send(guarded, "POST", "/", CREATE, signed), "SignatureDoesNotMatch")
        digest = {DIGEST: hashlib.sha256(harmless).hexdigest()}
        assert_refused(send(guarded, "POST", "/", CREATE, {**signed, **digest}), "SignatureDoesNotMatch")
        for free in ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "anything"):
            answer = send(guarded, "POST", "/", CREATE, {**signed, DIGEST: free})
            assert_refused(answer, "InvalidRequest" if free == "anything" else "SignatureDoesNotMatch")

    def test_of_an_upload_with_another_body(self, guarded: LocalCloud) -> None:
        signed = sign(guarded, "PUT", "/album/photo.txt", b"a photo", service="s3")
        answer = send(guarded, "PUT", "/album/photo.txt", b"another", signed)
        assert_refused(answer, "XAmzContentSHA256Mismatch")

    @pytest.mark.parametrize(
        ("method", "path", "more"),
        [
            ("DELETE", "/", {}),
            ("POST", "/_ministack/reset", {}),
            ("POST", "/?Action=DeleteStack", {}),
            ("POST", "/", {"X-Amz-Target": "AmazonSQS.CreateQueue"}),
            ("POST", "/", {"X-Amz-Date": "20300101T000000Z"}),
            ("POST", "/", {"X-Amz-Date": "tomorrow"}),
        ],
        ids=["method", "path", "query", "another-operation", "another-time", "no-time"],
    )
    def test_with_something_else_changed(
        self, guarded: LocalCloud, method: str, path: str, more: dict[str, str]
    ) -> None:
        body = b"Action=ListStacks&Version=2010-05-15"
        signed = sign(guarded, "POST", "/", body, FORMED)
        assert_refused(send(guarded, method, path, body, {**signed, **more}), "")

    def test_at_another_host_of_the_same_server(self, guarded: LocalCloud) -> None:
        signed = sign(guarded, "GET", "/photo.txt", service="s3")
        host = {"Host": f"album.localhost:{guarded.settings.port}"}
        assert send(guarded, "GET", "/photo.txt", headers={**signed, **host}).status == 403


CLICK = FOREIGN["link"]


class TestPresigned:
    """Addresses that hold their signature, as mails do."""

    def test_a_click_in_a_mail_opens_it(self, guarded: LocalCloud) -> None:
        answer = send(guarded, "GET", presign(guarded, "/album/photo.txt"), headers=CLICK)
        assert (answer.status, answer.content, answer.permissive) == (200, b"a photo", [])

    def test_boto3_makes_them(self, guarded: LocalCloud) -> None:
        place = {"Bucket": "album", "Key": "photo.txt"}
        url = guarded.client("s3").generate_presigned_url("get_object", Params=place)
        host = {"Host": url.split("/")[2]}
        answer = send(guarded, "GET", "/" + url.split("/", 3)[3], headers=host)
        assert (answer.status, answer.content) == (200, b"a photo")

    @pytest.mark.parametrize(
        "headers",
        [
            {**CLICK, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
            {**CLICK, "Sec-Fetch-Dest": "iframe"},
            {**CLICK, "Origin": EVIL},
            {**CLICK, "Host": "evil.example"},
        ],
        ids=["image", "frame", "origin", "host"],
    )
    def test_no_page_uses_it(self, guarded: LocalCloud, headers: dict[str, str]) -> None:
        assert send(guarded, "GET", presign(guarded, "/album/photo.txt"), headers=headers).status == 403

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("photo.txt", "other.txt"),
            ("X-Amz-Expires=60", "X-Amz-Expires=600000"),
            ("X-Amz-Expires=60", "X-Amz-Expires=" + "9" * 5000),
            ("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=600"),
            ("X-Amz-Signature=", "X-Amz-Signature=0"),
            ("X-Amz-Signature=", "x-amz-signature="),
            ("X-Amz-Signature=", "X-Amz-Signature=&X-Amz-Signature="),
            ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        ],
        ids=["path", "longer", "endless", "two-times", "signature", "lower-case", "two-signatures", "algorithm"],
    )
    def test_tampered_ones_are_refused(self, guarded: LocalCloud, old: str, new: str) -> None:
        path = presign(guarded, "/album/photo.txt")
        assert old in path
        assert_refused(send(guarded, "GET", path.replace(old, new)), "")

    def test_others_than_of_this_cloud_are_refused(self, guarded: LocalCloud) -> None:
        path = presign(guarded, "/album/photo.txt", secret="local")
        assert_refused(send(guarded, "GET", path), "SignatureDoesNotMatch")

    def test_expired_ones_are_refused(self, guarded: LocalCloud) -> None:
        for ago in (timedelta(seconds=90), timedelta(days=8), -timedelta(minutes=20)):
            assert_refused(send(guarded, "GET", presign(guarded, "/album/photo.txt", ago=ago)), "AccessDenied")

    def test_another_method_is_refused(self, guarded: LocalCloud) -> None:
        path = presign(guarded, "/album/photo.txt")
        assert_refused(send(guarded, "PUT", path, b"replaced"), "SignatureDoesNotMatch")
        assert_refused(send(guarded, "DELETE", path), "SignatureDoesNotMatch")

    def test_older_kinds_are_told_what_to_do(self, guarded: LocalCloud) -> None:
        path = "/album/photo.txt?AWSAccessKeyId=123456789012&Expires=4000000000&Signature=AAAA"
        assert_refused(send(guarded, "GET", path), "s3v4")


def in_pieces(cloud: LocalCloud, pieces: list[bytes]) -> tuple[bytes, dict[str, str]]:
    """An upload as SDKs sign it piece by piece: its body and headers."""
    headers = {
        DIGEST: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-decoded-content-length": str(sum(map(len, pieces))),
        "Content-Encoding": "aws-chunked",
    }
    signed = sign(cloud, "PUT", "/album/photo.txt", headers=headers, service="s3")
    scope = f"{datetime.now(UTC):%Y%m%d}/{cloud.settings.region}/s3/aws4_request"
    key = f"AWS4{cloud.settings.secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    before = signed["Authorization"].rpartition("=")[2]
    body = b""
    for piece in (*pieces, b""):
        digests = f"{hashlib.sha256(b'').hexdigest()}\n{hashlib.sha256(piece).hexdigest()}"
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{signed['X-Amz-Date']}\n{scope}\n{before}\n{digests}"
        before = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        body += f"{len(piece):x};chunk-signature={before}\r\n".encode() + piece + b"\r\n"
    return body, signed


def test_a_body_signed_in_pieces_is_verified_in_pieces(guarded: LocalCloud) -> None:
    body, signed = in_pieces(guarded, [b"a ", b"photo"])
    assert send(guarded, "PUT", "/album/photo.txt", body, signed).status == 200
    answer = send(guarded, "PUT", "/album/photo.txt", body.replace(b"photo", b"other"), signed)
    assert_refused(answer, "SignatureDoesNotMatch")


def test_boto3_raises_its_own_exceptions(guarded: LocalCloud) -> None:
    def stranger(service: str) -> BaseClient:
        return connect(service, guarded.endpoint, guarded.settings.account, "local", guarded.settings.region)

    asked = {
        "s3": lambda client: client.put_object(Bucket="album", Key="x", Body=bytes(20_000_000)),
        "sqs": lambda client: client.list_queues(),
        "cloudformation": lambda client: client.list_stacks(),
        "lambda": lambda client: client.list_functions(),
        "dynamodb": lambda client: client.list_tables(),
        "sagemaker-runtime": lambda client: client.invoke_endpoint(EndpointName="x", Body=b"x"),
    }
    for service, ask in asked.items():
        with pytest.raises(ClientError, match=r"SignatureDoesNotMatch.*local status --env"):
            ask(stranger(service))


def test_a_client_without_credentials_is_told_where_they_are(guarded: LocalCloud) -> None:
    place = {"endpoint_url": guarded.endpoint, "region_name": "us-east-1"}
    unsigned = boto3.client("s3", **place, config=Config(signature_version=UNSIGNED))
    with pytest.raises(ClientError, match=r"MissingAuthenticationToken.*local status --env"):
        unsigned.list_objects_v2(Bucket="album")


def test_keys_that_the_cloud_gave_out_are_taken(guarded: LocalCloud) -> None:
    iam = guarded.client("iam")
    reading = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::album/*"}
    role = create_role(guarded, "guest", reading)
    given = guarded.client("sts").assume_role(RoleArn=role, RoleSessionName="guest")["Credentials"]

    def guest(**changed: str) -> BaseClient:
        keys = {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }
        return boto3.client("s3", endpoint_url=guarded.endpoint, region_name="us-east-1", **{**keys, **changed})

    assert guest().get_object(Bucket="album", Key="photo.txt")["Body"].read() == b"a photo"
    for wrong in ({"aws_secret_access_key": guarded.settings.secret}, {"aws_session_token": "guess"}):
        with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|InvalidAccessKeyId"):
            guest(**wrong).get_object(Bucket="album", Key="photo.txt")
    iam.delete_role_policy(RoleName="guest", PolicyName="own")
    iam.delete_role(RoleName="guest")


def test_no_reply_is_for_pages_to_read(guarded: LocalCloud) -> None:
    """Also where a bucket has rules of CORS."""
    for path in ("/album/photo.txt", "/album", "/", "/nobodys"):
        answer = send(guarded, "GET", path, headers=sign(guarded, "GET", path, service="s3"))
        assert answer.permissive == []


def test_each_start_makes_a_secret_that_is_nowhere_to_be_seen(guarded: LocalCloud, tmp_path: Path) -> None:
    with LocalCloud(state=tmp_path) as cloud:
        secret = cloud.settings.secret
        cloud.client("s3").list_buckets()
        assert len(secret) > 30
        assert secret != guarded.settings.secret
        assert secret not in repr(cloud.settings)
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            assert secret.encode() not in entry.read_bytes()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert kept == []
    with LocalCloud(state=tmp_path) as cloud:
        assert cloud.settings.secret != secret
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            connect("s3", cloud.endpoint, cloud.settings.account, secret, "us-east-1").list_buckets()


class TestFolders:
    """Other users of the machine read nothing."""

    def test_state_is_for_its_user(self, tmp_path: Path) -> None:
        folder = tmp_path / "state"
        folder.mkdir(mode=0o755)
        with LocalCloud(state=folder):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_a_temporary_folder_is_for_its_user(self, guarded: LocalCloud) -> None:
        assert stat.S_IMODE(guarded.settings.folder.stat().st_mode) == 0o700

    def test_one_that_was_open_is_closed_again(self, tmp_path: Path) -> None:
        instance.make_private(tmp_path / "state")
        os.close(instance.lock(tmp_path / "state"))
        (tmp_path / "state").chmod(0o777)
        instance.make_private(tmp_path / "state")
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700

    def test_one_with_other_things_is_left_as_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").touch()
        tmp_path.chmod(0o755)
        with pytest.raises(InputError, match=r"state: .*thesis\.txt"):
            LocalCloud(state=tmp_path).start()
        with pytest.raises(LocalCloudError, match="chmod 700"):
            instance.make_private(tmp_path)
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755

    def test_the_note_is_for_its_user(self, tmp_path: Path, guarded: LocalCloud) -> None:
        running = {name: getattr(guarded.settings, name) for name in ("account", "secret", "region", "folder")}
        told = {"pid": 1, "started_at": "now", "persistent": False, "outbox": guarded.outbox_folder}
        before = os.umask(0)
        try:
            instance.note(tmp_path, instance.Instance(endpoint=guarded.endpoint, **running, **told))
        finally:
            os.umask(before)
        note = tmp_path / instance.NOTE
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        assert guarded.settings.secret in note.read_text()
