"""Mask files to what is fish in them, by a rule that is declared or has no rival."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from fishseg.errors import DataError
from fishseg.images.decoding import Decoded, decode, over_black, unknown_white
from fishseg.images.mask_rule import COLOUR, MaskRule, parse_rule
from fishseg.images.resizing import resize

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# How far compression pulls the channels of a grey pixel apart, and levels away from black or white.
NOISE = 32
MAX_LABEL = 2**24  # the largest whole number up to which a 32-bit float holds all


class Truth(NamedTuple):
    """What a mask says of each pixel ``(H, W)``.

    Attributes:
        fish: bool, True on fish; False where nothing is known.
        valid: bool, False on pixels that count in no metric and no loss; None where all count.
    """

    fish: NDArray[np.bool_]
    valid: NDArray[np.bool_] | None


def read_mask(path: Path, size: tuple[int, int], rule: str) -> NDArray[np.bool_]:
    """The fish of `read_truth`, ``(H, W)`` bool: for whoever draws or compares masks."""
    return read_truth(path, size, rule).fish


def read_truth(path: Path, size: tuple[int, int], rule: str) -> Truth:
    """The mask of an image of the given ``(height, width)``.

    A mask of another size and the same proportions (to 1% or one pixel) is resized.

    Args:
        path: the file.
        size: of its image.
        rule: which values are fish, as `fishseg.images.mask_rule.parse_rule` reads it.

    Raises:
        DataError: the file cannot be read (see `fishseg.images.decoding.read_image`), its
            proportions are not those of its image, or the rule is for levels and the mask in
            colours.
    """
    wanted = parse_rule(rule)
    decoded = decode_mask(path)
    require_fit(path, (decoded.image.height, decoded.image.width), size)
    fish, ignored = _apply(wanted, decoded, path)
    fish = _at(fish, size)
    if ignored is None or not ignored.any():
        return Truth(fish, None)
    valid = ~_at(ignored, size)
    return Truth(fish & valid, valid)


def read_objects(path: Path, size: tuple[int, int], rule: str) -> NDArray[np.int32] | None:
    """Which fish of an image of the given ``(height, width)`` each pixel belongs to.

    A mask of another size is sampled at the middle of each pixel.

    Returns:
        ``(H, W)``: the fish are numbered from 1 in the order of their values, 0 is everything
        else. None where the rule does not tell fish apart.

    Raises:
        DataError: as `read_truth` does; or compression has changed the numbers.
    """
    wanted = parse_rule(rule)
    if not wanted.numbers_fish:
        return None
    decoded = decode_mask(path)
    require_fit(path, (decoded.image.height, decoded.image.width), size)
    values = _numbers(decoded, path)
    values[np.isin(values, wanted.ignored)] = 0
    found, codes = np.unique(values, return_inverse=True)
    objects = codes.reshape(values.shape).astype(np.int32) + (0 if found[0] == 0 else 1)
    height, width = size
    return np.array(Image.fromarray(objects).resize((width, height), Image.Resampling.NEAREST))


def _numbers(decoded: Decoded, path: Path) -> NDArray[np.int64]:
    """The values of a mask that numbers its fish, ``(H, W)``; 0 is none."""
    if decoded.lossy:
        raise DataError(
            "the numbers of the fish do not survive this kind of compression",
            where=path,
            expected="each fish with a value of its own, exactly",
            remedy="export the masks as PNG or TIFF",
        )
    found = levels(decoded)
    if found.kind == "transparent":
        found = _colour_levels(over_black(decoded.image), lossy=False)
    return np.array(found.values, np.int64) - (COLOUR if found.kind == "colour" else 0)


def decode_mask(path: Path) -> Decoded:
    """A mask file, as `fishseg.images.decoding.decode` gives it; 32-bit floats as whole numbers.

    Raises:
        DataError: the file cannot be read, or holds floats that are not whole.
    """
    decoded = decode(path)
    if decoded.image.mode != "F":
        return decoded
    values = np.asarray(decoded.image)
    # Labels, as ImageJ writes them; anything else is a measurement of something.
    if not np.array_equal(values, np.abs(np.rint(values))) or values.max() > MAX_LABEL:
        raise unknown_white(path)
    return decoded._replace(image=Image.fromarray(values.astype(np.int32)))


class Levels(NamedTuple):
    """The values of a mask, ``(H, W)`` integers.

    Attributes:
        kind: ``grey``; ``index``, the entries of a palette of colours; ``colour``, as
            `fishseg.images.mask_rule.COLOUR` counts them; ``transparent``, how opaque it is.
        values: the values.
        dark_zero: whether the value 0 is shown dark.
        two_toned: of ``transparent``: whether its visible part is black and white itself.
    """

    kind: str
    values: NDArray[np.integer]
    dark_zero: bool = True
    two_toned: bool = False


def levels(decoded: Decoded) -> Levels:
    """The values of a mask, in the terms in which it was most likely meant."""
    image = decoded.image
    if image.has_transparency_data:
        opacity = np.asarray(image.convert("RGBA").getchannel("A"))
        if opacity.min() < 255:
            shown = np.asarray(image.convert("RGBA").convert("L"))[opacity >= 128]
            two_toned = bool((shown < NOISE).any() and (shown >= 256 - NOISE).any())
            return Levels("transparent", opacity, two_toned=two_toned)
    if image.mode == "P":
        return _palette_levels(decoded)
    if image.mode.startswith(("1", "L", "I")):
        return Levels("grey", _grey_levels(decoded))
    return _colour_levels(np.asarray(image.convert("RGB")), lossy=decoded.lossy)


def _grey_levels(decoded: Decoded) -> NDArray[np.integer]:
    image = decoded.image
    if image.mode.startswith("I"):
        return np.asarray(image)
    values = np.asarray(image.convert("L"))
    step = decoded.level_step
    # Of few bits, 0 and the highest level are black and white, anything else is labels.
    if step == 1 or not ((values > 0) & (values < 255)).any():
        return values
    return values // step


def _palette_levels(decoded: Decoded) -> Levels:
    image = decoded.image
    entries = np.asarray(image)
    colours = np.asarray(image.convert("RGB"))
    used, first = np.unique(entries, return_index=True)
    shown = colours.reshape(-1, 3)[first].astype(int)
    spread = shown.max(axis=1) - shown.min(axis=1)
    if not spread.any() and len(np.unique(shown[:, 0])) == len(used):
        return Levels("grey", colours[:, :, 0])
    dark_zero = used[0] != 0 or bool(shown[0].max() < NOISE)
    return Levels("index", entries, dark_zero=dark_zero)


def _colour_levels(colours: NDArray[np.uint8], *, lossy: bool) -> Levels:
    brightest, darkest = colours.max(axis=2), colours.min(axis=2)
    spread = int((brightest - darkest).max())
    # Compressed black and white is grey but for noise; dark colours may as well be numbers.
    noise = lossy or brightest.max() >= 256 - NOISE
    if spread == 0 or (noise and spread < NOISE):
        return Levels("grey", brightest)
    return Levels("colour", _colour_numbers(colours))


def _colour_numbers(colours: NDArray[np.uint8]) -> NDArray[np.integer]:
    red, green, blue = np.moveaxis(colours.astype(np.int64), 2, 0)
    numbers: NDArray[np.integer] = COLOUR + (red << 16) + (green << 8) + blue
    return numbers


def _apply(
    rule: MaskRule, decoded: Decoded, path: Path
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Fish and ignored pixels of a mask at its own size."""
    image = decoded.image
    if rule.kind in ("opaque", "transparent"):
        return rule.is_fish(np.asarray(image.convert("RGBA").getchannel("A"))), None
    if rule.numbers_fish:
        numbers = _numbers(decoded, path)
        return rule.is_fish(numbers), ~rule.counts(numbers) if rule.ignored else None
    if rule.names_colours:
        found = Levels("colour", _colour_numbers(over_black(image)))
    else:
        found = levels(decoded)
        if found.kind == "transparent":
            found = _colour_levels(over_black(image), lossy=decoded.lossy)
        if found.kind == "colour" and rule.values != (0,):
            raise _needs_colours(path, rule)
    values = found.values
    if found.kind == "colour" and not rule.names_colours:
        values = values - COLOUR
    return rule.is_fish(values), ~rule.counts(values) if rule.ignored else None


def of_run_lengths(counts: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask ``(H, W)`` of its run lengths, background and fish in turn, column by column.

    Raises:
        ValueError: they do not add up to a picture of that ``(height, width)``.
    """
    lengths = np.asarray(counts, np.int64)
    if (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
        raise ValueError("the run lengths do not add up to the picture")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(size[::-1]).T


def _at(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    if mask.shape == size:
        return mask
    # Interpolated and cut at one half, an outline keeps its place between the pixels: at every
    # scale tried this came nearer to a mask drawn at the final size than nearest neighbour or box.
    return resize(mask.astype(np.uint8) * 255, size) >= 128


def require_fit(path: Path, found: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise `DataError` where a mask's ``(height, width)`` has not the proportions of ``size``."""
    if found != size and not _same_proportions(found, size):
        raise _misfit(path, found, size)


def _same_proportions(found: tuple[int, int], expected: tuple[int, int]) -> bool:
    """Whether two sizes differ by a scale and by the rounding of their sides."""
    height, width = found
    full_height, full_width = expected
    width_off = abs(width - height * full_width / full_height)
    height_off = abs(height - width * full_height / full_width)
    return width_off <= max(1, 0.01 * width) or height_off <= max(1, 0.01 * height)


def _misfit(path: Path, found: tuple[int, int], expected: tuple[int, int]) -> DataError:
    mask_size, image_size = f"{found[1]}x{found[0]}", f"{expected[1]}x{expected[0]}"
    what = f"the mask does not fit: its image is {image_size} pixels and it is {mask_size}"
    remedy = "export the mask at the image's size, uncropped"
    if found == expected[::-1]:
        what += ", which is the image's size before its EXIF orientation is applied"
        remedy = "turn the mask the way the image is shown"
    return DataError(
        what,
        where=path,
        expected=f"{image_size} pixels, or the same proportions",
        remedy=remedy,
    )


def _needs_colours(path: Path, rule: MaskRule) -> DataError:
    return DataError(
        f"the mask is in colours, and the rule {str(rule)!r} is for levels",
        where=path,
        expected="a rule that names colours, such as 'fish: #ff0000'",
        remedy="change data.mask_values or --mask-values, or write all masks in one way",
    )
