"""The two files of an object: after a kill at any point they are what they were before the write, or after it."""

import contextlib
import json
import os
from pathlib import Path

import pytest

from defectory.local.server import object_files


class Killed(BaseException):
    """In the place of SIGKILL."""


def stored(target: Path) -> tuple[bytes, str]:
    return target.read_bytes(), json.loads(target.with_name(target.name + ".meta.json").read_text())["etag"]


@pytest.mark.parametrize("moved", [False, True], ids=["bytes", "a file"])
@pytest.mark.parametrize("step", range(6))
def test_kill_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, moved: bool) -> None:
    folder, incoming = tmp_path / "objects", tmp_path / "incoming"
    folder.mkdir()
    incoming.write_bytes(b"second")
    target = folder / "photo.png"
    object_files.write(target, b"first", '{"etag": "1"}')
    left = iter(range(step))

    def dying(original):
        def step_or_die(*arguments, **named):
            if next(left, None) is None:
                raise Killed
            return original(*arguments, **named)

        return step_or_die

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink"):
            patch.setattr(Path, name, dying(getattr(Path, name)))
        patch.setattr(os, "fdopen", dying(os.fdopen))
        with contextlib.suppress(Killed):
            object_files.write(target, incoming if moved else b"second", '{"etag": "2"}')
    object_files.settle(folder)
    assert stored(target) in ((b"first", "1"), (b"second", "2"))
    assert sorted(path.name for path in folder.iterdir()) == ["photo.png", "photo.png.meta.json"]


def test_half_written_description_is_dropped(tmp_path: Path) -> None:
    target = tmp_path / "photo.png"
    object_files.write(target, b"first", '{"etag": "1"}')
    (tmp_path / "photo.png.meta.json.tmp").write_text('{"etag": "2"')
    object_files.settle(tmp_path)
    assert stored(target) == (b"first", "1")


def test_content_that_stays_gets_a_new_description(tmp_path: Path) -> None:
    target = tmp_path / "photo.png"
    object_files.write(target, b"first", '{"etag": "1"}')
    object_files.write(target, None, '{"etag": "tagged"}')
    assert stored(target) == (b"first", "tagged")


def test_file_with_two_names_is_not_written_into(tmp_path: Path) -> None:
    """Copies of an object share a file: a copy onto itself leaves none beside it that the next write would open."""
    target, again = tmp_path / "photo.png", tmp_path / "incoming"
    object_files.write(target, b"first", '{"etag": "1"}')
    for _ in range(2):
        os.link(target, again)
        object_files.write(target, again, '{"etag": "2"}')
    object_files.write(tmp_path / "other.png", b"other", "{}")
    assert stored(target) == (b"first", "2")
    assert not list(tmp_path.glob("*.tmp"))
