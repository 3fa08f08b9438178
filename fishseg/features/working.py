"""The working resolution, at which the backbone sees an image: how to get there and back.

Needs no torch, so that an exported model runs through the same lines as the pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fishseg.datasets.images import resize_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A patch grid's attention costs the square of its area; wider pictures are squashed to this.
MAX_ASPECT = 4.0


def working_size(
    original: tuple[int, int], *, fit: str, image_size: int, patch_multiple: int
) -> tuple[int, int]:
    """The ``(height, width)`` in pixels at which an image of size ``original`` is worked on.

    ``stretch`` makes a square of ``image_size``; ``aspect`` makes the height ``image_size`` and
    the width what keeps the proportions, up to 4 to 1. Both are rounded to ``patch_multiple``, so
    that no border patch is lost.
    """
    height = _to_multiple(image_size, patch_multiple)
    if fit == "stretch":
        return height, height
    aspect = min(max(original[1] / original[0], 1 / MAX_ASPECT), MAX_ASPECT)
    return height, _to_multiple(image_size * aspect, patch_multiple)


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
