"""Versions: the content decides, a stored dataset comes back, and what changed is said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.datasets import compare_versions, load_dataset, save_dataset
from defectory.errors import ImageError, InputError


def test_the_version_does_not_depend_on_places_or_order(parts, tmp_path):
    here = load_dataset(parts)
    shutil.copytree(parts, tmp_path / "moved")
    there = load_dataset(tmp_path / "moved")
    assert there.version == here.version
    assert there.select(there.records[::-1]).version == here.version
    assert not compare_versions(here, there)
    assert compare_versions(here, there).lines() == []


@pytest.mark.parametrize(
    "change",
    [
        {"label": "anomaly"},
        {"label": None},
        {"group": "7"},
        {"synthetic": True},
        {"classes": ("stain",)},
    ],
)
def test_the_version_changes_with_what_is_said(parts, change):
    old = load_dataset(parts)
    new = old.select([replace(old.records[5], **change), *(r for n, r in enumerate(old.records) if n != 5)])
    assert new.version != old.version
    assert compare_versions(old, new)


def test_the_version_changes_with_the_bytes_of_images_and_masks(parts):
    versions = {load_dataset(parts).version}
    for name in ("good/1.png", "masks/scratch/11.png"):
        (parts / name).write_bytes((parts / name).read_bytes() + b"\0")
        versions.add(load_dataset(parts).version)
    assert len(versions) == 3


def test_a_missing_file_has_no_version(parts):
    dataset = load_dataset(parts)
    (parts / "good/1.png").unlink()
    with pytest.raises(ImageError, match=r"good.1\.png.*No such file.*datasets check"):
        _ = dataset.version


def test_a_stored_dataset_comes_back(parts, tmp_path):
    dataset = replace(load_dataset(parts), parent="0123456789abcdef", changes=("added: x",))
    save_dataset(dataset, tmp_path / "stored/dataset.json")
    assert load_dataset(tmp_path / "stored") == dataset
    assert load_dataset(tmp_path / "stored/dataset.json").version == dataset.version


def test_notes_and_origins_are_stored_and_are_no_part_of_the_version(parts, tmp_path):
    plain = load_dataset(parts)
    told = replace(plain.records[0], made_from=("a" * 64, "b" * 64))
    noted = replace(plain.select([told, *plain.records[1:]]), notes={"gate": {"figures": [0.5, None, "x"]}})
    stored = load_dataset(save_dataset(noted, tmp_path / "stored/dataset.json"))
    assert stored.notes == noted.notes
    assert stored.records[0].made_from == told.made_from
    assert stored.version == plain.version


def test_a_stored_dataset_moves_with_its_images(parts, tmp_path):
    save_dataset(load_dataset(parts), parts / "dataset.json")
    version = load_dataset(parts).version
    parts.rename(tmp_path / "elsewhere")
    moved = load_dataset(tmp_path / "elsewhere")
    assert moved.version == version
    assert moved.root == tmp_path / "elsewhere"
    assert all(record.path.is_file() for record in moved.records)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content["images"][0].update(label="normal"), "version"),
        (lambda content: content["images"].pop(), "version"),
        (lambda content: content["images"][0].update(label="bad"), r"images\.0\.label"),
        (lambda content: content["images"][0].update(more=1), r"images\.0\.more"),
        (lambda content: content.update(format="other"), "format"),
        (lambda content: content.pop("images"), "images"),
    ],
)
def test_a_stored_dataset_changed_by_hand_is_refused(parts, tmp_path, edit, message):
    file = save_dataset(load_dataset(parts), tmp_path / "stored/dataset.json")
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        load_dataset(file)


@given(st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"null", b'{"format": "defectory-images"}']))
@settings(max_examples=50, deadline=None)
def test_any_other_json_is_refused(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"any\.json"):
        load_dataset(file)


def test_a_folder_that_cannot_be_made_is_named(parts, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="out"):
        save_dataset(load_dataset(parts), tmp_path / "file/dataset.json")


def test_what_changed_is_said_image_by_image(parts, photo):
    # Given a dataset of which one image goes, one comes, one is renamed, and others are told of anew
    old = load_dataset(parts)
    assert old.version
    (parts / "good/0.png").unlink()
    photo(parts / "good/new.png", 77)
    (parts / "good/1.png").rename(parts / "good/renamed.png")
    (parts / "good/2.png").rename(parts / "scratch/2.png")
    (parts / "scratch/10.png").rename(parts / "dent/10.png")
    (parts / "masks/scratch/11.png").unlink()
    # When the versions are compared
    new = load_dataset(parts)
    new = new.select([replace(r, group="lot 3") if r.path.name == "3.png" else r for r in new.records])
    changes = compare_versions(old, new)
    # Then each is said once, and the renamed one is not
    assert changes.lines() == [
        "added: good/new.png, normal",
        "removed: good/0.png, normal",
        "relabelled: dent/10.png, anomaly (scratch) -> anomaly (dent)",
        "relabelled: scratch/2.png, normal -> anomaly (scratch)",
        "annotated: good/3.png, group of its own -> lot 3",
        "annotated: scratch/11.png, mask removed",
    ]
    assert changes.summary() == (
        f"Version {old.version} -> {new.version}: 1 added, 1 removed, 2 relabelled, 2 annotated."
    )


def test_one_copy_more_is_an_image_added(parts):
    old = load_dataset(parts)
    assert old.version
    shutil.copy(parts / "good/4.png", parts / "good/copy.png")
    assert compare_versions(old, load_dataset(parts)).lines() == ["added: good/copy.png, normal"]
