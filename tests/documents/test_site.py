"""The site of the documentation: it is built, and every link within it leads somewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    # What Sphinx cannot resolve (a page, a heading, a name of the reference) is a warning, and each is an error here.
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    built = subprocess.run([*command, "docs", str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True)

    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "site/reference/defectory.html").read_text()
    assert 'href="defectory-inspection.html#defectory.inspection.training.train"' in reference
