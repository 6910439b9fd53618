"""Artifacts: what is written is read again, and what a hostile script may have left in them is refused."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.aws.tokens import TokenUsage
from defectory.errors import InputError
from defectory.sensors.authors import Script
from defectory.sensors.pipeline.artifacts import (
    DATASET_FILES,
    MAX_REASON_LENGTH,
    MAX_REASONS,
    RUN_FILE,
    RunLog,
    RunRecord,
    accept_dataset,
    bounded,
    fresh_folder,
    read_artifact,
    read_regular_file,
    read_script,
    seed_of,
    write_artifact,
    write_script,
)


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "Datasets" / "etcher"
    folder.mkdir(parents=True)
    for name in DATASET_FILES:
        (folder / name).write_text(f"content of {name}")
    return folder


def test_a_script_comes_back_as_it_was_but_is_never_trusted(tmp_path):
    script = Script(
        "print('µ')\r\n",
        author="bedrock",
        trusted=True,
        prompt="do",
        model_id="m",
        prompt_style="freeform",
        tokens=TokenUsage(input=4, output=3, cache_read=2, cache_write=1),
        tier="flex",
    )

    write_script(tmp_path, "etcher", script)

    assert read_script(tmp_path, "etcher") == replace(script, trusted=False)


def test_a_log_comes_back_as_it_was(tmp_path):
    log = RunLog(machines=(RunRecord(slug="etcher", reasons=("half a year",), layers=("seccomp",), seconds=1.5),))

    write_artifact(tmp_path, RUN_FILE, log)

    assert read_artifact(tmp_path, RUN_FILE, RunLog) == log


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"machines": [{"slug": "../../etc"}]}',
        '{"machines": [{"slug": "a/b"}]}',
        '{"machines": [{"slug": "etcher", "surprise": 1}]}',
        '{"machines": [{"slug": "etcher", "reasons": ["' + "x" * (MAX_REASON_LENGTH + 1) + '"]}]}',
    ],
)
def test_a_broken_or_hostile_file_is_refused(tmp_path, content):
    (tmp_path / RUN_FILE).write_text(content)

    with pytest.raises(InputError, match=r"run\.json"):
        read_artifact(tmp_path, RUN_FILE, RunLog)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"run\.json.*No such file"):
        read_artifact(tmp_path, RUN_FILE, RunLog)


def test_a_file_over_the_limit_is_refused(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 11)

    assert read_regular_file(tmp_path / "big", 11) == b"x" * 11
    with pytest.raises(InputError, match="at most 10 bytes"):
        read_regular_file(tmp_path / "big", 10)


def test_a_dataset_is_taken_over_without_what_does_not_belong_to_it(dataset, tmp_path):
    (dataset / "payload.py").write_text("import os")

    accept_dataset(dataset, tmp_path / "taken")

    assert {path.name: path.read_text() for path in (tmp_path / "taken").iterdir()} == {
        name: f"content of {name}" for name in DATASET_FILES
    }


@pytest.mark.parametrize("kind", ["symbolic link", "named pipe", "folder", "nothing"])
@pytest.mark.parametrize("name", DATASET_FILES)
def test_a_dataset_of_anything_but_regular_files_is_refused(dataset, tmp_path, name, kind):
    path = dataset / name
    path.unlink()
    match kind:
        case "symbolic link":
            path.symlink_to("/etc/passwd")
        case "named pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()

    with pytest.raises(InputError, match=name):
        accept_dataset(dataset, tmp_path / "taken")


def test_a_dataset_behind_a_link_is_refused(dataset, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(dataset)

    with pytest.raises(InputError, match="link"):
        accept_dataset(link, tmp_path / "taken")


def test_a_fresh_folder_keeps_nothing_of_an_earlier_run(dataset):
    assert list(fresh_folder(dataset).iterdir()) == []


@given(st.lists(st.text(st.characters(), max_size=2000), max_size=60))
def test_reasons_always_fit_and_can_always_be_stored(reasons):
    kept = bounded(reasons)

    record = RunRecord(slug="etcher", reasons=kept)
    assert RunRecord.model_validate_json(record.model_dump_json()) == record
    assert len(kept) == min(len(reasons), MAX_REASONS)


@given(st.integers(0, 2**32 - 1), st.text(min_size=1))
def test_seeds_are_stable_and_fit_any_generator(seed, slug):
    assert seed_of(seed, slug) == seed_of(seed, slug)
    assert 0 <= seed_of(seed, slug) < 2**31


def test_machines_and_requests_have_seeds_of_their_own():
    assert len({seed_of(seed, slug) for seed in range(20) for slug in ("etcher", "furnace", "mill")}) == 60
