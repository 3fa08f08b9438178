"""Mask files to what is fish in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fishseg.errors import DataError
from fishseg.images.decoding import decode, over_black
from fishseg.images.resizing import resize

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

# Darker than this, of 255, is black: compression leaves about as much around a coloured outline.
BLACK_LEVEL = 32
# A mask that is nowhere brighter than this numbers its objects: 0, 1, 2, ... and 0 is background.
MAX_LABEL = 31


def read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of an image of the given ``(height, width)``, in whatever way it was written.

    Foreground is, in a mask of

    - grey levels (0/255, soft edges, JPEG, 16 bits): what is brighter than half the brightest;
    - small numbers (no level above 31, such as 0/1 or numbered objects): what is not 0;
    - colours: what is not black, or, where a palette shows no black, what is not its entry 0;
    - transparency: the above over black, or the opaque part where that leaves nothing.

    A mask of another size and the same proportions (to 1% or one pixel) is resized.

    Returns:
        ``(H, W)`` bool, True on fish.

    Raises:
        DataError: the file cannot be read (see `read_image`), or its proportions are not those of
            its image.
    """
    mask = _foreground(decode(path))
    if mask.shape == size:
        return mask
    if not _same_proportions(mask.shape, size):
        raise _misfit(path, mask.shape, size)
    # Interpolated and cut at one half, an outline keeps its place between the pixels: at every
    # scale tried this came nearer to a mask drawn at the final size than nearest neighbour or box.
    return resize(mask.astype(np.uint8) * 255, size) >= 128


def _foreground(image: Image.Image) -> NDArray[np.bool_]:
    if image.mode.startswith("I"):
        return _above_half(np.asarray(image))
    if image.mode in ("1", "L") and not image.has_transparency_data:
        return _above_half(np.asarray(image.convert("L")))
    colours = over_black(image)
    if image.has_transparency_data and not colours.any():
        opacity = np.asarray(image.convert("RGBA").getchannel("A"))
        # Black and opaque all over is a picture without fish.
        return _above_half(np.zeros_like(opacity) if opacity.min() == 255 else opacity)
    red, green, blue = np.moveaxis(colours, 2, 0)
    brightness = np.maximum(np.maximum(red, green), blue)
    darkness = np.minimum(np.minimum(red, green), blue)
    if (brightness - darkness).max() < BLACK_LEVEL:
        return _above_half(brightness)
    foreground: NDArray[np.bool_] = brightness >= BLACK_LEVEL
    if image.mode == "P" and foreground.all():
        foreground = np.asarray(image) != 0
    return foreground


def _above_half(levels: NDArray[np.integer]) -> NDArray[np.bool_]:
    peak = levels.max()
    above: NDArray[np.bool_] = levels > (0 if peak <= MAX_LABEL else peak // 2)
    return above


def _same_proportions(found: tuple[int, ...], expected: tuple[int, int]) -> bool:
    """Whether two sizes differ by a scale and by the rounding of their sides."""
    height, width = found
    full_height, full_width = expected
    width_off = abs(width - height * full_width / full_height)
    height_off = abs(height - width * full_height / full_width)
    return width_off <= max(1, 0.01 * width) or height_off <= max(1, 0.01 * height)


def _misfit(path: Path, found: tuple[int, ...], expected: tuple[int, int]) -> DataError:
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
