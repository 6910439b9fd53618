"""A bucket in S3: files that users upload, and datasets made of them, of any number of objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, TypeVar

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from defectory.aws.clients import aws_client, error_code, service_errors
from defectory.errors import ImageError, InputError

MAX_BYTES = 100_000_000
"""Larger files are refused before they are read, and so are longer lines."""

CONTENT_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".manifest": "application/jsonlines",
    ".txt": "text/plain; charset=utf-8",
    ".yaml": "application/yaml; charset=utf-8",
    ".html": "text/html; charset=utf-8",
}
# Small objects are waited for, not computed; a client keeps as many connections.
_THREADS = 10
_AT_A_TIME = 500

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True, order=True)
class StoredObject:
    """An object as a listing has it; with the content, ``etag`` changes."""

    key: str
    size: int
    etag: str


class Bucket:
    """The bucket ``name``.  Every method may raise ``ServiceError``."""

    def __init__(self, name: str, client: BaseClient | None = None) -> None:
        self.name = name
        self._client = client or aws_client("s3")

    def keys(self, prefix: str) -> list[str]:
        """Keys that start with ``prefix``, sorted; the empty objects that stand for folders left out."""
        return [entry.key for entry in self.objects(prefix)]

    def objects(self, prefix: str) -> list[StoredObject]:
        """The objects whose keys start with ``prefix``, in the order of `keys`."""
        with service_errors(f"list s3://{self.name}/{prefix}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
            entries = [
                StoredObject(entry["Key"], entry["Size"], entry["ETag"])
                for page in pages
                for entry in page.get("Contents", ())
            ]
        return sorted(entry for entry in entries if not entry.key.endswith("/"))

    def read(self, key: str, *, most: int = MAX_BYTES) -> bytes:
        """An object's content, of ``most`` bytes at most.

        Raises:
            InputError: there is none.
            ImageError: it is too large.
        """
        content = self.find(key, most=most)
        if content is None:
            raise InputError(key, f"an object in s3://{self.name}", fix="It is gone, or was never there; upload it.")
        return content

    def find(self, key: str, *, most: int = MAX_BYTES) -> bytes | None:
        """An object's content, of ``most`` bytes at most; None if there is none.

        Raises:
            ImageError: it is too large.
        """
        with service_errors(f"read s3://{self.name}/{key}"):
            try:
                reply = self._client.get_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error_code(error) in ("NoSuchKey", "404"):
                    return None
                raise
            if reply["ContentLength"] > most:
                reply["Body"].close()
                raise ImageError(key, f"at most {most:,} bytes", reply["ContentLength"])
            content: bytes = reply["Body"].read()
        return content

    def read_all(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Contents of many small objects with their keys, in the order of ``keys``; some hundred are held at a time."""
        with ThreadPoolExecutor(_THREADS) as pool:
            for names in _chunks(keys):
                yield from zip(names, pool.map(self.read, names), strict=True)

    def lines(self, key: str) -> Iterator[bytes]:
        """The lines of a large object, one after the other; none where there is no such object.

        Raises:
            InputError: a line is too long.
        """
        with service_errors(f"read s3://{self.name}/{key}"):
            try:
                reply = self._client.get_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error_code(error) in ("NoSuchKey", "404"):
                    return
                raise
            yield from _lines(reply["Body"].iter_chunks(1 << 16), key)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write objects by key, in their order: where the last one is, all are."""
        for key, content in files.items():
            self._put(key, content)

    def write_all(self, files: Iterable[tuple[str, bytes]], *, only_new: bool = False) -> None:
        """Write many small objects, each with its key, in any order; some hundred are held at a time.

        With ``only_new`` those stay as they are that are there already.
        """
        write = self.write_new if only_new else self._put
        with ThreadPoolExecutor(_THREADS) as pool:
            for chunk in _chunks(files):
                list(pool.map(lambda file: write(*file), chunk))

    def write_stream(self, key: str, pieces: Iterable[bytes]) -> None:
        """Write an object of any size from its pieces: whole, or not at all."""
        with TemporaryFile() as stream:
            stream.writelines(pieces)
            stream.seek(0)
            self.write_file(key, stream)

    def write_file(self, key: str, stream: IO[bytes]) -> None:
        """Write an object of any size from a file that is open at its start: whole, or not at all."""
        with service_errors(f"write s3://{self.name}/{key}"):
            self._client.upload_fileobj(stream, self.name, key, ExtraArgs={"ContentType": _content_type(key)})

    def write_new(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; return whether there was none."""
        with service_errors(f"write s3://{self.name}/{key}"):
            try:
                self._client.put_object(
                    Bucket=self.name, Key=key, Body=content, ContentType=_content_type(key), IfNoneMatch="*"
                )
            except ClientError as error:
                if error_code(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
                    return False
                raise
        return True

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects; what is not there is no error.  Their earlier versions stay for as long as versions do."""
        with ThreadPoolExecutor(_THREADS) as pool:
            for names in _chunks(keys):
                list(pool.map(self._delete, names))

    def _delete(self, key: str) -> None:
        with service_errors(f"remove s3://{self.name}/{key}"):
            self._client.delete_object(Bucket=self.name, Key=key)

    def _put(self, key: str, content: bytes) -> None:
        with service_errors(f"write s3://{self.name}/{key}"):
            self._client.put_object(Bucket=self.name, Key=key, Body=content, ContentType=_content_type(key))


def _chunks(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    iterator = iter(entries)
    while chunk := list(islice(iterator, _AT_A_TIME)):
        yield chunk


def _lines(chunks: Iterable[bytes], key: str) -> Iterator[bytes]:
    """The lines of what comes in ``chunks``, without their ends."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        parts.append(first)
        size += len(first)
        if size > MAX_BYTES:
            raise InputError(key, f"lines of at most {MAX_BYTES:,} bytes")
        for line in rest:
            yield b"".join(parts).removesuffix(b"\r")
            parts, size = [line], len(line)
    if size:
        yield b"".join(parts)


def _content_type(key: str) -> str:
    suffix = key[key.rfind(".") :] if "." in key else ""
    return CONTENT_TYPES.get(suffix.lower(), "application/octet-stream")
