"""``local up --state`` killed at a hundred random moments: every write that was acknowledged is there afterwards."""

from pathlib import Path

import pytest

from tests.support.kills import kill_repeatedly

KILLS = 100


def test_hundred_kills_lose_no_acknowledged_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acknowledged, lost = kill_repeatedly(tmp_path / "state", KILLS, seed=10, longest=1.0)
    with capsys.disabled():
        print(f"\n{KILLS} kills, {acknowledged} acknowledged writes, {len(lost)} lost")
    assert lost == []
    assert acknowledged > 10 * KILLS
