"""Masks by their rule: which values are fish, which are ignored, at the size of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fishseg.errors import DataError, ParameterError
from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import COLOUR, MaskRule, parse_rule
from fishseg.images.masks import read_mask, read_objects, read_truth

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


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


# The rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (">127", MaskRule("above", (127,))),
        ("<  128", MaskRule("below", (128,))),
        ("not 0", MaskRule("not", (0,))),
        ("fish: 1; ignore: 255", MaskRule("is", (1,), (255,))),
        ("fish:2,1 ;ignore:255, 3", MaskRule("is", (1, 2), (3, 255))),
        ("not 0; ignore: 255", MaskRule("not", (0,), (255,))),
        (">127; ignore: 128", MaskRule("above", (127,), (128,))),
        (
            "fish: #FF0000; ignore: #ffffff",
            MaskRule("is", (COLOUR + 0xFF0000,), (COLOUR + 0xFFFFFF,)),
        ),
        ("opaque", MaskRule("opaque")),
        ("transparent", MaskRule("transparent")),
    ],
)
def test_a_rule_is_read(text: str, rule: MaskRule) -> None:
    assert parse_rule(text) == rule
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "fish", "fish:", "fish: one", "fish: -1", "fish: 1; fish: 2", "ignore: 255"),
        *("fish: 1; ignore: 1", "fish: 1; ignore: #ff0000", "fish: #ff00", ">", "> 1, 2", "!= 0"),
        *("opaque; ignore: 3", "fish: 1; ignore: 2; ignore: 3", "Auto", "not", "fish: 1.5"),
    ],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="does not say which values") as caught:
        parse_rule(text)
    assert "not 0" in str(caught.value.expected)


levels = st.integers(0, 65535)
colours = st.integers(COLOUR, COLOUR + 0xFFFFFF)
rules = st.one_of(
    st.builds(MaskRule, st.sampled_from(["above", "below"]), st.tuples(levels)),
    st.sampled_from([levels, colours]).flatmap(
        lambda value: st.lists(value, min_size=2, max_size=6, unique=True).flatmap(
            lambda found: st.builds(
                lambda kind, cut: MaskRule(
                    kind, tuple(sorted(found[:cut])), tuple(sorted(found[cut:]))
                ),
                st.sampled_from(["is", "not"]),
                st.integers(1, len(found)),
            )
        )
    ),
)


@given(rules)
def test_a_rule_and_its_text_are_one(rule: MaskRule) -> None:
    assert parse_rule(str(rule)) == rule


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        rule = parse_rule(text)
    except ParameterError:
        return
    assert parse_rule(str(rule)) == rule


# Reading by it


@pytest.mark.parametrize(
    ("values", "rule", "expected", "valid"),
    [
        ([0, 1, 255], "fish: 1; ignore: 255", [0, 1, 0], [1, 1, 0]),
        ([0, 1, 255], "not 0; ignore: 255", [0, 1, 0], [1, 1, 0]),
        ([0, 1, 255], ">127", [0, 0, 1], None),
        ([0, 1, 40], "not 0", [0, 1, 1], None),
        ([1, 2, 3], "fish: 1; ignore: 3", [1, 0, 0], [1, 1, 0]),
        ([1, 2, 2], "fish: 1", [1, 0, 0], None),
        ([1, 2, 2], "fish: 1; ignore: 7", [1, 0, 0], None),
        ([0, 85, 170], "fish: 85, 170", [0, 1, 1], None),
        ([0, 128, 255], "<128", [1, 0, 0], None),
        ([100, 128, 200], ">127; ignore: 128", [0, 0, 1], [1, 0, 1]),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_levels(
    values: list[int],
    rule: str,
    expected: list[int],
    valid: list[int] | None,
    dtype: Any,
    tmp_path: Path,
) -> None:
    suffix = "tif" if dtype == np.int32 else "png"
    path = save(tmp_path / f"a.{suffix}", np.array([values], dtype))
    found = read_truth(path, (1, 3), rule)
    np.testing.assert_array_equal(found.fish, [np.array(expected, bool)])
    if valid is None:
        assert found.valid is None
    else:
        np.testing.assert_array_equal(found.valid, [np.array(valid, bool)])
    np.testing.assert_array_equal(read_mask(path, (1, 3), rule), found.fish)


def test_colours_and_the_entries_of_a_palette(tmp_path: Path) -> None:
    colours = np.array([[[255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8)
    path = save(tmp_path / "a.png", colours)
    fish_, valid = read_truth(path, (1, 3), "fish: #ff0000; ignore: #0000ff")
    np.testing.assert_array_equal(fish_, [[False, True, False]])
    np.testing.assert_array_equal(valid, [[True, True, False]])
    with pytest.raises(DataError, match="in colours") as caught:
        read_mask(path, (1, 3), "fish: 1")
    assert "#ff0000" in str(caught.value.expected)
    # As PASCAL VOC has it: entries of a palette, which are numbers and colours at once.
    indexed = Image.fromarray(np.array([[0, 1, 255]], np.uint8), "P")
    indexed.putpalette([0, 0, 0, 128, 0, 0, *[0] * 759, 224, 224, 192])
    indexed.save(tmp_path / "voc.png")
    for rule in ("fish: 1; ignore: 255", "fish: #800000; ignore: #e0e0c0"):
        fish_, valid = read_truth(tmp_path / "voc.png", (1, 3), rule)
        np.testing.assert_array_equal(fish_, [[False, True, False]])
        np.testing.assert_array_equal(valid, [[True, True, False]])


def test_not_black_is_any_colour(tmp_path: Path) -> None:
    colours = np.array([[[0, 0, 0], [0, 0, 30], [1, 0, 0], [255, 255, 0]]], np.uint8)
    mask = read_mask(save(tmp_path / "a.png", colours), (1, 4), "not 0")
    np.testing.assert_array_equal(mask, [[False, True, True, True]])


def test_what_is_opaque(tmp_path: Path) -> None:
    pixels = np.array([[[30, 120, 30, 255], [30, 120, 30, 0], [0, 0, 0, 128]]], np.uint8)
    path = save(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_mask(path, (1, 3), "opaque"), [[True, False, True]])
    np.testing.assert_array_equal(read_mask(path, (1, 3), "transparent"), [[False, True, False]])


@pytest.mark.parametrize("bits", [2, 4])
def test_labels_of_few_bits_are_numbers(bits: int, tmp_path: Path) -> None:
    """Pillow spreads them over 0 to 255."""
    labels = np.array([[0, 1, 2, 1]], np.uint8)
    path = tmp_path / "a.png"
    indexed = Image.fromarray(labels, "P")
    indexed.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2])
    indexed.save(path, bits=bits)
    grey = bytearray(path.read_bytes())
    # The same file as grey levels: colour type 0 instead of 3, no palette.
    import struct
    import zlib

    grey[25] = 0
    grey[29:33] = struct.pack(">I", zlib.crc32(bytes(grey[12:29])))
    start = grey.index(b"PLTE") - 4
    length = int.from_bytes(grey[start : start + 4], "big")
    path.write_bytes(bytes(grey[:start] + grey[start + 12 + length :]))
    with Image.open(path) as image:
        assert image.mode == "L"
    np.testing.assert_array_equal(read_mask(path, (1, 4), "fish: 1"), [[False, True, False, True]])


def test_32_bit_floats_that_are_whole_numbers_are_labels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", np.array([[0, 1, 2]], np.float32))
    np.testing.assert_array_equal(read_mask(path, (1, 3), "fish: 2"), [[False, False, True]])
    path = save(tmp_path / "b.tif", np.array([[0, 0.5, 1]], np.float32))
    with pytest.raises(DataError, match="32-bit"):
        read_mask(path, (1, 3), "fish: 1")


# At the size of the image


@pytest.mark.parametrize("size", [(60, 80), (223, 297), (400, 534), (890, 1180)])
def test_a_mask_of_the_same_proportions_is_resized(size: tuple[int, int], tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", fish(*size))
    mask = read_mask(path, (445, 590), "not 0")
    truth = fish(445, 590)
    nearest = np.array(Image.open(path).resize((590, 445), Image.Resampling.NEAREST))
    assert mask.shape == (445, 590)
    assert iou(mask, truth) > 0.94
    assert iou(mask, truth) > iou(nearest, truth)


def test_what_is_ignored_is_resized_along(tmp_path: Path) -> None:
    values = np.where(fish(100, 150), 1, 0).astype(np.uint8)
    values[:, 75:] = 255
    found = read_truth(save(tmp_path / "a.png", values), (200, 300), "fish: 1; ignore: 255")
    assert found.valid is not None
    np.testing.assert_array_equal(found.valid[:, [0, 149, 150, 299]].all(axis=0), [1, 1, 0, 0])
    assert not (found.fish & ~found.valid).any()
    assert iou(found.fish[:, :150], fish(200, 300)[:, :150]) > 0.97


@pytest.mark.parametrize("size", [(590, 445), (448, 448), (445, 560), (222, 300)])
def test_a_mask_of_other_proportions_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", fish(*size))
    with pytest.raises(DataError, match="does not fit") as caught:
        read_mask(path, (445, 590), "not 0")
    assert f"{size[1]}x{size[0]}" in caught.value.what
    assert ("EXIF" in caught.value.what) == (size == (590, 445))


def test_a_rotated_photo_with_its_mask(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = np.zeros((24, 36, 3), np.uint8)
    image = read_image(save(tmp_path / "a.jpg", picture, exif=exif))
    upright = save(tmp_path / "upright.png", fish(36, 24))
    np.testing.assert_array_equal(read_mask(upright, image.shape[:2], "not 0"), fish(36, 24))
    as_stored = save(tmp_path / "as_stored.png", fish(24, 36))
    with pytest.raises(DataError, match="before its EXIF orientation"):
        read_mask(as_stored, image.shape[:2], "not 0")


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_masks_come_out_clean(quality: int, tmp_path: Path) -> None:
    shape = fish(200, 300)
    path = save(tmp_path / "a.jpg", shape.astype(np.uint8) * 255, quality=quality)
    mask = read_mask(path, (200, 300), ">127")
    assert iou(mask, shape) > 0.995
    # No crumbs of noise: everything that was found touches the fish.
    near = cv2.dilate(shape.astype(np.uint8), np.ones((17, 17))).astype(bool)
    assert not (mask & ~near).any()


# Masks that number their fish


def numbered(path: Path) -> np.ndarray:
    """Three fish, of which two touch, as 3, 7 and 200; and what does not count as 255."""
    values = np.zeros((20, 30), np.uint8)
    values[2:8, 2:12] = 7
    values[2:8, 12:20] = 3
    values[12:16, 5:15] = 200
    values[18:] = 255
    Image.fromarray(values).save(path)
    return values


def test_each_value_is_a_fish_numbered_in_their_order(tmp_path: Path) -> None:
    values = numbered(tmp_path / "a.png")
    found = read_objects(tmp_path / "a.png", (20, 30), "numbered; ignore: 255")
    assert found is not None
    expected = np.zeros((20, 30), np.int32)
    for number, value in enumerate((3, 7, 200), start=1):
        expected[values == value] = number
    np.testing.assert_array_equal(found, expected)
    truth = read_truth(tmp_path / "a.png", (20, 30), "numbered; ignore: 255")
    np.testing.assert_array_equal(truth.fish, expected > 0)
    assert truth.valid is not None
    np.testing.assert_array_equal(truth.valid, values != 255)


@pytest.mark.parametrize("rule", ["not 0", ">127", "fish: 3", "opaque"])
def test_other_rules_tell_no_fish_apart(tmp_path: Path, rule: str) -> None:
    numbered(tmp_path / "a.png")
    assert read_objects(tmp_path / "a.png", (20, 30), rule) is None


def test_numbers_in_sixteen_bits_in_colours_and_in_a_palette(tmp_path: Path) -> None:
    values = numbered(tmp_path / "a.png")
    expected = read_objects(tmp_path / "a.png", (20, 30), "numbered")
    assert expected is not None
    Image.fromarray(values.astype(np.uint16) * 100).save(tmp_path / "deep.png")
    colours = np.stack([values, values // 2, np.where(values, 90, 0)], axis=-1).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "colours.png")
    palette = Image.fromarray(values, "P")
    palette.putpalette([(37 * index) % 256 for index in range(768)])
    palette.save(tmp_path / "palette.png")
    for name in ("deep", "colours", "palette"):
        found = read_objects(tmp_path / f"{name}.png", (20, 30), "numbered")
        np.testing.assert_array_equal(found, expected, err_msg=name)
        fish = read_mask(tmp_path / f"{name}.png", (20, 30), "numbered")
        np.testing.assert_array_equal(fish, expected > 0, err_msg=name)


def test_numbers_of_another_size_are_not_mixed(tmp_path: Path) -> None:
    numbered(tmp_path / "a.png")
    found = read_objects(tmp_path / "a.png", (60, 90), "numbered; ignore: 255")
    small = read_objects(tmp_path / "a.png", (20, 30), "numbered; ignore: 255")
    assert found is not None
    assert small is not None
    np.testing.assert_array_equal(found, np.kron(small, np.ones((3, 3), np.int32)))


def test_compression_leaves_no_numbers(tmp_path: Path) -> None:
    values = numbered(tmp_path / "a.png")
    Image.fromarray(values).save(tmp_path / "a.jpg")
    for read in (read_objects, read_truth):
        with pytest.raises(DataError, match="do not survive this kind of compression"):
            read(tmp_path / "a.jpg", (20, 30), "numbered")


def test_background_has_no_number() -> None:
    for rule in ("numbered; ignore: 0", "numbered; ignore: #ff0000", "numbered: 3"):
        with pytest.raises(ParameterError):
            parse_rule(rule)
    assert str(parse_rule("numbered;ignore:255")) == "numbered; ignore: 255"
