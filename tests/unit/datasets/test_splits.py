"""Splits: stratified, seeded, stored; no part and no copy on both sides; synthetic images never in the test set."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.datasets import Dataset, ImageRecord, group, load_dataset, load_split, split
from defectory.errors import InputError


def dataset(*told: tuple[str, str], **options) -> Dataset:
    """A dataset that knows its images' digests, so that none has to be there: (name, class) each."""
    records = []
    for name, kind in told:
        label = None if kind == "?" else "normal" if kind == "normal" else "anomaly"
        records.append(ImageRecord(Path(f"/parts/{name}"), label, (kind,) if label == "anomaly" else (), **options))
    digests = {record.path: f"digest of {record.path.name}" for record in records}
    return Dataset(tuple(records), Path("/parts"), digests=digests)


def many(normal=40, **classes) -> Dataset:
    told = [(f"normal {n}", "normal") for n in range(normal)]
    return dataset(*told, *((f"{kind} {n}", kind) for kind, count in classes.items() for n in range(count)))


def kinds(part: Dataset) -> Counter:
    return Counter(record.classes[0] if record.classes else record.label for record in part.records)


def test_every_label_and_class_gives_its_share():
    parts = split(many(40, scratch=20, dent=10, crack=1), test=0.3, seed=5)
    assert kinds(parts.test) == {"normal": 12, "scratch": 6, "dent": 3}
    assert kinds(parts.train) == {"normal": 28, "scratch": 14, "dent": 7, "crack": 1}


@pytest.mark.parametrize(
    ("normal", "share", "tested"),
    [
        # 2.5 of 10: two and three are equally near, and the fewer are taken.
        (10, 0.25, 2),
        (10, 0.3, 3),
        (10, 0.26, 3),
        (10, 0.95, 9),
        (3, 0.3, 1),
    ],
)
def test_as_many_are_tested_on_as_come_nearest_to_the_share(normal, share, tested):
    assert len(split(many(normal), test=share).test.records) == tested


def test_without_a_word_three_of_ten_are_tested_on_and_the_seed_is_0():
    parts = split(many(20))

    assert (len(parts.test.records), parts.seed, parts.share) == (6, 0, 0.3)
    assert parts.test.version == split(many(20), test=0.3, seed=0).test.version


def test_a_group_of_several_strata_counts_for_its_rarest():
    # Two of four scratched images share a group with a good one; 18 more are good.  With the groups, the scratched are
    # six images, and of the good 18 stand alone: nine of those are tested on, whichever groups are.
    base = many(20, scratch=4)
    grouped = [replace(record, group={"0": "a", "1": "b"}.get(record.path.name[-1], "")) for record in base.records]
    grouped = [replace(r, group="" if len(r.path.name) == len("normal 10") else r.group) for r in grouped]
    parts = split(Dataset(tuple(grouped), base.root, digests=base.digests), test=0.5)

    assert sum(record.label == "normal" and not record.group for record in parts.test.records) == 9
    assert len([record for record in parts.test.records if record.group or record.label == "anomaly"]) == 3


def test_a_group_with_an_unlabelled_or_a_synthetic_image_is_trained_on():
    base = dataset(*((f"{n}", "normal") for n in range(20)), ("x", "?"), ("y", "dent"))
    records = [
        replace(record, group="a" if record.path.name in "0x" else "b" if record.path.name in "1y" else "")
        for record in base.records
    ]
    records[-1] = replace(records[-1], synthetic=True)
    for seed in range(4):
        tested = split(Dataset(tuple(records), base.root, digests=base.digests), test=0.5, seed=seed).test.records
        assert len(tested) == 9
        assert not {"0", "1", "x", "y"} & {record.path.name for record in tested}


def test_the_same_content_and_seed_give_the_same_split_wherever_the_files_lie():
    # Given a dataset, and the same one moved and in another order
    here = many(30, scratch=10)
    there = Dataset(
        tuple(replace(r, path=Path("/moved") / r.path.name) for r in reversed(here.records)),
        Path("/moved"),
        digests={Path("/moved") / path.name: digest for path, digest in here.digests.items()},
    )
    # When both are split, then the parts are the same
    assert split(here, seed=3).test.version == split(there, seed=3).test.version
    assert split(here, seed=3).test.version != split(here, seed=4).test.version


def test_copies_of_an_image_stay_together():
    both = many(20)
    both.digests.update({path: f"digest {n // 2}" for n, path in enumerate(both.digests)})
    parts = split(both, test=0.5)
    contents = [{both.digests[record.path] for record in part.records} for part in (parts.train, parts.test)]
    assert contents[0].isdisjoint(contents[1])
    assert all(contents)


def test_images_without_a_label_are_not_tested_on():
    parts = split(dataset(*((f"{n}", "normal" if n % 2 else "?") for n in range(40))), test=0.5)
    assert not parts.test.unlabelled
    assert len(parts.train.unlabelled) == 20


@given(
    told=st.lists(
        st.tuples(
            st.sampled_from(["normal", "normal", "scratch", "dent"]),
            st.integers(0, 9),
            st.booleans(),
            st.integers(0, 60),
        ),
        min_size=2,
        max_size=60,
    ),
    test=st.floats(0.1, 0.9),
    seed=st.integers(0, 5),
)
@settings(max_examples=150, deadline=None)
def test_no_group_and_no_copy_is_on_both_sides_and_nothing_synthetic_is_tested(told, test, seed):
    # Given any mixture of labels, groups, synthetic images and copies
    base = dataset(*((f"{n}", kind) for n, (kind, *_) in enumerate(told)))
    records = [
        replace(record, group=f"{number}" if number < 8 else "", synthetic=synthetic and record.label == "anomaly")
        for record, (_, number, synthetic, _) in zip(base.records, told, strict=True)
    ]
    digests = {record.path: f"{content}" for record, (*_, content) in zip(base.records, told, strict=True)}
    mixed = Dataset(tuple(records), base.root, digests=digests)
    # When it is split
    try:
        parts = split(mixed, test=test, seed=seed)
    except InputError as error:
        assert "large enough for normal images" in str(error)
        return
    # Then the parts hold all, share nothing, and only real images are tested on
    train, tested = parts.train.records, parts.test.records
    assert Counter((*train, *tested)) == Counter(records)
    assert not {r.group for r in train if r.group} & {r.group for r in tested if r.group}
    assert not {digests[r.path] for r in train} & {digests[r.path] for r in tested}
    assert not any(r.synthetic for r in tested)
    assert parts.test.normal
    assert parts.train.normal


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(InputError, match="above 0 and below 1"):
        split(many(), test=share)


@pytest.mark.parametrize(
    "small", [many(1), many(0, scratch=10), dataset(*((f"{n}", "normal") for n in range(9)), group="one")]
)
def test_a_dataset_that_leaves_one_part_without_good_parts_is_refused(small):
    with pytest.raises(InputError, match="large enough for normal images"):
        split(small)


def test_a_stored_split_is_read_back(parts, tmp_path):
    # Given a split of real files
    made = split(load_dataset(parts), test=0.3, seed=2)
    made.save(tmp_path / "split")
    # When it is read, then both parts, the seed and the share are as they were
    read = load_split(tmp_path / "split")
    assert (read.train.version, read.test.version) == (made.train.version, made.test.version)
    assert (read.seed, read.share, read.of) == (2, 0.3, made.of)
    # And each part is a dataset of its own
    assert load_dataset(tmp_path / "split/test.json").version == made.test.version


def test_a_part_that_was_replaced_is_noticed(parts, tmp_path):
    split(load_dataset(parts), seed=2).save(tmp_path / "a")
    split(load_dataset(parts), seed=3).save(tmp_path / "b")
    (tmp_path / "a/test.json").write_bytes((tmp_path / "b/test.json").read_bytes())
    with pytest.raises(InputError, match="Split the dataset again"):
        load_split(tmp_path / "a")


@pytest.mark.parametrize(
    "content", ["{", "[]", json.dumps({"of": "x", "seed": 0, "share": 2, "train": "", "test": ""})]
)
def test_a_broken_split_is_refused(tmp_path, content):
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(InputError, match="a stored split"):
        load_split(tmp_path)
    with pytest.raises(InputError, match="a stored split"):
        load_split(tmp_path / "none")


# ------------------------------------------------------------------ groups


def numbered(*names: str) -> Dataset:
    return dataset(*((name, "normal") for name in names))


def groups(made: Dataset) -> list[str]:
    return [record.group for record in made.records]


def test_a_pattern_finds_the_group_in_the_path():
    made = group(numbered("line1/part7_a.png", "line1/part7_b.png", "line2/part8.png", "other.png"), r"part(\d+)")
    assert groups(made) == ["7", "7", "8", ""]


def test_a_pattern_without_a_group_takes_all_it_matches():
    assert groups(group(numbered("a/1.png", "b/1.png", "b/2.png"), r"^\w")) == ["a", "b", "b"]


def test_running_numbers_close_together_are_one_part():
    # Given frames of three parts, whose numbers go on while the next part comes
    made = numbered("e1_num_85781.jpg", "e2_num_85846.jpg", "e1_num_8.jpg", "e3_num_85900.jpg", "e1_num_86100.jpg")
    assert groups(group(made, r"num_(\d+)", gap=100)) == ["85781", "85781", "8", "85781", "86100"]
    assert len(set(groups(group(made, r"num_(\d+)", gap=10)))) == 5


@pytest.mark.parametrize(
    ("pattern", "gap", "message"),
    [
        ("(", None, "a regular expression"),
        ("(a)(b)", None, "one group"),
        ("no such", None, "found in the paths"),
        (r"(\w+)\.png", 5, "whole numbers"),
        (r"(\d+)", -1, "0 or more"),
    ],
)
def test_a_bad_pattern_is_refused(pattern, gap, message):
    with pytest.raises(InputError, match=message):
        group(numbered("part7.png"), pattern, gap=gap)


def test_synthetic_images_made_from_tested_ones_are_in_neither_part():
    base = dataset(*((f"{n}", "normal") for n in range(20)))
    made = [
        replace(
            record, path=base.root / f"made/{number}.png", label="anomaly", synthetic=True, made_from=(f"{number}",)
        )
        for number, record in enumerate(base.records)
    ]
    digests = {record.path: f"{number}" for number, record in enumerate(base.records)}
    digests |= {record.path: f"made {number}" for number, record in enumerate(made)}
    parts = split(Dataset((*base.records, *made), base.root, digests=digests), test=0.25)
    tested = {digests[record.path] for record in parts.test.records}
    assert len(tested) == 5
    assert {record.made_from[0] for record in parts.left_out} == tested
    assert Counter((*parts.train.records, *parts.test.records, *parts.left_out)) == Counter((*base.records, *made))
