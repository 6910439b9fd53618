"""The README's examples, copied and pasted: every ``sh`` and ``python`` block runs, in order, in one folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.xdist_group("application")
def test_the_examples_run_as_they_stand(applications, tmp_path):
    app = applications["catalogue"]
    environment = app.cloud.process_environment(os.environ) | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(README.parent),
    }
    ran = []
    for language, block in BLOCKS:
        if "make demo" in block:
            continue  # the two commands: this very run is the one, and runs what the other runs
        command = ["bash", "-euc", block] if language == "sh" else [sys.executable, "-c", block]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, f"{block}\n{result.stdout}\n{result.stderr}"
        ran.append(result.stdout)
    assert len(ran) >= 4
    assert re.search(r"\(525600, \d+\)", "".join(ran))
    request = re.search(r"^(\S+) REQUESTED ", "".join(ran), re.MULTILINE)
    assert request, ran
    assert "'outcome': 'made'" in ran[-1], ran[-1]
    assert app.wait("jane", request.group(1))["status"] == "PUBLISHED"
    assert (tmp_path / "labels.csv").is_file()
