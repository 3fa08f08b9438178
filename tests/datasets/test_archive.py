from __future__ import annotations

import random
import shutil
import stat
import struct
import zipfile
from collections import namedtuple
from typing import TYPE_CHECKING

import pytest

from fishseg.datasets.archive import DamagedArchiveError, require_space, unpack
from fishseg.errors import DataError, FishsegError

if TYPE_CHECKING:
    from pathlib import Path

DiskUsage = namedtuple("DiskUsage", "total used free")
MEMBERS = {
    "Fish_Dataset/Trout/Trout/00001.png": random.Random(1).randbytes(3_000),
    "Fish_Dataset/Trout/Trout GT/00001.png": b"mask",
    "NA_Fish_Dataset/Trout/WhatsApp Image 2019-04-25 at 15.33.13.jpeg": b"",
    "license.txt": "CC BY 4.0, Çipura".encode(),
}


def make_zip(
    path: Path,
    members: dict[str, bytes] | list[tuple[str | zipfile.ZipInfo, bytes]],
    compression: int = zipfile.ZIP_DEFLATED,
) -> Path:
    pairs = list(members.items()) if isinstance(members, dict) else members
    with zipfile.ZipFile(path, "w", compression) as zip_file:
        for name, content in pairs:
            zip_file.writestr(name, content, compress_type=compression)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def unpack_here(archive: Path, *, max_bytes: int = 10_000_000, max_files: int = 1000) -> Path:
    target = archive.parent / "unpacked"
    unpack(archive, target, max_bytes=max_bytes, max_files=max_files)
    return target


def assert_nothing_left(archive: Path) -> None:
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
def test_every_file_arrives_byte_for_byte(tmp_path: Path, compression: int) -> None:
    archive = make_zip(tmp_path / "fish.zip", MEMBERS, compression)
    assert contents(unpack_here(archive)) == MEMBERS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fish.zip", "unpacked"]


def test_an_empty_folder_is_filled_and_its_parents_are_made(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "fish.zip", MEMBERS)
    target = tmp_path / "some" / "where"
    target.mkdir(parents=True)
    unpack(archive, target, max_bytes=10_000, max_files=10)
    deeper = tmp_path / "not" / "yet" / "there"
    unpack(archive, deeper, max_bytes=10_000, max_files=10)
    assert contents(target) == contents(deeper) == MEMBERS


def test_what_is_there_already_is_not_touched(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "fish.zip", MEMBERS)
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked" / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="something already"):
        unpack_here(archive)
    assert contents(tmp_path / "unpacked") == {"mine.txt": b"keep"}


def test_the_rest_of_a_killed_run_is_cleared_away(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "fish.zip", MEMBERS)
    rest = tmp_path / ".unpacked.partial"
    rest.mkdir()
    (rest / "license.txt").write_text("half")
    assert contents(unpack_here(archive)) == MEMBERS
    assert not rest.exists()


def test_backslashes_and_dots_in_names_are_folders(tmp_path: Path) -> None:
    archive = make_zip(
        tmp_path / "windows.zip", {"Fish\\Trout\\1.png": b"a", "./Fish/b.png": b"b", "Empty\\": b""}
    )
    assert contents(unpack_here(archive)) == {"Fish/Trout/1.png": b"a", "Fish/b.png": b"b"}


@pytest.mark.parametrize(
    "name",
    [
        "../outside.png",
        "Fish/../../outside.png",
        "Fish\\..\\..\\outside.png",
        "/tmp/outside.png",
        "\\outside.png",
        "C:/outside.png",
        "C:outside.png",
        "//host/share/outside.png",
        "../",
    ],
)
def test_members_outside_the_target_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "inside").mkdir()
    archive = make_zip(tmp_path / "inside" / "evil.zip", {"good.png": b"good", name: b"evil"})
    with pytest.raises(DataError, match="outside the target folder") as caught:
        unpack_here(archive)
    assert repr(name) in str(caught.value)
    assert_nothing_left(archive)
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    link = zipfile.ZipInfo("Fish/link.png")
    link.create_system = 3
    link.external_attr = (kind | 0o777) << 16
    archive = make_zip(tmp_path / "evil.zip", [(link, b"/etc/passwd")])
    with pytest.raises(DataError, match="link or a device"):
        unpack_here(archive)
    assert_nothing_left(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["Fish/1.png", "Fish\\1.png", "./Fish/1.png", "Fish//1.png"])
def test_a_file_twice_is_refused(tmp_path: Path, second: str) -> None:
    archive = make_zip(tmp_path / "twice.zip", [("Fish/1.png", b"a"), (second, b"b")])
    with pytest.raises(DataError, match="in it twice"):
        unpack_here(archive)
    assert_nothing_left(archive)


def test_a_name_for_a_file_and_a_folder_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "both.zip", {"Fish": b"a", "Fish/1.png": b"b"})
    with pytest.raises(DataError, match="both a file and a folder"):
        unpack_here(archive)
    assert_nothing_left(archive)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "secret.zip", {"1.png": b"fish"}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    data[6] |= 1  # the flags of the local header ...
    data[data.index(b"PK\x01\x02") + 8] |= 1  # ... and of the central directory
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"'1\.png' is encrypted"):
        unpack_here(archive)
    assert_nothing_left(archive)


def test_the_limits_are_inclusive(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "fish.zip", {"a": b"123", "b": b"4567"})
    with pytest.raises(DataError, match="7 bytes") as caught:
        unpack_here(archive, max_bytes=6)
    assert caught.value.expected == "at most 6"
    with pytest.raises(DataError, match="2 files"):
        unpack_here(archive, max_files=1)
    assert_nothing_left(archive)
    assert contents(unpack_here(archive, max_bytes=7, max_files=2)) == {"a": b"123", "b": b"4567"}


def test_an_archive_bomb_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "bomb.zip", {"zeros.png": bytes(5_000_000)})
    assert archive.stat().st_size < 10_000
    with pytest.raises(DataError, match="times as large as the archive"):
        unpack_here(archive)
    assert_nothing_left(archive)


def test_a_member_larger_than_it_says_never_gets_past_what_it_says(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "liar.zip", {"1.png": random.Random(0).randbytes(500_000)})
    data = bytearray(archive.read_bytes())
    # Uncompressed size: offset 22 of the local header, 24 of the central directory's entry.
    struct.pack_into("<I", data, 22, 10)
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, 10)
    archive.write_bytes(data)
    with pytest.raises(DamagedArchiveError, match="Bad CRC-32"):
        unpack_here(archive, max_bytes=10)
    assert_nothing_left(archive)


def test_a_bad_checksum_leaves_nothing(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "bad.zip", {"1.png": b"a" * 99, "2.png": b"b" * 99}, 0)
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"b" * 99, b"b" * 98 + b"c", 1))
    with pytest.raises(DamagedArchiveError, match=r"Bad CRC-32 for file '2\.png'"):
        unpack_here(archive)
    assert_nothing_left(archive)


@pytest.mark.parametrize("kept", [0, 1, 100, -1, -30])
def test_a_truncated_archive_is_damaged(tmp_path: Path, kept: int) -> None:
    archive = make_zip(tmp_path / "cut.zip", MEMBERS)
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(DamagedArchiveError):
        unpack_here(archive)
    assert_nothing_left(archive)


def test_a_damaged_lzma_stream_is_damaged(tmp_path: Path) -> None:
    content = random.Random(0).randbytes(1000)
    archive = make_zip(tmp_path / "bad.zip", {"1.png": content}, zipfile.ZIP_LZMA)
    data = bytearray(archive.read_bytes())
    data[60:80] = b"\xff" * 20
    archive.write_bytes(data)
    with pytest.raises(DamagedArchiveError):
        unpack_here(archive)
    assert_nothing_left(archive)


def test_a_compression_that_python_does_not_know(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "deflate64.zip", {"1.png": b"fish" * 99})
    data = bytearray(archive.read_bytes())
    # Compression method: offset 8 of the local header, 10 of the central directory's entry.
    data[8] = data[data.rindex(b"PK\x01\x02") + 10] = 9
    archive.write_bytes(data)
    with pytest.raises(DataError, match="a way that Python does not know") as caught:
        unpack_here(archive)
    assert not isinstance(caught.value, DamagedArchiveError)  # fetching it again would not help
    assert_nothing_left(archive)


def test_a_name_that_is_not_the_utf8_it_says(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "name.zip", {"Çipura.png": b"fish"})
    archive.write_bytes(archive.read_bytes().replace("Ç".encode(), b"\xff\xff"))
    with pytest.raises(DamagedArchiveError, match="utf-8"):
        unpack_here(archive)
    assert_nothing_left(archive)


def test_an_error_page_is_no_zip_file(tmp_path: Path) -> None:
    archive = tmp_path / "page.zip"
    archive.write_text("<html>Please log in to this network</html>")
    with pytest.raises(DamagedArchiveError, match="not a zip file") as caught:
        unpack_here(archive)
    assert caught.value.where == str(archive)


def test_flipped_bytes_never_end_in_anything_but_an_error_of_ours(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "whole.zip", MEMBERS).read_bytes()
    rng = random.Random(0)
    refused = 0
    for turn in range(400):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        folder = tmp_path / str(turn)
        folder.mkdir()
        archive = folder / "damaged.zip"
        archive.write_bytes(damaged)
        try:
            unpack_here(archive)
        except FishsegError:
            refused += 1
            assert_nothing_left(archive)
    # The others hit what zip does not protect: names, dates, attributes.
    assert refused > 300


def test_a_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file") as caught:
        unpack_here(tmp_path / "missing.zip")
    assert caught.value.where == str(tmp_path / "missing.zip")


def test_a_full_disk_is_noticed_before_unpacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_zip(tmp_path / "fish.zip", MEMBERS)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: DiskUsage(10, 9, 1))
    with pytest.raises(DataError, match=r"0\.00 GB left") as caught:
        unpack_here(archive)
    assert caught.value.remedy is not None
    assert "free some space" in caught.value.remedy
    assert_nothing_left(archive)


def test_space_is_measured_where_it_is_needed(tmp_path: Path) -> None:
    require_space(tmp_path, 1)
    with pytest.raises(DataError, match="are needed"):
        require_space(tmp_path, shutil.disk_usage(tmp_path).total + 1)


def test_a_folder_in_place_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(DataError, match="Is a directory"):
        unpack_here(tmp_path / "folder.zip")


def test_progress_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unpack_here(make_zip(tmp_path / "fish.zip", MEMBERS))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "unpacking fish.zip: 100%" in captured.err
