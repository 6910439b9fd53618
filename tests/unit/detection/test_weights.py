"""Weights of others: packed with what they are, and refused where they are something else."""

from __future__ import annotations

import json
import tarfile

import pytest

from defectory.detection.generative.weights import CARD_FILE, check_weights, pack_weights
from defectory.errors import InputError

SOURCE = {"repository": "somebody/model", "revision": "0" * 40, "licence": "creativeml-openrail-m"}


@pytest.fixture
def folder(tmp_path):
    saved = tmp_path / "saved"
    (saved / "unet").mkdir(parents=True)
    (saved / "model_index.json").write_text("{}")
    (saved / "unet" / "weights.safetensors").write_bytes(bytes(range(256)))
    return saved


@pytest.fixture
def unpacked(folder, tmp_path):
    pack_weights(folder, tmp_path / "model.tar.gz", **SOURCE)
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        archive.extractall(tmp_path / "model", filter="data")
    return tmp_path / "model"


def test_what_is_packed_says_where_it_comes_from_and_is_the_same_again(folder, unpacked, tmp_path):
    # SHA-256 of the 256 bytes 0..255 and of "{}", by coreutils.
    assert json.loads((unpacked / CARD_FILE).read_text()) == {
        "format": "defectory-weights/1",
        **SOURCE,
        "files": {
            "model_index.json": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "unet/weights.safetensors": "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880",
        },
    }
    pack_weights(folder, tmp_path / "again.tar.gz", **SOURCE)
    assert (tmp_path / "again.tar.gz").read_bytes() == (tmp_path / "model.tar.gz").read_bytes()


def test_an_unpacked_folder_is_taken_as_it_was_packed_with_the_program_beside_it(unpacked):
    (unpacked / "code").mkdir()
    (unpacked / "code" / "inference.py").write_text("")

    assert check_weights(unpacked).licence == "creativeml-openrail-m"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / CARD_FILE).unlink(), "weights.json"),
        (lambda folder: (folder / CARD_FILE).write_text("{}"), "valid weights.json"),
        (lambda folder: (folder / "model_index.json").unlink(), "no more and no fewer"),
        (lambda folder: (folder / "more.json").write_text("{}"), "no more and no fewer"),
        (lambda folder: (folder / "unet" / "weights.bin").write_bytes(b"pickle"), "safetensors"),
        (lambda folder: (folder / "unet" / "weights.safetensors").write_bytes(bytes(256)), "unaltered"),
    ],
)
def test_a_folder_that_is_something_else_is_refused(unpacked, change, message):
    change(unpacked)

    with pytest.raises(InputError, match=message):
        check_weights(unpacked)


def test_a_pickle_is_not_packed(folder, tmp_path):
    (folder / "unet" / "weights.bin").write_bytes(b"pickle")

    with pytest.raises(InputError, match=r"weights\.bin"):
        pack_weights(folder, tmp_path / "model.tar.gz", **SOURCE)
    assert not (tmp_path / "model.tar.gz").exists()
