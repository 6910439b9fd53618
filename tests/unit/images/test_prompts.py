"""Prompts: what models are told, and a file of the user's own over ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.errors import InputError
from defectory.images.prompts import MODES, load_prompts
from defectory.images.renderers.procedural import KINDS

OURS = load_prompts()


@pytest.fixture
def load(tmp_path):
    """Loads a file with this text."""

    def loaded(text):
        file = tmp_path / "prompts.yaml"
        file.write_text(text, encoding="utf-8")
        return load_prompts(file)

    return loaded


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_that_can_be_drawn_is_described_too_and_each_otherwise(mode):
    texts = {kind: OURS.write(kind, mode).text for kind in KINDS}

    assert set(KINDS) <= set(OURS.kinds)
    assert len(set(texts.values())) == len(texts)
    assert all("{" not in text and OURS.part in text for text in texts.values())
    assert all(len(text) <= 512 for text in texts.values())  # the least that any model takes


def test_a_kind_that_nobody_described_is_told_by_its_name():
    assert "a clearly visible burn mark" in OURS.write("burn_mark", "inpaint").text


@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_the_users_own_words_are_passed_on_as_they_are(words):
    told = OURS.write("scratch", "inpaint", words)

    assert told.text.split() == words.split()
    assert told.negative == OURS.write("scratch", "inpaint").negative


def test_what_a_file_leaves_out_stays(load):
    prompts = load("part: ceramic tile\nkinds: {scratch: {description: a white line}, chip: {description: a chip}}")

    assert prompts.write("scratch", "inpaint").text.startswith("a white line, on the surface of a ceramic tile")
    assert "a chip" in prompts.write("chip", "zero-shot").text
    assert prompts.kinds["oil"] == OURS.kinds["oil"]
    assert prompts.negative == OURS.negative


def test_one_prompt_of_one_kind_can_be_replaced(load):
    prompts = load('kinds: {crack: {prompts: {inpaint: "macro of {defect}"}, negative: scratch}}')

    assert prompts.write("crack", "inpaint").text.startswith("macro of a hairline crack")
    assert prompts.write("crack", "inpaint").negative.endswith(", scratch")
    assert prompts.write("crack", "zero-shot") != prompts.write("crack", "inpaint")
    assert prompts.write("dent", "inpaint") == OURS.write("dent", "inpaint")


def test_braces_in_the_part_stay_as_they_are(load):
    assert "one {left} bracket" in load('part: "{left} bracket"').write("dent", "zero-shot").text


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("parts: tile", "prompts: parts", "extra inputs"),
        ("part: ''", "prompts: part", "at least 3 characters"),
        ("prompts: {inpaint: 'a {colour} {defect}'}", "prompts: prompts.inpaint", "not {colour}"),
        ("prompts: {inpaint: 'a { brace'}", "prompts: prompts.inpaint", "double it"),
        ("prompts: {repaint: 'a {defect}'}", "prompts: prompts.repaint", "'zero-shot'"),
        ("kinds: {Scratch: {description: a line}}", "prompts: kinds.Scratch", "pattern"),
        ("kinds: {burn: {negative: clean}}", "prompts: kinds.burn.description", "required"),
        ("kinds: {scratch: 3}", "prompts: kinds.scratch", "dictionary"),
        ("- a list", "prompts", "YAML file of settings"),
        ("a: [", "prompts", "a YAML file"),
        ("", "prompts", "YAML file of settings"),
    ],
)
def test_a_wrong_file_says_where_and_what(load, text, place, reason):
    with pytest.raises(InputError) as caught:
        load(text)

    assert caught.value.field == place
    assert reason in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_prompts(tmp_path / "none.yaml")


def test_a_file_of_other_bytes_is_told(tmp_path):
    file = tmp_path / "prompts.yaml"
    file.write_bytes(b"\xff\xfe\x00part")

    with pytest.raises(InputError, match="a YAML file"):
        load_prompts(file)
