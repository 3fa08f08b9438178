"""Images, masks and probabilities at another size, and the size at which the backbone sees them.

Sizes are ``(height, width)`` in pixels. A pixel is an area, not a point: pixel ``i`` of an axis
covers ``[i, i + 1)``, and resizing maps the whole axis onto the whole axis
(``align_corners=False`` in torch's words).

Needs no torch, so that an exported model runs through the same lines as the pipeline.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

# A patch grid's attention costs the square of its area; wider pictures are squashed to this.
MAX_ASPECT = 4.0


def working_size(
    original: tuple[int, int],
    *,
    fit: str,
    image_size: int,
    megapixels: float,
    patch_multiple: int,
) -> tuple[int, int]:
    """The ``(height, width)`` in pixels at which an image of size ``original`` is worked on.

    ``stretch`` makes a square with sides of ``image_size``. ``aspect`` keeps the proportions, up to
    4 to 1, and makes an area of ``megapixels``, so that a standing fish gets as many patches as a
    lying one. Sides are multiples of ``patch_multiple``, so that no border patch is lost: the
    shorter one is rounded first, and the longer one is what fits to it.
    """
    if fit == "stretch":
        side = _to_multiple(image_size, patch_multiple)
        return side, side
    height, width = original
    ratio = min(max(original) / min(original), MAX_ASPECT)
    shorter = _to_multiple(math.sqrt(megapixels * 1e6 / ratio), patch_multiple)
    longer = _to_multiple(shorter * ratio, patch_multiple)
    return (shorter, longer) if height < width else (longer, shorter)


def _to_multiple(length: float, multiple: int) -> int:
    return max(1, round(length / multiple)) * multiple


def to_pixels(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image ``(H0, W0, 3)`` uint8 as pixels ``(3, H, W)`` uint8 of the working size."""
    return np.ascontiguousarray(resize_image(image, size).transpose(2, 0, 1))


def at_size(probability: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """One image's probability ``(H, W)`` resampled to ``size`` ``(H0, W0)``.

    Probabilities rather than logits, and antialiased: where the original is smaller than the
    working size, a pixel gets the mean over the area it covers.
    """
    height, width = size
    resampled = Image.fromarray(probability).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resampled)


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image ``(H, W, 3)`` uint8 at another ``(height, width)``, antialiased.

    Bilinear, as DINOv3's own preprocessing does; unlike bicubic it never overshoots at the hard
    edge of a rotated copy's black corner. Pillow computes it in whole numbers, so that the same
    pixels come out on every machine.
    """
    if image.shape[:2] == size:
        return image
    return resize(image, size)


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


def resize(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels ``(H, W, ...)`` at another ``(height, width)``, bilinear and antialiased."""
    height, width = size
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
