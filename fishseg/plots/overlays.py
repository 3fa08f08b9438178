"""A photograph with its fish cut out, to look at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTLINE_RGB = (255, 200, 0)
_BACKGROUND_BRIGHTNESS = 0.35
# One pixel of outline for each so many of the diagonal.
_DIAGONAL_PER_LINE_PX = 300


def overlay(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The fish as photographed with an outline around it, the rest dimmed and without colour.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    dimmed = (grey * _BACKGROUND_BRIGHTNESS).astype(np.uint8)
    picture: NDArray[np.uint8] = np.where(mask[..., None], image, dimmed)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    thickness_px = max(1, round(math.hypot(*mask.shape) / _DIAGONAL_PER_LINE_PX))
    cv2.drawContours(picture, outlines, -1, OUTLINE_RGB, thickness_px)
    return picture
