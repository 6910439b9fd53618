"""The sample app of these tests as a cloud assembly, written as ``cdk synth`` would, and some ways to use it."""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from defectory.local.environment import DEFAULT_ACCOUNT, DEFAULT_REGION

SAMPLE = Path(__file__).parent / "sample"
STACK = "sample"
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
PATIENCE = 60.0

T = TypeVar("T")


def write_assembly(folder: Path, *, stack: str = STACK, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
    """Write the assembly; ``change`` may alter the template."""
    template = json.loads((SAMPLE / "template.json").read_text())
    if change:
        change(template)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stack}.template.json").write_text(json.dumps(template))
    bucket = f"cdk-hnb659fds-assets-{DEFAULT_ACCOUNT}-{DEFAULT_REGION}"
    files, keys = {}, {}
    for asset in ("function", "source"):
        content = b"".join(path.read_bytes() for path in sorted((SAMPLE / asset).rglob("*")) if path.is_file())
        digest = hashlib.sha256(content).hexdigest()
        shutil.copytree(SAMPLE / asset, folder / f"asset.{digest}", dirs_exist_ok=True)
        keys[asset] = f"{digest}.zip"
        files[digest] = {
            "source": {"path": f"asset.{digest}", "packaging": "zip"},
            "destinations": {"here": {"bucketName": bucket, "objectKey": keys[asset]}},
        }
    (folder / f"{stack}.assets.json").write_text(json.dumps({"version": "36.0.0", "files": files}))
    artifacts = {
        f"{stack}.assets": {"type": "cdk:asset-manifest", "properties": {"file": f"{stack}.assets.json"}},
        stack: {
            "type": "aws:cloudformation:stack",
            "dependencies": [f"{stack}.assets"],
            "properties": {
                "templateFile": f"{stack}.template.json",
                "parameters": {"Runtime": RUNTIME, "FunctionKey": keys["function"], "SourceKey": keys["source"]},
            },
        },
    }
    (folder / "manifest.json").write_text(json.dumps({"version": "36.0.0", "artifacts": artifacts}))
    return folder


def eventually(look: Callable[[], T], what: str) -> T:
    """What ``look`` returns as soon as it is something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"no {what} within {PATIENCE:.0f} s"
        time.sleep(0.05)
    return found
