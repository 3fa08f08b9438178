"""A photograph with its fish, the lines they were measured along, and their numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fishseg.plots.overlays import overlay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fishseg.measurement.size import Measurement

_AXIS_RGB = (0, 205, 255)
_INK_RGB, _HALO_RGB = (255, 255, 255), (0, 0, 0)
_FRACTION_BITS = 4  # OpenCV draws to a sixteenth of a pixel
# One pixel of line for each so many of the diagonal.
_DIAGONAL_PER_LINE_PX = 400


def measured_overlay(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], fish: Sequence[Measurement]
) -> NDArray[np.uint8]:
    """The overlay of a mask with the body axis of each fish, and its number where there are more.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
        fish: in the order of their numbers, which count from 1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture = overlay(image, mask)
    line_px = max(1, round(math.hypot(*mask.shape) / _DIAGONAL_PER_LINE_PX))
    for measured in fish:
        _draw_axis(picture, measured, line_px)
    if len(fish) > 1:
        for number, measured in enumerate(fish, start=1):
            _write(picture, str(number), measured.axis[len(measured.axis) // 2], line_px)
    return picture


def _draw_axis(picture: NDArray[np.uint8], measured: Measurement, line_px: int) -> None:
    """The axis with a short bar across each end."""
    half_bar = max(2.0, 0.12 * measured.width_px)
    lines = [measured.axis]
    for end, inner in ((0, 1), (-1, -2)):
        run, rise = measured.axis[end] - measured.axis[inner]
        across = np.array([-rise, run]) / max(math.hypot(run, rise), 1e-9) * half_bar
        lines.append(np.stack([measured.axis[end] - across, measured.axis[end] + across]))
    # OpenCV puts whole numbers at the pixels' centres.
    corners = [np.round((line - 0.5) * 2**_FRACTION_BITS).astype(np.int32) for line in lines]
    cv2.polylines(picture, corners, False, _AXIS_RGB, line_px, cv2.LINE_AA, _FRACTION_BITS)


def _write(
    picture: NDArray[np.uint8], text: str, centre: NDArray[np.float64], line_px: int
) -> None:
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.5 * (line_px + 1)
    (width, height), _ = cv2.getTextSize(text, font, scale, line_px)
    corner = (round(centre[0] - width / 2), round(centre[1] + height / 2))
    for colour, thickness in ((_HALO_RGB, 3 * line_px + 1), (_INK_RGB, line_px)):
        cv2.putText(picture, text, corner, font, scale, colour, thickness, cv2.LINE_AA)
