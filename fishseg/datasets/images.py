"""Reading and resizing: the only place that decodes image and mask files.

Sizes are ``(height, width)`` in pixels. A pixel is an area, not a point: pixel ``i`` of an axis
covers ``[i, i + 1)``, and resizing maps the whole axis onto the whole axis
(``align_corners=False`` in torch's words).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fishseg.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# Naming them keeps a renamed file away from Pillow's other decoders, some of which start programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")

# Room for a panorama of 20,000 x 10,000 pixels, which takes 600 MB as RGB. Pillow's own limit
# would stop at 179 million; from here on it agrees with this one.
MAX_PIXELS = 200_000_000
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

# Darker than this, of 255, is black: compression leaves about as much around a coloured outline.
BLACK_LEVEL = 32
# A mask that is nowhere brighter than this numbers its objects: 0, 1, 2, ... and 0 is background.
MAX_LABEL = 31


def read_image(path: Path) -> NDArray[np.uint8]:
    """The first frame of an image file, upright, as RGB.

    Transparent parts are shown over black, which is also what fills the corners of the data set's
    rotated copies. An EXIF orientation is applied; a colour profile is not. 16-bit grey is scaled
    to 8 bits by 1/257, so that white stays white; of 16-bit colour Pillow keeps the high bytes,
    which is the same to within one level.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        DataError: the file is missing, empty, truncated, damaged, too large, no image, or has
            32-bit pixels, whose white nobody can know.
    """
    image = _decode(path)
    if image.mode == "I":
        raise _unknown_white(path)
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    return _over_black(image)


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
    mask = _foreground(_decode(path))
    if mask.shape == size:
        return mask
    if not _same_proportions(mask.shape, size):
        raise _misfit(path, mask.shape, size)
    # Interpolated and cut at one half, an outline keeps its place between the pixels: at every
    # scale tried this came nearer to a mask drawn at the final size than nearest neighbour or box.
    return _resize(mask.astype(np.uint8) * 255, size) >= 128


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image ``(H, W, 3)`` uint8 at another ``(height, width)``, antialiased.

    Bilinear, as DINOv3's own preprocessing does; unlike bicubic it never overshoots at the hard
    edge of a rotated copy's black corner. Pillow computes it in whole numbers, so that the same
    pixels come out on every machine.
    """
    if image.shape[:2] == size:
        return image
    return _resize(image, size)


def resize_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.uint8]:
    """How much of each pixel of another ``(height, width)`` a mask ``(H, W)`` covers.

    The exact share of the area, in whole numbers throughout (Pillow's box filter takes or leaves
    an input pixel whole).

    Returns:
        ``(height, width)`` uint8, 0 where there is no foreground and 255 where there is nothing
        else.
    """
    height, width = size
    # Half as wide numbers are twice as fast, and wide enough for all but the largest masks.
    dtype = np.int32 if (2 * 255 + 1) * mask.size <= np.iinfo(np.int32).max else np.int64
    columns = (_overlaps(mask.shape[0], height, dtype) @ mask.astype(dtype)).T
    covered = (_overlaps(mask.shape[1], width, dtype) @ np.ascontiguousarray(columns)).T
    levels: NDArray[np.integer] = (2 * 255 * covered + mask.size) // (2 * mask.size)
    return levels.astype(np.uint8)


@functools.lru_cache(maxsize=64)  # most masks of a set have the size of the one before
def _overlaps(n: int, m: int, dtype: type[np.signedinteger]) -> csr_array:
    """How much of each of ``n`` pixels of an axis lies in each of ``m`` others: ``(m, n)``.

    In units of ``1/m`` of a pixel, so that all are whole numbers.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415 (slow to import)

    edges = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    starts = edges[:-1]
    return csr_array((np.diff(edges).astype(dtype), (starts // n, starts // m)), shape=(m, n))


def _resize(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = size
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def _decode(path: Path) -> Image.Image:
    """The first frame of a file, upright and in memory, in the mode it was stored in."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(path)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise DataError(
            "the file is empty" if empty else "the file is no image that can be read",
            where=path,
            expected="PNG, JPEG, TIFF, BMP, GIF or WebP",
            remedy="fetch it again, convert it, or remove it",
        ) from None
    # Decoders answer damaged bytes with all kinds of exceptions, SyntaxError and struct.error too.
    except Exception as error:
        raise _damaged(path, error) from None
    if image.mode == "F":
        raise _unknown_white(path)
    return image


def _over_black(image: Image.Image) -> NDArray[np.uint8]:
    """RGB ``(H, W, 3)`` of an image of any 8-bit mode, transparent parts over black."""
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _foreground(image: Image.Image) -> NDArray[np.bool_]:
    if image.mode.startswith("I"):
        return _above_half(np.asarray(image))
    if image.mode in ("1", "L") and not image.has_transparency_data:
        return _above_half(np.asarray(image.convert("L")))
    colours = _over_black(image)
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


def _too_large(path: Path) -> DataError:
    return DataError(
        f"the image has more than {MAX_PIXELS:,} pixels",
        where=path,
        expected="for example 20,000 x 10,000 pixels at most",
        remedy="make it smaller, or cut it into parts",
    )


def _unknown_white(path: Path) -> DataError:
    return DataError(
        "the pixels are 32-bit numbers, and the file does not say which of them is white",
        where=path,
        expected="8 or 16 bits per channel",
        remedy="save it as 8-bit PNG",
    )


def _damaged(path: Path, error: Exception) -> DataError:
    if isinstance(error, OSError) and error.strerror:
        return DataError(
            f"the file cannot be read: {error.strerror}",
            where=path,
            remedy="check that it is there and that you may read it",
        )
    if isinstance(error, MemoryError):
        return DataError(
            "there is not enough memory to decode the image",
            where=path,
            remedy="make it smaller, or close other programs",
        )
    return DataError(
        f"the file is damaged or cut off ({' '.join(str(error).split()) or type(error).__name__})",
        where=path,
        expected="a complete image file",
        remedy="fetch it again, or remove it",
    )
