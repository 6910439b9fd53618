"""Every command with --out tries it before it works."""

from __future__ import annotations

import pytest
import typer.main

from defectory.cli import app, main


def commands(command=None, path=()):
    command = command or typer.main.get_command(app)
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))
    if not getattr(command, "commands", {}) and any(option.name == "out" for option in command.params):
        yield path, command


WITH_OUT = dict(commands())


def test_there_are_commands_with_out():
    assert {("demo",), ("sensors", "generate"), ("images", "balance"), ("inspect", "train")} <= set(WITH_OUT)
    assert len(WITH_OUT) >= 14


@pytest.mark.parametrize("path", WITH_OUT, ids=" ".join)
def test_a_place_that_is_none_is_refused_in_one_line_before_anything_else(path, tmp_path, capsys):
    file = tmp_path / "photo.png"
    file.write_bytes(b"mine")
    required = []
    for option in WITH_OUT[path].params:
        if option.name == "out" or not option.required:
            continue
        # Whatever else it is: the command shall not come to look at it.
        value = {"form": "manifest"}.get(option.name, "1")
        required += [value] if option.param_type_name == "argument" else [option.opts[0], value]

    with pytest.raises(SystemExit) as ended:
        main([*path, *required, "--out", str(file / "below")])

    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.startswith("InvalidInput: out: must be a f")
    assert "Not a directory" in said.err
    assert said.err.count("\n") == 1
    assert file.read_bytes() == b"mine"
