"""Errors: they leave a worker process as they were raised in it."""

from __future__ import annotations

import pickle

import pytest

from defectory.errors import DefectoryError, ImageError, InputError, MissingExtraError, ServiceError, UnwritableError


@pytest.mark.parametrize(
    "error",
    [
        DefectoryError("It failed."),
        ServiceError("It is busy."),
        InputError("count", "above 0", -1, "Ask for more."),
        ImageError("a.png", "an image"),
        UnwritableError("out", "a folder", "No space left on device", "out", "Make room."),
        MissingExtraError("aws", "boto3"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_back_from_its_bytes(error):
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
