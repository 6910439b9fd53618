"""Keys of objects in S3, where people name them."""

from __future__ import annotations

from defectory.errors import InputError

KEY_BYTES = 1024
"""What S3 takes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html."""


def check_key_length(field: str, key: str) -> None:
    """Refuse a key, or a prefix of keys, that no object can have.

    >>> check_key_length("source", "ann/photos/")

    Raises:
        InputError: it has more bytes than S3 takes; ``field`` is named.
    """
    size = len(key.encode("utf-8", "surrogatepass"))
    if size > KEY_BYTES:
        rule = f"at most {KEY_BYTES:,} bytes in UTF-8, as S3's keys are"
        raise InputError(field, rule, f"{size:,} bytes", "Give the files or folders shorter names.")
