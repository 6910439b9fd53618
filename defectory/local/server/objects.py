"""S3 with objects of hundreds of megabytes: files, never held in memory.

MiniStack keeps objects in files (``S3_PERSIST``), but reads a whole file for each request, however small its range,
and keeps the bytes of every version of a versioned bucket.  Here a large file is mapped and answered in pieces, and
versions stay where they are.  The cloud's own builds reach objects as files, so artifacts do not travel over HTTP.

An object is two files, its content and its ``.meta.json``, which change together (``object_files``).
"""

from __future__ import annotations

import contextvars
import json
import mmap
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from ministack.core.responses import StreamingResponse
from ministack.services import s3

from defectory.local.server import object_files
from defectory.local.server.hooks import replace, require
from defectory.local.server.services import Extension, ServiceFault

# Smaller ones are read at once.
LARGE = 4 * 1024 * 1024
PIECE = 1024 * 1024

_answering: contextvars.ContextVar[bool] = contextvars.ContextVar("answering", default=False)


class Objects(Extension):
    """What is in S3, as files."""

    def __init__(self, incoming: Path) -> None:
        """``incoming`` is a folder on the same file system as the objects."""
        self._incoming = incoming
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._disk_path = require(s3, "_object_disk_path", "bucket", "key")
        self._record = require(s3, "_build_object_record", "body", "headers", "etag")
        self._record_version = require(s3, "_record_object_version", "bucket_name", "key", "prior_obj", "obj", "data")
        self._notify = require(s3, "_fire_s3_event_async", "bucket_name", "key", "event_name", "size", "etag")
        self._ensure_bucket = require(s3, "_ensure_bucket", "name")
        _answer_in_pieces()
        _keep_versions_in_files()
        _change_files_together()
        _keep_what_was_begun()
        self._persist = require(s3, "_persist_object", "bucket", "key", "obj")

    def incoming(self) -> Path:
        """A path that no file has yet, for ``adopt``."""
        return self._incoming / secrets.token_hex(8)

    def path(self, bucket: str, key: str) -> Path:
        """The file of an object, for reading only: a new version is a new file.

        Raises:
            ServiceFault: there is no such bucket or object.
        """
        if key not in self._bucket(bucket)["objects"]:
            raise ServiceFault("NoSuchKey", f"The object {key} does not exist in the bucket {bucket}.")
        return Path(self._disk_path(bucket, key))

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The keys of the objects that begin with ``prefix``, sorted.

        Raises:
            ServiceFault: there is no such bucket.
        """
        return sorted(key for key in self._bucket(bucket)["objects"] if key.startswith(prefix))

    def adopt(self, path: Path, bucket: str, key: str, content_type: str = "application/zip") -> dict[str, Any]:
        """Make the file an object, by moving it; return MiniStack's record of the object.

        Raises:
            ServiceFault: there is no such bucket.
        """
        record = self._bucket(bucket)
        size = path.stat().st_size
        # Not the MD5 of the content, no more than that of an object uploaded in parts; nobody has to read it all.
        object_record: dict[str, Any] = self._record(
            b"", {"content-type": content_type}, f'"{secrets.token_hex(16)}-1"'
        )
        object_record |= {"body": None, "size": size}
        prior = record["objects"].get(key)
        version = self._record_version(bucket, key, prior, object_record, None)
        record["objects"][key] = object_record
        self._persist(bucket, key, object_record, path)
        self._notify(bucket, key, "s3:ObjectCreated:Put", size=size, etag=object_record["etag"], version_id=version)
        return object_record

    def copy(self, source: tuple[str, str], target: tuple[str, str]) -> dict[str, Any]:
        """Copy an object from one (bucket, key) to another; return MiniStack's record of the copy.

        Raises:
            ServiceFault: there is no such bucket or object.
        """
        copied = self.incoming()
        origin = self.path(*source)
        try:
            # Files of objects are replaced, never changed, so two objects may share one.
            os.link(origin, copied)
        except OSError:
            shutil.copyfile(origin, copied)
        return self.adopt(copied, *target)

    def _bucket(self, name: str) -> dict[str, Any]:
        bucket: dict[str, Any] | None = self._ensure_bucket(name)
        if bucket is None:
            raise ServiceFault("NoSuchBucket", f"The bucket {name} does not exist.")
        return bucket


def _answer_in_pieces() -> None:
    disk_path = require(s3, "_object_disk_path", "bucket", "key")

    @replace(s3, "_read_body", "bucket_name", "key", "obj")
    def read_body(original: Any, bucket: str, key: str, record: dict[str, Any]) -> Any:  # noqa: ANN401
        if not _answering.get() or record.get("body") is not None or record.get("size", 0) < LARGE:
            return original(bucket, key, record)
        with Path(disk_path(bucket, key)).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @replace(s3, "_get_object", "bucket_name", "key", "headers", "query_params")
    def get_object(original: Any, *request: Any) -> Any:  # noqa: ANN401
        token = _answering.set(True)
        try:
            status, headers, body = original(*request)
        finally:
            _answering.reset(token)
        if isinstance(body, mmap.mmap):
            headers.setdefault("Content-Length", str(len(body)))
            body = _in_pieces(body)
        return status, headers, body


def _in_pieces(body: mmap.mmap) -> StreamingResponse:
    async def run(send: Any, _receive: Any) -> None:  # noqa: ANN401
        with body:
            for start in range(0, len(body), PIECE):
                await send({"type": "http.response.body", "body": body[start : start + PIECE], "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return StreamingResponse(run)


def _change_files_together() -> None:
    disk_path = require(s3, "_object_disk_path", "bucket", "key")
    describe = require(s3, "_object_meta_from_record", "obj")
    history = require(s3, "_key_history_meta", "bucket_name", "key")
    other_path = require(s3, "_other_key_disk_path", "base", "key", "fpath")
    remove = require(s3, "_remove_key_files", "fpath")
    root = require(s3, "DATA_DIR")
    account = require(s3, "get_account_id")

    @replace(s3, "_persist_object", "bucket", "key", "obj")
    def persist(_: Any, bucket: str, key: str, obj: dict[str, Any], content: Path | None = None) -> None:  # noqa: ANN401
        """Write an object; fails where MiniStack would log that it failed, and acknowledge what is in memory alone."""
        target = Path(disk_path(bucket, key))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        meta = {**describe(obj), **history(bucket, key), "key": key}
        # Without content, what is there stays.
        object_files.write(target, obj.get("body") if content is None else content, json.dumps(meta))
        obj["body"] = None
        remove(other_path(os.path.join(root, account(), bucket), key, str(target)))  # noqa: PTH118 - a string to MiniStack


def _keep_what_was_begun() -> None:
    """Let the state of S3 hold uploads in parts and the locks of objects, which MiniStack forgets at each end."""
    kept = require(s3, "_PERSISTED_BUCKET_DICTS")
    for name in (
        "multipart_uploads",
        "completed_multipart_uploads",
        "object_retention",
        "object_legal_hold",
    ):
        kept[name] = require(s3, f"_{name}")


def _keep_versions_in_files() -> None:
    @replace(s3, "_version_entry_from_record", "obj", "version_id", "data")
    def version_entry(original: Any, record: dict[str, Any], version_id: str, _data: object) -> Any:  # noqa: ANN401
        return original(record, version_id, None)
