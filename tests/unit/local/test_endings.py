"""Why a server has ended, in words."""

from pathlib import Path

import pytest

from defectory.local.endings import describe, out_of_memory_kills


@pytest.mark.parametrize(
    ("status", "out_of_memory", "words"),
    [
        (1, False, "exited with status 1"),
        (137, False, "was killed by SIGKILL, by somebody or something else"),
        (137, True, "was killed by SIGKILL, for want of memory"),
        (-9, False, "was killed by SIGKILL, by somebody or something else"),
        (139, True, "was ended by SIGSEGV"),
        (255, False, "exited with status 255"),
    ],
)
def test_exit_is_described(status: int, out_of_memory: bool, words: str) -> None:
    assert describe(status, out_of_memory) == words


def test_kills_for_want_of_memory_are_counted_where_the_kernel_says(tmp_path: Path) -> None:
    statistics = tmp_path / "vmstat"
    assert out_of_memory_kills(statistics) == 0
    statistics.write_text("pgfault 12\noom_kill 3\n")
    assert out_of_memory_kills(statistics) == 3
