"""The working resolution: the size at which the backbone sees an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

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


def to_pixels(image: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """An image ``(H0, W0, 3)`` uint8 as pixels ``(3, H, W)`` uint8 of the working size."""
    resized = np.ascontiguousarray(resize_image(image, size).transpose(2, 0, 1))
    return torch.from_numpy(resized)
