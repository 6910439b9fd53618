"""Every block of every document is run as it stands, in a folder with nothing in it.

The README's blocks call the deployed application, so they are run by ``tests/local_cloud/test_readme.py``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from defectory.detection.batch.requests import parse_scenes_request
from defectory.detection.safety.camera_rules import parse_cameras
from defectory.images.batch.requests import parse_batch_request, parse_pictures_request
from defectory.inspection.line.confirming import parse_confirmation
from defectory.inspection.training_run import TrainingRequest
from defectory.sensors.service.fleets import parse_fleet
from tests.documents.blocks import (
    REASONS,
    ROOT,
    Block,
    BlockError,
    Command,
    Workplace,
    commands_of,
    documents,
    fault,
    prints,
    read_blocks,
    run_document,
)

README = ROOT / "README.md"
DOCUMENTS = documents()
WITH_BLOCKS = [
    path for path in DOCUMENTS if path != README and any(block.language != "mermaid" for block in read_blocks(path))
]


def name(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.fixture
def environment() -> dict[str, str]:
    """This process's variables without those that lead to somebody's AWS account."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    return variables | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    empty = tmp_path / "folder"
    empty.mkdir()
    return empty


@pytest.mark.parametrize("document", WITH_BLOCKS, ids=name)
def test_the_blocks_do_what_the_document_says(document: Path, folder: Path, environment: dict[str, str]) -> None:
    run_document(document, folder, environment)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_block_is_run_or_says_why_not(document: Path) -> None:
    assert [f"{block}: {fault(block)}" for block in read_blocks(document) if fault(block)] == []


def test_no_excuse_is_left_over() -> None:
    given = {block.reason for document in DOCUMENTS for block in read_blocks(document)} - {""}

    assert given == set(REASONS)


# Who reads what a command that is not run sends: by the function's name, or the variable of the state machine.
READERS: dict[str, Callable[[object], object]] = {
    "defectory-confirm-inspection": parse_confirmation,
    "defectory-set-safety-rules": parse_cameras,
    "defectory-synthesize-images": parse_pictures_request,
    "$SYNTHESIS_MACHINE_ARN": parse_batch_request,
    "$SCENES_MACHINE_ARN": parse_scenes_request,
    "$FLEET_MACHINE_ARN": lambda fleet: parse_fleet(fleet, 1000),
    "$TRAINING_MACHINE_ARN": TrainingRequest.model_validate,
}


def test_what_commands_that_are_not_run_send_is_what_is_read() -> None:
    # Given the blocks that need AWS, as commands of the shell
    excused = [block for document in DOCUMENTS for block in read_blocks(document) if block.reason]
    scripts = [re.sub(r"^\$ ", "", block.text, flags=re.MULTILINE).replace("\\\n", "") for block in excused]
    sent = set()
    for script in scripts:
        assert subprocess.run(["bash", "-nc", script]).returncode == 0, script
        words = shlex.split(script, comments=True)
        for option in {"--payload", "--input"} & set(words):
            # When what they send is given to the code that reads it there, then it is taken
            [target] = set(words) & set(READERS)
            READERS[target](json.loads(words[words.index(option) + 1]))
            sent.add(target)
    assert sent == set(READERS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = unquote(link).partition("#")
        if path.startswith(("http://", "https://")):
            continue
        target = document.parent / path if path else document
        assert target.exists(), f"{name(document)}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{name(document)}: {link}"


def anchors(document: Path) -> set[str]:
    """The headings of a document as links name them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ------------------------------------------------------------------ the runner itself


def block(language: str, text: str, **mark: str) -> Block:
    return Block(Path("page.md"), 1, language, text, **mark)


@pytest.fixture
def workplace(folder: Path, environment: dict[str, str]):
    with Workplace(folder, environment) as opened:
        yield opened


def test_blocks_are_found_with_their_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n<!-- file: a/b.yaml -->\n\n```yaml\nkey: 1\n```\n\n"
        "<!-- not run: needs an AWS account -->\n```\ncdk deploy\n```\n\n- item\n\n  ```python\n  x = 1\n  ```\n",
        encoding="utf-8",
    )

    blocks = read_blocks(page)

    assert [(found.line, found.language, found.text, found.file, found.reason) for found in blocks] == [
        (5, "yaml", "key: 1\n", "a/b.yaml", ""),
        (10, "", "cdk deploy\n", "", "needs an AWS account"),
        (16, "python", "x = 1\n", "", ""),
    ]


def test_a_fence_that_is_not_closed_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n", encoding="utf-8")
    with pytest.raises(BlockError, match="not closed"):
        read_blocks(page)


@pytest.mark.parametrize(
    ("unknown", "why"),
    [
        (block("", "defectory demo\n"), "unknown language"),
        (block("ruby", "puts 1\n"), "unknown language 'ruby'"),
        (block("console", "defectory demo\n"), "begins with"),
        (block("text", "first\ndefectory demo\n"), "a text holds a command: defectory demo"),
        (block("sh", "true\n", reason="no time"), "'no time' is none of"),
    ],
    ids=["no language", "another language", "no prompt", "hidden command", "unknown reason"],
)
def test_a_block_that_nobody_knows_how_to_run_is_an_error(workplace: Workplace, unknown: Block, why: str) -> None:
    assert why in fault(unknown)
    with pytest.raises(BlockError, match=r"page\.md:1"):
        workplace.run(unknown)


def test_commands_are_told_from_what_they_print() -> None:
    assert commands_of("$ one \\\n  two\nfirst\nsecond\n$ three\n") == [
        Command("one \\\n  two", "first\nsecond\n"),
        Command("three", None),
    ]


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("12 images.\n", "12 images.  \n\n", True),
        ("12 images, version ....\nDone\n", "12 images, version 0a1b.\nDone\n", True),
        ("first\n...\nlast\n", "first\n2\n3\nlast\n", True),
        ("12 images.\n", "13 images.\n", False),
        ("12 images.\n", "12 images.\nmore\n", False),
        ("1.5\n", "1x5\n", False),
    ],
)
def test_dots_stand_for_any_text(expected: str, printed: str, same: bool) -> None:
    assert prints(expected, printed) is same


def test_blocks_share_a_folder_and_python_its_names(workplace: Workplace) -> None:
    workplace.run(block("yaml", "key: 1\n", file="settings.yaml"))
    workplace.run(block("python", "from pathlib import Path\ntext = Path('settings.yaml').read_text()\n"))
    workplace.run(block("python", "Path('copy.yaml').write_text(text)\n"))

    assert workplace.run(block("console", "$ cat copy.yaml\nkey: ...\n")) == "key: 1\n"


@pytest.mark.parametrize(
    "wrong",
    [
        block("console", "$ echo one\ntwo\n"),
        block("console", "$ false\n"),
        block("sh", "false\ntrue\n"),
        block("sh", "false | true\n"),
        block("python", "import defectory.nothing\n"),
        block("python", "raise SystemExit(0)\n"),
    ],
    ids=["other output", "failure", "failure on the way", "failure in a pipe", "import", "exit"],
)
def test_a_block_that_fails_is_an_error(workplace: Workplace, wrong: Block) -> None:
    with pytest.raises(BlockError, match=r"page\.md:1"):
        workplace.run(wrong)


def test_what_is_left_in_the_background_ends_with_the_document(folder: Path, environment: dict[str, str]) -> None:
    with Workplace(folder, environment) as workplace:
        workplace.run(block("console", "$ sleep 600 & echo $! > process\n"))
        process = int((folder / "process").read_text())
        os.kill(process, 0)
    assert wait_for(lambda: not is_alive(process))


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
