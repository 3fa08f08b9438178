"""Metadata decides nothing over pixels: odd, damaged and long blocks beside whole pictures."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks import fuzz
from fishseg.errors import DataError
from fishseg.images import decoding
from fishseg.images.decoding import IMAGE_SUFFIXES, read_image
from fishseg.images.metadata import exif_orientation, without_metadata

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Where row 0 and column 0 of the stored pixels lie is 6 in the standard: right and top.
SIDEWAYS = 6


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """Smooth and different in every corner: 24x36."""
    rows, columns = np.mgrid[0:24, 0:36]
    return np.stack([rows * 10, columns * 7, 255 - rows * 5 - columns * 2], axis=2).astype(np.uint8)


def block(*fields: bytes, order: str = "<") -> bytes:
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IH", 8, len(fields)) + b"".join(fields) + bytes(4)


def orientation_field(value: int, *, order: str = "<", kind: int = 3, count: int = 1) -> bytes:
    written = struct.pack(order + {1: "B3x", 3: "H2x", 4: "I"}.get(kind, "I"), value)
    return struct.pack(order + "HHI", 0x0112, kind, count) + written


# The block as cameras write it, and as they should not


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_an_orientation_is_a_whole_number_of_any_width(order: str, kind: int) -> None:
    found = exif_orientation(
        block(orientation_field(SIDEWAYS, order=order, kind=kind), order=order)
    )
    assert found == SIDEWAYS


@pytest.mark.parametrize(
    "field",
    [
        orientation_field(0),
        orientation_field(9),
        orientation_field(SIDEWAYS, count=0),
        orientation_field(SIDEWAYS, count=2**31),
        orientation_field(SIDEWAYS, kind=2),
        orientation_field(SIDEWAYS, kind=5),
        orientation_field(SIDEWAYS, kind=65535),
    ],
)
def test_no_sound_orientation_is_upright(field: bytes) -> None:
    assert exif_orientation(block(field)) == 1


def test_odd_fields_around_the_orientation_do_not_hide_it() -> None:
    odd = struct.pack("<HHI4s", 282, 2, 4, b"1/2\0")
    wild = struct.pack("<HHI4s", 34665, 13, 2**32 - 1, b"\xff\xff\xff\xff")
    assert exif_orientation(block(odd, orientation_field(SIDEWAYS), wild)) == SIDEWAYS
    # Cut off behind it; and more fields promised than there are.
    whole = block(odd, orientation_field(SIDEWAYS))
    assert exif_orientation(whole[:-4]) == SIDEWAYS
    assert exif_orientation(whole[:8] + b"\xff\xff" + whole[10:]) == SIDEWAYS


@given(st.binary(max_size=200), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_bytes_give_an_orientation(rest: bytes, head: bytes) -> None:
    assert 1 <= exif_orientation(head + rest) <= 8


@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"RIFF\0\0\0\0WEBP",
            b"II*\0",
            b"MM\0+",
            b"\0\0\0 ftyp",
        ]
    ),
)
def test_any_bytes_can_be_rid_of_metadata(rest: bytes, head: bytes) -> None:
    bare, orientation = without_metadata(head + rest)
    assert 1 <= orientation <= 8
    # Once is enough: what is left holds no more metadata.
    assert without_metadata(bare)[0] == bare


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize(
    "odd",
    [
        struct.pack("<HHI4s", 282, 2, 4, b"1/2\0"),  # a resolution that is a text
        struct.pack("<HHI4s", 282, 5, 1, b"\xff\xff\xff\xff"),  # whose place is out of the block
        struct.pack("<HHI4s", 34665, 7, 2**31, b"\0\0\0\0"),
        struct.pack("<HHI4s", 271, 3, 0, b"\0\0\0\0"),
    ],
)
def test_an_odd_field_costs_no_pixel(
    suffix: str, odd: bytes, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    stored = np.ascontiguousarray(picture.transpose(1, 0, 2)[::-1])
    exif = b"Exif\0\0" + block(odd, orientation_field(SIDEWAYS))
    path = tmp_path / f"a.{suffix}"
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    if suffix == "jpg":
        options = {"quality": 100, "subsampling": 0}
    file = io.BytesIO()
    name = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
    if suffix == "tif":
        Image.fromarray(stored).save(file, name, tiffinfo={271: "maker", 282: 1.0, 274: SIDEWAYS})
        data = bytearray(file.getvalue())
        place = data.index(struct.pack("<H", 282) + struct.pack("<H", 5))
        data[place : place + 12] = odd
        path.write_bytes(bytes(data))
    else:
        Image.fromarray(stored).save(file, name, exif=exif, **options)
        path.write_bytes(file.getvalue())
    found = read_image(path)
    assert found.shape == picture.shape
    assert np.abs(found.astype(int) - picture).max() <= 3


def test_a_photograph_of_its_telephone_is_its_first_picture(
    tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    """MPO: a JPEG with a second one behind it, and a segment that says where."""
    first, second = Image.fromarray(picture), Image.new("RGB", (36, 24), "white")
    path = tmp_path / "a.jpg"
    first.save(path, "MPO", save_all=True, append_images=[second], quality=95)
    assert np.abs(read_image(path).astype(int) - picture).mean() < 3


# HEIC and AVIF


@pytest.mark.parametrize(("suffix", "format_"), [("heic", "HEIF"), ("avif", "AVIF")])
def test_what_telephones_write_is_read(
    suffix: str, format_: str, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture).save(path, format_, quality=95)
    assert path.suffix in IMAGE_SUFFIXES
    found = read_image(path)
    assert found.shape == picture.shape
    assert np.abs(found.astype(int) - picture).mean() < 4
    whole = path.read_bytes()
    for share in (0.02, 0.3, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError) as caught:
            read_image(path)
        assert caught.value.remedy


@pytest.mark.parametrize(("suffix", "format_"), [("heic", "HEIF"), ("avif", "AVIF")])
def test_they_are_turned_once_by_their_own_box(
    suffix: str, format_: str, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    stored = Image.fromarray(picture).transpose(Image.Transpose.ROTATE_90)
    path = tmp_path / f"a.{suffix}"
    # Both encoders write this as the box `irot`.
    stored.save(path, format_, exif=block(orientation_field(SIDEWAYS)), quality=95)
    assert b"irot" in path.read_bytes()
    found = read_image(path)
    assert found.shape == picture.shape
    assert np.abs(found.astype(int) - picture).mean() < 4


def test_a_deep_heic_is_read_as_8_bits(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    deep = np.ascontiguousarray(picture.astype(np.uint16) * 257)
    file = pillow_heif.from_bytes("RGB;16", (36, 24), deep.tobytes())
    file.save(tmp_path / "a.heic", quality=95)
    found = read_image(tmp_path / "a.heic")
    assert np.abs(found.astype(int) - picture).mean() < 4


def test_a_file_beyond_all_images_is_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.bmp"
    Image.fromarray(picture).save(path)
    monkeypatch.setattr(decoding, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(DataError, match="bytes, more than any image"):
        read_image(path)


# All of it at random; `python -m benchmarks.fuzz` goes on


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("start", [0, 100, 200])
def test_intact_pictures_are_read_and_cut_ones_lose_nothing_silently(
    start: int, tmp_path: Path
) -> None:
    for number in range(start, start + 100):
        case = fuzz.picture(0, number)
        _, complaint = fuzz.check(case, tmp_path / "picture")
        assert complaint is None, f"picture {number} ({case.name})"
