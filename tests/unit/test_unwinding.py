"""Unwinding: a signal ends a block as an error does, once, and never between a folder's making and its removal."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
import zipfile
from pathlib import Path

import pytest

from defectory.local.archives import write as write_archive
from defectory.unwinding import temporary_folder, unwinding

ENDINGS = {signal.SIGTERM: SystemExit, signal.SIGHUP: SystemExit, signal.SIGINT: KeyboardInterrupt}


@pytest.fixture(autouse=True)
def handlers_stay():
    # Whoever runs the tests may ignore SIGHUP, as nohup does.
    outside = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    before = [signal.getsignal(number) for number in ENDINGS]
    yield
    assert [signal.getsignal(number) for number in ENDINGS] == before
    signal.signal(signal.SIGHUP, outside)


@pytest.mark.parametrize("number", ENDINGS)
def test_a_signal_ends_the_block_and_its_folders(number, tmp_path):
    with pytest.raises(ENDINGS[number]) as ended, temporary_folder("outer-", tmp_path) as outer:
        (outer / "file").touch()
        with temporary_folder("inner-", tmp_path):
            assert len(list(tmp_path.iterdir())) == 2
            signal.raise_signal(number)

    assert list(tmp_path.iterdir()) == []
    if number != signal.SIGINT:
        assert ended.value.code == 128 + number


@pytest.mark.parametrize("number", ENDINGS)
def test_a_signal_while_a_folder_is_made_waits_until_it_can_be_removed(number, tmp_path, monkeypatch):
    # Given a signal right after the folder was made, before anybody knows of it
    make = tempfile.mkdtemp

    def interrupted(*arguments):
        folder = make(*arguments)
        signal.raise_signal(number)
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", interrupted)

    with pytest.raises(ENDINGS[number]), temporary_folder("a-", tmp_path):
        pytest.fail("the block began")

    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_a_folder_is_removed_waits_until_it_is_gone(tmp_path, monkeypatch):
    remove = tempfile.TemporaryDirectory.cleanup

    def interrupted(folder):
        signal.raise_signal(signal.SIGTERM)
        remove(folder)

    monkeypatch.setattr(tempfile.TemporaryDirectory, "cleanup", interrupted)

    with pytest.raises(SystemExit), temporary_folder("a-", tmp_path):
        pass

    assert list(tmp_path.iterdir()) == []


def test_a_second_signal_does_not_stop_the_work_of_the_first(tmp_path):
    finished = []

    with pytest.raises(SystemExit), unwinding():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            finished.append(True)

    assert finished
    # And the next block can be ended again
    with pytest.raises(KeyboardInterrupt), unwinding():
        signal.raise_signal(signal.SIGINT)


def test_a_handler_of_the_programs_own_stays(tmp_path):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
    try:
        with temporary_folder("a-", tmp_path) as folder:
            signal.raise_signal(signal.SIGTERM)
            assert folder.is_dir()
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard
    assert list(tmp_path.iterdir()) == []


def test_a_thread_has_folders_and_no_handlers(tmp_path):
    seen: list[object] = []

    def work():
        with temporary_folder("a-", tmp_path) as folder:
            seen.extend((signal.getsignal(signal.SIGTERM), Path(folder).is_dir()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [signal.SIG_DFL, True]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", ENDINGS)
def test_what_fails_because_a_signal_cut_it_short_does_not_hide_the_signal(number, tmp_path):
    with pytest.raises(ENDINGS[number]) as ended, temporary_folder("a-", tmp_path):
        try:
            signal.raise_signal(number)
        finally:
            # As an archive that is left in the middle of an entry.
            raise ValueError("cannot be closed")

    assert list(tmp_path.iterdir()) == []
    if number != signal.SIGINT:
        assert ended.value.code == 128 + number


def test_a_signal_in_the_middle_of_an_archives_entry_waits_for_its_end(tmp_path, monkeypatch):
    close = zipfile._ZipWriteFile.close

    def interrupted(entry):
        signal.raise_signal(signal.SIGINT)
        close(entry)

    monkeypatch.setattr(zipfile._ZipWriteFile, "close", interrupted)
    file, archive = tmp_path / "file", tmp_path / "archive.zip"
    file.write_bytes(b"content")

    with pytest.raises(KeyboardInterrupt), unwinding():
        write_archive(archive, [(file, "one"), (file, "two")])

    assert zipfile.ZipFile(archive).namelist() == ["one"]


def test_an_error_after_a_signal_that_was_dealt_with_is_an_error():
    with pytest.raises(ValueError, match="own"), unwinding():
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ValueError("of its own")
