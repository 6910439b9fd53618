"""Writing: tried before any work, whole or not at all, and one line of what stops it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from defectory.errors import FailureKind, InputError, UnwritableError
from defectory.writing import disk_problem, try_file, try_folder, write_whole, writing_to

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_is_tried_where_it_will_be_made_and_nothing_is_left(tmp_path):
    try_folder(tmp_path / "a" / "b")
    try_file(tmp_path / "a" / "model.tar.gz")

    assert not list(tmp_path.iterdir())


def test_a_place_that_takes_nothing_is_bad_input_with_the_systems_word(tmp_path):
    file = tmp_path / "photo.png"
    file.write_bytes(b"mine")

    for place in (file, file / "below", tmp_path / ("n" * 300)):
        with pytest.raises(UnwritableError) as caught:
            try_folder(place)
        assert (caught.value.code, caught.value.exit_code, caught.value.field) == ("InvalidInput", 2, "out")
        assert caught.value.kind is FailureKind.ENVIRONMENT
    with pytest.raises(InputError, match="it is a folder"):
        try_file(tmp_path)
    assert file.read_bytes() == b"mine"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_nothing_is_told_before_work_begins(tmp_path, monkeypatch, number):
    def refuse(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)

    with pytest.raises(UnwritableError, match=os.strerror(number)):
        try_folder(tmp_path / "new")


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path, monkeypatch):
    file = write_whole(tmp_path / "new" / "file.json", b"first")
    assert file.stat().st_mode & 0o777 == 0o666 & ~_umask()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(file, b"second")

    assert [path.read_bytes() for path in file.parent.iterdir()] == [b"first"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_the_disk_refuses_is_told_from_all_else():
    assert disk_problem(FULL) == "No space left on device"
    # polars has no number.
    assert disk_problem(RuntimeError("No space left on device (os error 28)")) == "No space left on device"
    assert disk_problem(FileNotFoundError(errno.ENOENT, "No such file")) == ""
    assert disk_problem(ValueError("wrong")) == ""
    with pytest.raises(UnwritableError, match=r"out: .*No space left on device.*'made'"), writing_to(Path("made")):
        raise FULL
