"""The browser that some tests drive, where there is one: ``make browser`` brings it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: 'make browser' brings it")


def command(home: Path, *arguments: str) -> list[str]:
    """The command that runs it without a window; ``home`` is a folder for its profile."""
    assert BROWSER is not None
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    quiet += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    return [BROWSER, *quiet, f"--user-data-dir={home}", *arguments]


def environment(home: Path) -> dict[str, str]:
    """What it runs with; ``home`` as for ``command``."""
    return os.environ | {"HOME": str(home)}
