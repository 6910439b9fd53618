"""Bundles: hostile and altered ones are refused, and nothing is ever written or executed."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from defectory.inspection import bundle
from defectory.inspection.bundle import BundleError, pack, pack_arrays, unpack, unpack_arrays
from defectory.inspection.model import load_model
from tests.unit.inspection.conftest import render_part

NAMES = ("a.json", "b.npz")


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def link(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo("a.json")
    member.type, member.linkname = kind, "/etc/passwd"
    return member


def test_what_is_packed_is_unpacked():
    files = {"a.json": b"{}", "b.npz": bytes(1000)}

    assert unpack(pack(files), NAMES) == files
    assert pack(files) == pack(dict(reversed(files.items())))


@pytest.mark.parametrize(
    "content",
    [
        archive((tarfile.TarInfo("../a.json"), b"x")),
        archive((tarfile.TarInfo("/a.json"), b"x")),
        archive((tarfile.TarInfo("other.pkl"), b"x")),
        archive((link(tarfile.SYMTYPE), b"")),
        archive((link(tarfile.LNKTYPE), b"")),
        archive((link(tarfile.CHRTYPE), b"")),
        archive((link(tarfile.FIFOTYPE), b"")),
        archive((tarfile.TarInfo("a.json"), b"x"), (tarfile.TarInfo("a.json"), b"y")),
        archive((tarfile.TarInfo("a.json"), bytes(5000)))[:60],
        gzip.compress(b"no archive"),
        b"nonsense",
        b"",
    ],
)
def test_hostile_and_broken_archives_are_refused(content):
    with pytest.raises(BundleError):
        unpack(content, NAMES)


def test_an_archive_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(bundle, "MAX_BYTES", 1000)

    with pytest.raises(BundleError, match="at most 1000 bytes"):
        unpack(pack({"a.json": bytes(600), "b.npz": bytes(600)}), NAMES)


def test_serving_code_beside_the_model_is_not_read(model):
    files = unpack(model.to_bytes(), ("model.json", "backbone.onnx", "detector.npz", "valid.npz", "signature.npz"))
    members = [(tarfile.TarInfo(f"./{name}"), content) for name, content in files.items()]

    again = load_model(archive((tarfile.TarInfo("code/inference.py"), b"print()"), *members))

    assert again.card == model.card


def test_a_folder_serves_unpacked_and_packed(model, tmp_path):
    (tmp_path / "packed").mkdir()
    model.save(tmp_path / "packed" / "model.tar.gz")
    (tmp_path / "open").mkdir()
    with tarfile.open(tmp_path / "packed" / "model.tar.gz") as tar:
        tar.extractall(tmp_path / "open", filter="data")
    (tmp_path / "open" / "inference.py").write_text("")

    image = render_part(1)
    said = {load_model(tmp_path / name).inspect(image).score for name in ("packed", "open")}

    assert said == {model.inspect(image).score}


@pytest.mark.parametrize("name", ["detector.npz", "signature.npz", "valid.npz", "backbone.onnx"])
def test_an_altered_bundle_is_refused(model, name):
    names = ("model.json", "backbone.onnx", "detector.npz", "valid.npz", "signature.npz")
    files = unpack(model.to_bytes(), names)
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])

    with pytest.raises(BundleError, match="does not match its version"):
        load_model(pack(files))


@pytest.mark.parametrize("card", [b"{}", b"[]", b"nonsense", b'{"format": 1}', b'{"format": 99}'])
def test_a_bundle_with_another_card_is_refused(model, card):
    names = ("model.json", "backbone.onnx", "detector.npz", "valid.npz")

    with pytest.raises(BundleError):
        load_model(pack({**unpack(model.to_bytes(), (*names, "signature.npz")), "model.json": card}))


def test_a_missing_bundle_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"absent\.tar\.gz"):
        load_model(tmp_path / "absent.tar.gz")


def test_arrays_are_never_unpickled():
    content = io.BytesIO()
    np.savez(content, a=np.array([object()], dtype=object))

    with pytest.raises(BundleError):
        unpack_arrays(content.getvalue())


def test_arrays_keep_their_types():
    arrays = {"half": np.arange(3, dtype=np.float16), "flags": np.array([True, False])}

    again = unpack_arrays(pack_arrays(arrays))

    assert all(np.array_equal(again[name], arrays[name]) and again[name].dtype == arrays[name].dtype for name in arrays)


@given(
    hypothesis_numpy.arrays(
        st.sampled_from(["f2", "f4", ">f8", "i8", "u1", "?", "c8"]),
        hypothesis_numpy.array_shapes(min_dims=0, min_side=0, max_side=4),
    ),
    st.booleans(),
)
def test_numbers_of_any_shape_come_back(array, is_column_major):
    array = np.asfortranarray(array) if is_column_major else array

    again = unpack_arrays(pack_arrays({"a": array}))["a"]

    assert (again.dtype, again.shape, again.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize(
    "array", [np.array(["text"]), np.zeros(2, [("a", "f4")]), np.zeros(2, "M8[s]"), np.zeros(2, "V4")]
)
def test_arrays_of_anything_but_numbers_are_refused(array):
    with pytest.raises(BundleError, match="numeric arrays"):
        unpack_arrays(pack_arrays({"a": array}))


def test_an_array_has_the_size_it_declares():
    content, longer = io.BytesIO(), io.BytesIO()
    np.save(content, np.zeros((3, 3), np.uint8))
    with zipfile.ZipFile(longer, "w") as archive:
        archive.writestr("a.npy", content.getvalue() + b"x")

    with pytest.raises(BundleError, match="numeric arrays"):
        unpack_arrays(longer.getvalue())


@pytest.mark.parametrize("link", [lambda path, to: path.symlink_to(to), lambda path, to: path.hardlink_to(to)])
@pytest.mark.parametrize("name", ["a.json", "model.tar.gz"])
def test_a_folder_whose_files_are_elsewhere_is_refused(link, name, tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    elsewhere.write_bytes(pack({"a.json": b"{}"}))
    folder.mkdir()
    link(folder / name, elsewhere)

    with pytest.raises(BundleError, match="a file of its own, not a link"):
        unpack(folder, NAMES)


def test_a_folder_is_no_larger_than_an_archive(monkeypatch, tmp_path):
    monkeypatch.setattr(bundle, "MAX_BYTES", 1000)
    for name in NAMES:
        (tmp_path / name).write_bytes(bytes(600))

    with pytest.raises(BundleError, match="at most 400 bytes"):
        unpack(tmp_path, NAMES)
