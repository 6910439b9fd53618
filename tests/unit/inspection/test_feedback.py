"""Feedback: what people say of verdicts becomes the next version of the dataset, and nothing else does."""

from __future__ import annotations

import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.datasets import Dataset, ImageRecord, compare_versions, load_dataset, save_dataset
from defectory.errors import InputError
from defectory.inspection.feedback import Feedback, append_feedback, latest, merge_feedback, read_feedback
from defectory.vision.images import encode_png

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def word(image: object, confirmed="anomaly", minutes=0, verdict="PASS", **more) -> Feedback:
    when = NOON + timedelta(minutes=minutes)
    return Feedback(image=str(image), verdict=verdict, confirmed=confirmed, who="ann", when=when, **more)


def photo(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)))
    return path


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """Two good parts and a scratched one with its mask, known by their references in S3."""
    root = tmp_path / "parts"
    mask = photo(root / "mask.png", 9)
    colours = {"scratch": "#d62728"}
    return Dataset(
        (
            ImageRecord(photo(root / "a.png", 1), "normal", source_ref="s3://parts/a.png"),
            ImageRecord(photo(root / "b.png", 2), "normal", source_ref="s3://parts/b.png"),
            ImageRecord(
                photo(root / "c.png", 3), "anomaly", ("scratch",), mask, colours, source_ref="s3://parts/c.png"
            ),
        ),
        root,
    )


def told(dataset: Dataset) -> dict[str, tuple]:
    return {r.path.name: (r.label, r.classes, r.mask is not None) for r in dataset.records}


@pytest.mark.parametrize("image", ["a.png", "s3://parts/a.png", "{root}/a.png", "s3://elsewhere/a.png"])
def test_a_corrected_label_is_taken_over_whatever_the_image_is_called(dataset, image):
    new = merge_feedback(dataset, [word(image.format(root=dataset.root), classes=("dent",))])
    assert told(new)["a.png"] == ("anomaly", ("dent",), False)
    assert told(new)["b.png"] == told(dataset)["b.png"]


def test_the_new_version_says_what_changed_and_from_which(dataset, tmp_path):
    # Given a version that is merged and stored
    new = merge_feedback(dataset, [word("a.png", classes=("dent",)), word(photo(tmp_path / "d.png", 4), "normal")])
    save_dataset(new, tmp_path / "next/dataset.json")
    # When it is loaded to train on
    loaded = load_dataset(tmp_path / "next")
    # Then it knows its parent, and how it differs from it
    assert loaded.parent == dataset.version
    assert [line.partition(":")[0] for line in loaded.changes] == ["added", "relabelled"]
    assert loaded.changes[1] == "relabelled: a.png, normal -> anomaly (dent)"
    assert compare_versions(dataset, loaded).summary().endswith("1 added, 1 relabelled.")


def test_what_is_confirmed_as_it_was_changes_nothing(dataset):
    assert merge_feedback(dataset, [word("a.png", "normal"), word("c.png", "anomaly", verdict="FAIL")]) is dataset


def test_a_part_found_good_loses_classes_and_mask(dataset):
    assert told(merge_feedback(dataset, [word("c.png", "normal")]))["c.png"] == ("normal", (), False)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [((), ("scratch",)), (("scratch",), ("scratch",)), (("dent",), ("dent",))],
)
def test_a_mask_stays_as_long_as_it_marks_what_the_person_saw(dataset, classes, expected):
    new = merge_feedback(dataset, [word("c.png", classes=classes)])
    assert told(new)["c.png"] == ("anomaly", expected, expected == ("scratch",))


def test_the_latest_word_counts_whatever_the_order_of_lines(dataset):
    words = [word("a.png", "normal", 0), word("a.png", "anomaly", 2, classes=("dent",)), word("a.png", "normal", 1)]
    for order in (words, words[::-1]):
        assert told(merge_feedback(dataset, order))["a.png"] == ("anomaly", ("dent",), False)
    assert [w.confirmed for w in latest(words)] == ["anomaly"]


def test_a_new_image_is_added_once(dataset, tmp_path):
    # Given one upload that two people looked at under two names
    new = photo(tmp_path / "uploads/d.png", 4)
    shutil.copy(new, tmp_path / "uploads/e.png")
    words = [word("d.png", "normal", 0, source_ref="s3://uploads/d.png"), word("e.png", "anomaly", 1)]
    # When their words are merged, then the picture is there once, as the last of them said
    merged = merge_feedback(dataset, words, images=tmp_path / "uploads")
    (added,) = merged.records[3:]
    assert (added.label, added.path, added.source_ref) == ("anomaly", new, "s3://uploads/d.png")


def test_an_upload_of_a_known_picture_relabels_all_its_copies(dataset, tmp_path):
    shutil.copy(dataset.root / "a.png", dataset.root / "copy.png")
    both = dataset.select([*dataset.records, ImageRecord(dataset.root / "copy.png", "normal")])
    shutil.copy(dataset.root / "a.png", tmp_path / "upload.png")
    merged = merge_feedback(both, [word(tmp_path / "upload.png")])
    assert told(merged)["a.png"][0] == told(merged)["copy.png"][0] == "anomaly"
    assert len(merged.records) == 4


def test_another_picture_uploaded_under_a_known_name_is_a_new_image(dataset, tmp_path):
    upload = photo(tmp_path / "confirmed/1.png", 8)
    merged = merge_feedback(dataset, [word(upload, source_ref="s3://parts/a.png")])
    assert told(merged)["a.png"][0] == "normal"
    assert told(merged)["1.png"][0] == "anomaly"


def test_what_models_are_compared_on_is_never_learnt_from(dataset, tmp_path):
    frozen = Dataset((ImageRecord(photo(tmp_path / "test/x.png", 5), "normal"),), tmp_path / "test")
    shutil.copy(frozen.records[0].path, tmp_path / "again.png")
    assert merge_feedback(dataset, [word(tmp_path / "again.png")], frozen=frozen) is dataset


def test_an_image_that_is_nowhere_is_named_with_what_to_do(dataset):
    with pytest.raises(InputError, match=r"feedback of ann, image: .*gone\.png.*Copy it into"):
        merge_feedback(dataset, [word("s3://uploads/gone.png")])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 50)), max_size=12), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_order_of_lines_does_not_matter(tmp_path_factory, said, chance: random.Random):
    # Given words on three images, no two on one image at the same time
    root = tmp_path_factory.getbasetemp() / "order"
    base = Dataset(tuple(ImageRecord(photo(root / f"{n}.png", ord(n)), "normal") for n in "abc"), root)
    unique = {(name, minutes): bad for name, bad, minutes in said}
    words = [word(f"{n}.png", "anomaly" if bad else "normal", minutes) for (n, minutes), bad in unique.items()]
    shuffled = chance.sample(words, len(words))
    # When they are merged in any order, then the version is the same, and its labels are the last words
    merged = merge_feedback(base, shuffled)
    assert merged.version == merge_feedback(base, words).version
    for name in "abc":
        times = [minutes for key, minutes in unique if key == name]
        expected = bool(times) and unique[name, max(times)]
        assert told(merged)[f"{name}.png"][0] == ("anomaly" if expected else "normal")


# ------------------------------------------------------------------ files


def test_a_feedback_file_is_read_as_it_was_written(tmp_path):
    words = [word("s3://b/検\u2028査 +%.png", note="sieht\nkratzig aus"), word("b.png", "normal", verdict=None)]
    append_feedback(tmp_path / "new/feedback.jsonl", words[:1])
    append_feedback(tmp_path / "new/feedback.jsonl", words[1:])
    assert read_feedback(tmp_path / "new/feedback.jsonl") == tuple(words)


def test_images_beside_the_file_get_their_whole_path(tmp_path):
    path = photo(tmp_path / "images/1.png", 1)
    append_feedback(tmp_path / "feedback.jsonl", [word("images/1.png"), word("1.png")])
    assert [w.image for w in read_feedback(tmp_path / "feedback.jsonl")] == [str(path), "1.png"]


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("{", "line 2, line"),
        ('{"image": "a"}', "line 2, confirmed"),
        ('{"image": "a", "confirmed": "good", "who": "x", "when": "2026-11-21T00:00:00Z"}', "line 2, confirmed"),
        ('{"image": "a", "confirmed": "normal", "who": "x", "when": "2026-11-21T00:00:00"}', "line 2, when"),
        (
            '{"image": "a", "confirmed": "normal", "who": "x", "when": "2026-11-21T00:00:00Z", "classes": ["b"]}',
            "line 2",
        ),
        ('{"image": "", "confirmed": "normal", "who": "x", "when": "2026-11-21T00:00:00Z"}', "line 2, image"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, place):
    file = tmp_path / "feedback.jsonl"
    append_feedback(file, [word("a.png")])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(InputError, match=place):
        read_feedback(file)


@pytest.mark.parametrize(
    ("verdict", "confirmed", "corrects"),
    [("PASS", "anomaly", True), ("FAIL", "normal", True), ("PASS", "normal", False), ("FAIL", "anomaly", False),
     ("REVIEW", "anomaly", False), (None, "anomaly", False)],
)  # fmt: skip
def test_only_a_wrong_verdict_is_corrected(verdict, confirmed, corrects):
    assert word("a.png", confirmed, verdict=verdict).corrects is corrects
