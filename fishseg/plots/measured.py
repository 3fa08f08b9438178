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
_RULER_RGB, _DOUBTFUL_RGB = (60, 220, 90), (255, 80, 60)
_INK_RGB, _HALO_RGB = (255, 255, 255), (0, 0, 0)
_FRACTION_BITS = 4  # OpenCV draws to a sixteenth of a pixel
# One pixel of line for each so many of the diagonal.
_DIAGONAL_PER_LINE_PX = 400


def measured_overlay(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    fish: Sequence[Measurement],
    ruler: tuple[NDArray[np.float64], bool] | None = None,
) -> NDArray[np.uint8]:
    """The overlay of a mask with the body axis of each fish, and its number where there are more.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
        fish: in the order of their numbers, which count from 1.
        ruler: ends of the ticks of what was taken for a ruler, (N, 2, 2), and whether it gave a
            scale; shown as photographed, its ticks in another colour where it did not.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture = overlay(image, mask)
    line_px = max(1, round(math.hypot(*mask.shape) / _DIAGONAL_PER_LINE_PX))
    if ruler is not None:
        _draw_ruler(picture, image, *ruler)
    for measured in fish:
        _draw_axis(picture, measured, line_px)
    if len(fish) > 1:
        for number, measured in enumerate(fish, start=1):
            _write(picture, str(number), measured.axis[len(measured.axis) // 2], line_px)
    return picture


def _draw_ruler(
    picture: NDArray[np.uint8], image: NDArray[np.uint8], ticks: NDArray[np.float64], used: bool
) -> None:
    """The strip of the ticks as photographed, each tick with a stroke along it, and their line."""
    strip = np.zeros(picture.shape[:2], np.uint8)
    around = cv2.boxPoints(cv2.minAreaRect(ticks.reshape(-1, 2).astype(np.float32)))
    cv2.fillPoly(strip, [np.round(around).astype(np.int32)], 255)
    step_px = float(np.median(np.hypot(*np.diff(ticks[:, 0], axis=0).T)))
    reach = 2 * max(1, round(step_px)) + 1
    strip = cv2.dilate(strip, cv2.getStructuringElement(cv2.MORPH_RECT, (reach, reach)))
    picture[strip > 0] = image[strip > 0]
    lines = [*ticks, ticks[:, 0]]
    corners = [np.round((line - 0.5) * 2**_FRACTION_BITS).astype(np.int32) for line in lines]
    # Strokes are thin enough to leave the printed ticks to be seen.
    width_px = max(1, round(step_px / 6))
    colour = _RULER_RGB if used else _DOUBTFUL_RGB
    cv2.polylines(picture, corners, False, colour, width_px, cv2.LINE_AA, _FRACTION_BITS)


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
