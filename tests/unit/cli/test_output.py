"""What every command prints in the same way: progress that fits on a small terminal, and errors that name options."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from defectory.cli.options import named_as_options
from defectory.cli.output import progress_bars
from defectory.errors import InputError
from defectory.progress import Progress
from defectory.sensors.catalogue import industries, machines

LONGEST_MACHINE = max((machine.name for entry in industries() for machine in machines(entry.key)), key=len)


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)


def lines_of(terminal):
    """What the terminal was sent, line by line, without the moves of its cursor."""
    sent = terminal.file.getvalue().replace("\r", "\n")
    return [Text.from_ansi(line).plain for line in sent.split("\n")]


@pytest.mark.parametrize(
    ("stages", "total", "item"),
    [
        (["writing", "simulating", "repairing", "simulating again"], 50, LONGEST_MACHINE),
        (["good parts", "synthetic defects", "perturbations", "patchcore"], 10_000, ""),
        (["making pictures", "trying whether they help"], 10_000, ""),
    ],
    ids=["sensors", "training", "images"],
)
def test_progress_is_shown_whole_on_80_columns(terminal, stages, total, item):
    with progress_bars(console=terminal) as show:
        for stage in stages:
            show(Progress(stage, total, total, item))
    lines = lines_of(terminal)
    assert max(map(len, lines)) <= 80
    for stage in stages:
        last = [line for line in lines if line.startswith(stage)][-1].rstrip()
        assert f"{total}/{total} 0:00:0" in last
        assert last.endswith(item)
        assert "…" not in last


def test_nothing_is_shown_of_work_that_has_not_begun(terminal):
    with pytest.raises(InputError), progress_bars(console=terminal):
        raise InputError("out", "a folder")
    assert terminal.file.getvalue() == ""


def test_hidden_bars_show_nothing(terminal):
    with progress_bars(console=terminal, hidden=True) as show:
        show(Progress("checking", 1, 1))
    assert terminal.file.getvalue().strip() == ""


def test_errors_name_options_where_fields_were_given_by_them():
    with pytest.raises(InputError, match=r"^--defect: must be known, got 'x'\. Look\.$"), named_as_options("defect"):
        raise InputError("defect", "known", "x", "Look.")
    with pytest.raises(InputError, match=r"^dataset: must be"), named_as_options("defect"):
        raise InputError("dataset", "known")
