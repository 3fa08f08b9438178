"""Decoding and resizing: every way an image or a mask may have been written."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from fishseg.errors import DataError
from fishseg.images import decoding
from fishseg.images.decoding import MAX_PIXELS, read_image
from fishseg.images.mask_rule import ZERO_255
from fishseg.images.masks import read_mask
from fishseg.images.resizing import resize_image, resize_mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = ("bmp", "gif", "jpg", "png", "tif", "webp")


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """Smooth, so that JPEG keeps it, and different in every corner and channel: 24x36."""
    rows, columns = np.mgrid[0:24, 0:36]
    return np.stack([rows * 10, columns * 7, 255 - rows * 5 - columns * 2], axis=2).astype(np.uint8)


def fish(height: int, width: int) -> NDArray[np.bool_]:
    """A tilted ellipse with a tail, sampled at pixel centres: the same shape at every size."""
    y, x = np.meshgrid(
        (np.arange(height) + 0.5) / height - 0.5,
        (np.arange(width) + 0.5) / width - 0.5,
        indexing="ij",
    )
    along, across = 0.9 * x + 0.4 * y, 0.9 * y - 0.4 * x
    body = (along / 0.33) ** 2 + (across / 0.15) ** 2 < 1
    tail = (np.abs(along - 0.36) < 0.07) & (np.abs(across) < np.abs(along - 0.25))
    shape: NDArray[np.bool_] = body | tail
    return shape


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def save(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


# Images


@pytest.mark.parametrize("suffix", ["bmp", "png", "tif"])
def test_lossless_formats_keep_every_pixel(
    suffix: str, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    image = read_image(save(tmp_path / f"a.{suffix}", picture))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, picture)


@pytest.mark.parametrize(
    ("suffix", "mode"), [("jpg", "RGB"), ("webp", "RGB"), ("jpg", "CMYK"), ("tif", "CMYK")]
)
def test_other_codings_come_close(
    suffix: str, mode: str, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    path = tmp_path / f"a.{suffix}"
    quality: dict[str, Any] = {} if suffix == "tif" else {"quality": 95}
    Image.fromarray(picture).convert(mode).save(path, **quality)
    difference = read_image(path).astype(int) - picture
    assert np.abs(difference).mean() < 3


def test_the_suffix_may_be_wrong(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    path = save(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(read_image(path.rename(tmp_path / "a.JPG")), picture)


def test_grey_and_bilevel_become_three_channels(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = read_image(save(tmp_path / "grey.png", grey))
    np.testing.assert_array_equal(image, np.repeat(grey[:, :, None], 3, axis=2))
    bilevel = read_image(save(tmp_path / "bilevel.png", grey > 5))
    np.testing.assert_array_equal(bilevel[:, :, 0], np.where(grey > 5, 255, 0))


def test_a_palette_shows_its_colours(tmp_path: Path) -> None:
    indexed = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8))
    indexed = indexed.convert("P")
    indexed.putpalette([9, 8, 7, 200, 0, 0, 0, 100, 255])
    indexed.save(tmp_path / "a.png")
    expected = [[[9, 8, 7], [200, 0, 0], [0, 100, 255]]]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8)
    image = read_image(save(tmp_path / "rgba.png", pixels))
    np.testing.assert_array_equal(image, [[[200, 100, 50], [0, 0, 0], [40, 20, 10]]])
    # One transparent colour, as PNG's tRNS chunk says it.
    save(tmp_path / "key.png", pixels[:, :, :3], transparency=(200, 100, 50))
    assert not read_image(tmp_path / "key.png").any()
    grey = np.array([[[255, 255], [255, 0]]], dtype=np.uint8)
    image = read_image(save(tmp_path / "la.png", grey))
    np.testing.assert_array_equal(image[0, :, 0], [255, 0])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_clipped(suffix: str, tmp_path: Path) -> None:
    levels = np.array([[0, 128, 129, 257, 256 * 100, 65534, 65535]], dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), levels)
    image = read_image(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(image[0, :, 0], [0, 0, 1, 1, 100, 255, 255])


def test_16_bit_grey_of_the_other_byte_order(tmp_path: Path) -> None:
    levels = np.array([[0, 257, 65535]], dtype=">u2")
    image = read_image(save(tmp_path / "a.tif", levels))
    np.testing.assert_array_equal(image[0, :, 0], [0, 1, 255])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_colour_is_scaled_to_within_a_level(
    suffix: str, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    # OpenCV writes blue first.
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), picture[:, :, ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), picture)
    noise = np.random.default_rng(0).integers(0, 65536, (20, 20, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"b.{suffix}"), noise[:, :, ::-1])
    difference = read_image(tmp_path / f"b.{suffix}") - noise / 257
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp"])
def test_the_first_frame_counts(suffix: str, tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    first, second = Image.fromarray(picture // 2), Image.new("RGB", (36, 24), (255, 255, 255))
    path = tmp_path / f"a.{suffix}"
    first.save(path, save_all=True, append_images=[second])
    difference = read_image(path).astype(int) - picture // 2
    assert np.abs(difference).mean() < 12


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(
    orientation: int, suffix: str, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    # What a camera held that way stores, from the EXIF standard's table of where row 0 is.
    stored = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: picture.transpose(1, 0, 2)[::-1],
        7: picture.transpose(1, 0, 2)[::-1, ::-1],
        8: picture.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    if suffix == "jpg":
        options = {"quality": 100, "subsampling": 0}
    path = save(tmp_path / f"a.{suffix}", np.ascontiguousarray(stored), exif=exif, **options)
    image = read_image(path)
    assert image.shape == picture.shape
    assert np.abs(image.astype(int) - picture).max() <= 3


def test_the_result_may_be_written_to(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    image = read_image(save(tmp_path / "a.png", picture))
    assert image.flags.writeable
    assert image.flags.c_contiguous


# Broken files


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_is_refused(
    suffix: str, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
    whole = path.read_bytes()
    for share in (0.02, 0.3, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError) as caught:
            read_image(path)
        assert caught.value.where == str(path)
        assert caught.value.remedy


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_bytes_raise_nothing_but_data_errors(
    suffix: str, tmp_path: Path, picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A damaged header may promise a size that takes seconds to fill.
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1_000_000)
    path = save(tmp_path / f"a.{suffix}", picture)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    random = np.random.default_rng(0)
    for _ in range(150):
        damaged = whole.copy()
        places = random.integers(0, min(len(whole), 400), size=random.integers(1, 8))
        damaged[places] = random.integers(0, 256, size=len(places))
        path.write_bytes(damaged.tobytes())
        with contextlib.suppress(DataError):
            assert read_image(path).ndim == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\0" * 4096, "the file is no image"),
        (b"<html>not found</html>", "the file is no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "the file is no image"),
    ],
)
def test_what_is_no_image_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_image(tmp_path / "a.png")
    with pytest.raises(DataError, match=message):
        read_mask(tmp_path / "a.png", (4, 4), ZERO_255)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


def test_32_bit_images_are_refused(tmp_path: Path) -> None:
    for name, pixels in {
        "float": np.ones((4, 4), np.float32),
        "int": np.ones((4, 4), np.int32),
    }.items():
        with pytest.raises(DataError, match="32-bit"):
            read_image(save(tmp_path / f"{name}.tif", pixels))


def png_of_zeros(width: int, height: int) -> bytes:
    """A bilevel PNG whose header promises any size; its few bytes hold the first rows only."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * min(height, 100))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(MAX_PIXELS + 1, 1), (20_000, 10_001), (100_000, 100_000)])
def test_a_decompression_bomb_is_refused_unopened(size: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_of_zeros(*size))
    with pytest.raises(DataError, match="more than 200,000,000 pixels"):
        read_image(tmp_path / "a.png")


def test_nothing_is_said_beside_the_refusal(tmp_path: Path) -> None:
    """In a process of its own, for pytest has filters of its own."""
    (tmp_path / "a.png").write_bytes(png_of_zeros(MAX_PIXELS + 1, 1))
    script = (
        "import sys, pathlib\n"
        "from fishseg.errors import DataError\n"
        "from fishseg.images.decoding import read_image\n"
        "try: read_image(pathlib.Path(sys.argv[1]))\n"
        "except DataError: print('refused')"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("refused\n", "")


@pytest.mark.filterwarnings("error")
def test_a_panorama_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_of_zeros(20_000, 100))
    assert read_image(tmp_path / "a.png").shape == (100, 20_000, 3)


# Resizing


def test_resized_images_are_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = resize_image(stripes, (16, 16))
    assert small.shape == (16, 16, 3)
    assert small.dtype == np.uint8
    assert np.abs(small[:, 2:-2].astype(int) - 128).max() <= 8


def test_resizing_maps_the_whole_axis() -> None:
    """A ramp in pixel-area coordinates stays the same ramp: nothing shifts by half a pixel."""
    ramp = np.tile(((np.arange(100) + 0.5) * 2).astype(np.uint8)[None, :, None], (10, 1, 3))
    for width in (50, 200):
        resized = resize_image(ramp, (10, width))[0, :, 0].astype(float)
        expected = (np.arange(width) + 0.5) * 200 / width - 0.5
        inner = slice(width // 20, -(width // 20))
        assert np.abs(resized - expected)[inner].max() <= 1.5


def test_resizing_never_overshoots() -> None:
    edge = np.full((40, 40, 3), 20, dtype=np.uint8)
    edge[:, 20:] = 230
    resized = resize_image(edge, (57, 57))
    assert resized.min() == 20
    assert resized.max() == 230


def test_the_same_size_is_the_same_image(picture: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(resize_image(picture, (24, 36)), picture)


def test_coverage_worked_by_hand() -> None:
    mask = np.array([[True, False, False], [True, True, False]])
    np.testing.assert_array_equal(resize_mask(mask, (2, 3)), np.where(mask, 255, 0))
    # Of the 6 pixels, 3 are foreground: half of 255, rounded up.
    np.testing.assert_array_equal(resize_mask(mask, (1, 1)), [[128]])
    # Each output column takes one and a half pixels of each row: (1 + 1.5) / 3 and (0 + 0.5) / 3.
    np.testing.assert_array_equal(resize_mask(mask, (1, 2)), [[213, 43]])
    # Enlarging: an output pixel may lie across the edge between two.
    np.testing.assert_array_equal(resize_mask(mask[:1], (1, 4)), [[255, 85, 0, 0]])


@pytest.mark.parametrize("size", [(45, 59), (28, 37), (100, 90), (5, 4), (1, 7)])
def test_coverage_against_brute_force(size: tuple[int, int]) -> None:
    """Every pixel split into as many parts as the other size has, then averaged: exact."""
    height, width = size
    mask = np.random.default_rng(0).random((13, 11)) > 0.5
    parts = mask.repeat(height, axis=0).repeat(width, axis=1).astype(float)
    expected = parts.reshape(height, 13, width, 11).mean(axis=(1, 3)) * 255
    assert np.abs(resize_mask(mask, size) - expected).max() <= 0.5 + 1e-9


def test_coverage_of_a_mask_too_large_for_numbers_of_32_bits() -> None:
    mask = np.ones((2100, 2100), bool)
    mask[:, :1050] = False
    np.testing.assert_array_equal(resize_mask(mask, (1, 2)), [[0, 255]])
    np.testing.assert_array_equal(resize_mask(mask, (7, 1)), [[128]] * 7)


def test_coverage_against_opencv() -> None:
    mask = fish(445, 590)
    ours = resize_mask(mask, (28, 37))
    theirs = cv2.resize(mask.astype(np.float32), (37, 28), interpolation=cv2.INTER_AREA) * 255
    assert ours.dtype == np.uint8
    assert np.abs(ours - theirs).max() <= 0.6
    assert abs(ours.mean() / 255 - mask.mean()) < 1e-3


def test_a_mask_survives_to_the_working_size_and_back() -> None:
    mask = fish(445, 590)
    working = resize_mask(mask, (448, 592)) >= 128
    back = resize_mask(working, (445, 590)) >= 128
    assert iou(back, mask) > 0.99
