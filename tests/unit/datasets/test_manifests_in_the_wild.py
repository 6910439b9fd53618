"""Manifests: read as tools really write them, refused with the line and the rule where they cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defectory.datasets import load_dataset
from defectory.datasets.manifests import manifest_line, read_manifest
from defectory.datasets.records import ImageRecord
from defectory.datasets.references import FileFinder
from defectory.errors import InputError


def line(name="a.jpg", label="anomaly", **changes):
    content = {
        "source-ref": f"s3://bucket/getting-started/training-images/{name}",
        "anomaly-label-metadata": {
            "job-name": "anomaly-label",
            "class-name": label,
            "human-annotated": "yes",
            "creation-date": "Mon Aug 22 2022 13:52:52 GMT-0700 (Pacific Daylight Time)",
            "type": "groundtruth/image-classification",
        },
        "anomaly-label": 1,
    }
    return {key: value for key, value in {**content, **changes}.items() if value is not None}


def masked(name="a.jpg", mask="a.png", colours=None, **changes):
    entries = colours or {"0": {"class-name": "cracked", "hex-color": "#23A436"}}
    return line(
        name,
        **{
            "anomaly-mask-ref": f"s3://bucket/getting-started/mask-images/{mask}",
            "anomaly-mask-ref-metadata": {"internal-color-map": entries, "type": "groundtruth/semantic-segmentation"},
            **changes,
        },
    )


@pytest.fixture
def manifest(tmp_path, photo):
    """Writes a manifest of these lines, with photos a.jpg and b.jpg somewhere below its folder."""
    photo(tmp_path / "dataset-files/training-images/a.jpg")
    photo(tmp_path / "dataset-files/training-images/b.jpg", 1)
    (tmp_path / "dataset-files/mask-images").mkdir()

    def write(*lines, name="train.manifest") -> Path:
        file = tmp_path / name
        texts = [each if isinstance(each, str) else json.dumps(each) for each in lines]
        file.write_text("\n".join(texts), encoding="utf-8")
        return file

    return write


def only(file: Path) -> ImageRecord:
    (record,) = load_dataset(file).records
    return record


def test_references_are_found_beside_the_manifest(manifest, tmp_path, mask):
    mask(tmp_path / "dataset-files/mask-images/a.png")
    record = only(manifest(masked()))
    assert record.path == tmp_path / "dataset-files/training-images/a.jpg"
    assert record.mask == tmp_path / "dataset-files/mask-images/a.png"
    assert record.source_ref == "s3://bucket/getting-started/training-images/a.jpg"
    assert (record.label, record.classes) == ("anomaly", ("cracked",))
    assert record.colour_map == {"cracked": "#23A436"}


@pytest.mark.parametrize("number", [0, 1, "1", None, 1.0])
@pytest.mark.parametrize(
    ("name", "label"),
    [("normal", "normal"), ("anomaly", "anomaly"), ("NORMAL", "normal"), ("good?", None), ("", None)],
)
def test_only_the_class_name_says_the_label(manifest, number, name, label):
    # None as a value stands for JSON's null
    content = line(label=name)
    content["anomaly-label"] = number
    assert only(manifest(content)).label == label


def test_attributes_may_have_any_name(manifest, mask, tmp_path):
    mask(tmp_path / "dataset-files/mask-images/a.png")
    content = json.loads(json.dumps(masked()).replace("anomaly-label", "my job 7").replace("anomaly-mask", "segments"))
    record = only(manifest(content))
    assert (record.label, record.classes) == ("anomaly", ("cracked",))


def test_what_a_model_detected_does_not_count(manifest):
    found = {"class-name": "anomaly", "type": "groundtruth/image-classification", "human-annotated": "no"}
    content = line(label="normal", **{"anomaly-label-detected": 1, "anomaly-label-detected-metadata": found})
    assert only(manifest(content)).label == "normal"


def test_masks_of_normal_images_are_dummies(manifest):
    content = masked(mask="dummy_anomaly_mask.png")
    content["anomaly-label-metadata"]["class-name"] = "normal"
    record = only(manifest(content))
    assert (record.mask, record.classes, record.colour_map) == (None, (), {})


def test_the_background_is_kept_in_the_map_but_is_no_class(manifest):
    colours = {
        "0": {"class-name": "BACKGROUND", "hex-color": "#ffffff", "confidence": 0.0},
        "1": {"class-name": "scratch", "hex-color": "#2ca02c"},
    }
    record = only(manifest(masked(colours=colours)))
    assert record.classes == ("scratch",)
    assert set(record.colour_map) == {"BACKGROUND", "scratch"}


def test_empty_lines_a_byte_order_mark_and_carriage_returns_are_passed_by(manifest):
    file = manifest("\ufeff" + json.dumps(line()) + "\r", "", "  ", json.dumps(line("b.jpg", "normal")) + "\r\n")
    assert [record.label for record in load_dataset(file).records] == ["anomaly", "normal"]


def test_a_name_in_another_script_may_hold_a_line_separator(manifest, tmp_path, photo):
    photo(tmp_path / "検査\u2028 +1%.jpg", 2)
    content = line("検査\u2028 +1%.jpg", "normal")
    assert only(manifest(json.dumps(content, ensure_ascii=False))).path.name == "検査\u2028 +1%.jpg"


def test_missing_images_stay_in_the_dataset_for_the_check_to_name(manifest):
    records = load_dataset(manifest(line(), line("gone.jpg"))).records
    assert [record.path.is_file() for record in records] == [True, False]


def test_a_manifest_of_which_no_image_is_there_says_what_to_do(manifest):
    with pytest.raises(InputError, match=r"--images DIR"):
        load_dataset(manifest(line("gone.jpg")))


def test_images_can_lie_elsewhere(manifest, tmp_path, photo):
    elsewhere = photo(tmp_path / "elsewhere/a.jpg", 5)
    (record,) = load_dataset(manifest(line()), images=tmp_path / "elsewhere").records
    assert record.path == elsewhere


def test_relative_references_are_looked_for_one_folder_up_as_well(manifest, tmp_path):
    (tmp_path / "dataset-files/manifests").mkdir()
    content = line(**{"source-ref": "training-images/a.jpg"})
    file = manifest(content, name="dataset-files/manifests/template.manifest")
    assert only(file).path == tmp_path / "dataset-files/training-images/a.jpg"


def test_a_line_for_labels_and_one_for_masks_become_one_image(manifest, tmp_path, mask):
    mask(tmp_path / "dataset-files/mask-images/a.png")
    record = only(manifest(line(), masked()))
    assert record.classes == ("cracked",)
    assert record.mask is not None


@pytest.mark.parametrize(
    ("bad", "place", "rule"),
    [
        ("{", "line 2", "JSON"),
        ("[" * 100_000, "line 2", "JSON"),
        ("[]", "line 2", "a JSON object"),
        ({"a": 1}, "line 2, source-ref", "the reference of an image"),
        (line(**{"source-ref": 7}), "line 2, source-ref", "the reference of an image"),
        (masked("b.jpg", colours={"0": {"class-name": "x", "hex-color": "green"}}), "hex-color", "#rrggbb"),
        (masked("b.jpg", colours={"0": "x"}), "internal-color-map", "class-name and hex-color"),
        (line("b.jpg", synthetic="maybe"), "line 2, synthetic", "a bool"),
        (line("b.jpg", classes=[1]), "line 2, classes", "a list of names"),
        (line("a.jpg", "normal"), "label", "said once"),
        (line("b.jpg", **{"x": 1, "x-metadata": {"class-name": "normal"}}), "line 2", "one label"),
    ],
)
def test_bad_lines_are_named_with_their_rule(manifest, bad, place, rule):
    with pytest.raises(InputError) as refused:
        load_dataset(manifest(line(), bad))
    assert place in str(refused.value)
    assert rule in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00"])
def test_a_file_without_lines_or_of_no_text_is_refused(tmp_path, content):
    (tmp_path / "x.manifest").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.manifest"):
        load_dataset(tmp_path / "x.manifest")


@pytest.mark.parametrize("reference", ["s3://b/../../etc/passwd", "../secret.jpg", "s3://b/a\0.jpg", "s3://b", "s3://"])
def test_references_that_climb_out_or_are_empty_find_nothing(manifest, tmp_path, photo, reference):
    photo(tmp_path.parent / "secret.jpg")
    records = load_dataset(manifest(line(), line(**{"source-ref": reference}))).records
    assert not records[1].path.is_file()
    assert records[1].path.is_relative_to(tmp_path)


names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=30)


@given(
    label=st.sampled_from(["normal", "anomaly", None]),
    name=names.filter(lambda name: name not in (".", "..")),
    classes=st.lists(names, max_size=3, unique=True),
    group=st.text(max_size=8),
    synthetic=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(tmp_path_factory, label, name, classes, group, synthetic):
    # Given anything that can be said of an image
    root = tmp_path_factory.mktemp("manifest")
    told = tuple(classes) if label == "anomaly" else ()
    record = ImageRecord(root / "x.png", label, told, group=group, synthetic=synthetic)
    # When it is written as a line and read
    (root / "x.manifest").write_text(manifest_line(record, f"s3://bucket/{name}", None) + "\n", encoding="utf-8")
    (read,) = read_manifest(root / "x.manifest", FileFinder(root))
    # Then it says the same
    assert (read.label, read.classes, read.group, read.synthetic) == (label, told, group, synthetic)
    assert read.source_ref == f"s3://bucket/{name}"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "source-ref",
                        "a",
                        "a-metadata",
                        "a-ref",
                        "a-ref-metadata",
                        "class-name",
                        "type",
                        "internal-color-map",
                        "group",
                        "0",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=150, deadline=None)
def test_any_json_is_read_or_refused(tmp_path_factory, content):
    root = tmp_path_factory.getbasetemp()
    (root / "any.manifest").write_text(json.dumps(content), encoding="utf-8")
    try:
        records = read_manifest(root / "any.manifest", FileFinder(root / "none"))
    except InputError as error:
        assert "any.manifest" in str(error)
    else:
        assert len(records) == 1
