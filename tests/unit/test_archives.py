"""Archives: bombs are refused with little memory, what leads elsewhere is refused, what was packed comes out."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defectory.archives import ArchiveError, Limits, extract, open_own, read_bounded, tar_members, zip_members
from tests.support import bombs

LIMITS = Limits(1 << 20, 100)
LIMIT = 16 << 20
PARTS = st.text("ab.- é", min_size=1, max_size=4).filter(lambda part: part.strip(".") == part and part.strip() == part)
FILES = st.dictionaries(st.lists(PARTS, min_size=2, max_size=2).map("/".join), st.binary(max_size=2000), max_size=5)


def tar(*members: tuple[str, bytes], **attributes: object) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def zip_(*members: tuple[str, bytes], mode: int = 0, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in members:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, compression
            archive.writestr(entry, data)
    return content.getvalue()


READERS = {tar: tar_members, zip_: zip_members}


def read(content: bytes, pack=None, limits: Limits = LIMITS) -> dict[str, bytes]:
    reader = READERS[pack] if pack else zip_members if content[:2] == b"PK" else tar_members
    return {member.name: member.read() for member in reader(io.BytesIO(content), limits)}


def test_a_corpus_of_bombs_is_refused_with_at_most_twice_the_limit(tmp_path):
    # When each bomb is read, in a process of its own
    outcome = bombs.read_elsewhere(tmp_path, LIMIT)

    # Then none is taken
    assert len(outcome["results"]) == 24
    assert "taken" not in outcome["results"].values()
    # And all of them need no more memory than twice what an honest archive may unpack to
    assert outcome["peak"] <= 2 * LIMIT


@given(FILES)
def test_what_was_packed_comes_out(files):
    for pack in (tar, zip_):
        assert read(pack(*files.items()), pack) == files


@given(st.binary(max_size=600))
def test_no_bytes_are_an_accident(content):
    for reader in (tar_members, zip_members):
        with pytest.raises(ArchiveError):
            list(reader(io.BytesIO(content + b"x"), LIMITS))


@given(st.data())
def test_a_damaged_archive_is_whole_or_refused(data):
    # Given an archive of which some bytes are changed, or the end is missing
    pack = data.draw(st.sampled_from([tar, zip_]))
    files = {"a/b": b"some content" * 9, "c": bytes(700)}
    content = bytearray(pack(*files.items()))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[position] ^= data.draw(st.integers(1, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])

    # Then it is refused, or its files have the content that was packed
    with contextlib.suppress(ArchiveError):
        assert set(read(content, pack).values()) <= set(files.values())


@pytest.mark.parametrize("pack", [tar, zip_])
@pytest.mark.parametrize(
    "name",
    [
        "/a",
        "../a",
        "a/../../b",
        "a/..",
        "a\\b",
        "..\\a",
        "C:a",
        "a\nb",
        "a\x1b[2J",
        "a\x7f",
        "x" * 256,
        "abc/" * 300,
        ".",
    ],
)
def test_names_that_lead_elsewhere_are_refused(pack, name):
    with pytest.raises(ArchiveError, match="archive: must be an archive of"):
        read(pack((name, b"x")), pack)


def test_a_name_goes_on_behind_a_nul():
    with pytest.raises(ArchiveError, match="names that stay within it"):
        read(zip_(("a#.txt", b"x")).replace(b"a#.txt", b"a\0.txt"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"]
)
def test_links_and_devices_in_a_tar_are_refused(kind):
    with pytest.raises(ArchiveError, match="plain files and folders"):
        read(tar(("a", b""), type=kind, linkname="b"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR])
def test_links_and_devices_in_a_zip_are_refused(kind):
    with pytest.raises(ArchiveError, match="plain files and folders"):
        read(zip_(("a", b"target"), mode=kind | 0o777))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("pack", [tar, zip_])
def test_a_name_twice_is_refused(pack):
    with pytest.raises(ArchiveError, match="names that differ"):
        read(pack(("a/b", b"x"), ("./a//b", b"y")), pack)


@pytest.mark.parametrize("pack", [tar, zip_])
def test_the_limits_are_met_exactly(pack):
    # Given an archive of three files; a tar has a header of 512 bytes for each, fills each up, and ends with 10,240
    content = pack(("a", bytes(512)), ("b", bytes(512)), ("c", bytes(512)))
    total = 10_240 if pack is tar else 3 * 512

    # Then its own measures are enough
    assert len(read(content, pack, Limits(total, 3))) == 3
    # And a byte or a file less is not
    with pytest.raises(ArchiveError, match=f"at most {total - 1} bytes unpacked"):
        read(content, pack, Limits(total - 1, 3))
    with pytest.raises(ArchiveError, match="at most 2 files and folders"):
        read(content, pack, Limits(total, 2))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:-9], "ended before"),
        (lambda content: content[:-8] + b"\0\0\0\0" + content[-4:], "CRC check failed"),
        (lambda content: content + b"more", "Not a gzipped file"),
        (lambda content: gzip.compress(gzip.decompress(content)[:1024]), "complete"),
        (lambda content: gzip.compress(gzip.decompress(content)[:700]), "complete"),
        (
            lambda content: gzip.compress(gzip.decompress(content)[:1024] + b"no header".ljust(512, b"\0")),
            "nothing else",
        ),
        (lambda content: gzip.compress(gzip.decompress(content) + b"more"), "nothing else"),
    ],
)
def test_a_tar_is_read_to_its_end(damage, said):
    with pytest.raises(ArchiveError, match=said):
        read(damage(tar(("a", b"x"))))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(compression):
    with pytest.raises(ArchiveError, match="stored or deflated"):
        read(zip_(("a", b"x"), compression=compression))


def test_a_zip_whose_content_was_changed_is_refused():
    with pytest.raises(ArchiveError, match="CRC"):
        read(zip_(("a", b"content"), compression=zipfile.ZIP_STORED).replace(b"content", b"CONTENT"))


def test_files_are_written_with_the_permissions_that_are_their_owners(tmp_path):
    content = tar(("code/run", b"x"), mode=0o6777), tar(("code/read", b"y"), mode=0o444)
    for packed in content:
        extract(tar_members(io.BytesIO(packed), LIMITS), tmp_path)

    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "code").iterdir()} == {
        "run": 0o755,
        "read": 0o644,
    }


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_files_that_take_each_others_place_are_refused(names, tmp_path):
    with pytest.raises(ArchiveError, match="a place each"):
        extract(tar_members(io.BytesIO(tar(*((name, b"x") for name in names))), LIMITS), tmp_path)


def test_nothing_is_written_through_a_link_that_is_there(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ArchiveError):
        extract(zip_members(io.BytesIO(zip_(("a", b"x"))), LIMITS), tmp_path / "folder")

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("link", [lambda path, to: path.symlink_to(to), lambda path, to: path.hardlink_to(to)])
def test_a_file_that_is_elsewhere_too_is_not_opened(link, tmp_path):
    (tmp_path / "secret").write_text("secret")
    link(tmp_path / "file", tmp_path / "secret")

    with pytest.raises(ArchiveError, match="not a link"):
        open_own(tmp_path / "file")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ArchiveError, match="a file of its own"):
        open_own(tmp_path / "pipe")


def test_a_file_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "file").write_bytes(bytes(10))

    with open_own(tmp_path / "file") as file:
        assert read_bounded(file, 10) == bytes(10)
    with open_own(tmp_path / "file") as file, pytest.raises(ArchiveError, match="at most 9 bytes"):
        read_bounded(file, 9)
