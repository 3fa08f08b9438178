"""Why a fish may be none, or measured wrongly, in words that a person understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from fishseg.measurement.size import Mask, Measurement

# A picture whose mask falls into so many parts is of a shoal, or not of fish.
MANY_PARTS = 6
# Smaller parts, as a share of the largest, are specks.
_PART_SHARE = 0.01
# No fish at rest bends farther than this from its head to its tail.
MOST_BENT_DEGREES = 180.0
# Eels are deeper than the first share of their length, sunfish less deep than the second.
SLENDEREST, DEEPEST = 0.03, 0.8
# As a share of the picture's size: nearer to the frame, a fish may go on beyond.
FRAME_SHARE = 0.02
# In drawn pictures that the decoder that ships was not trained on, a third of the fish of less
# confidence are wrong, and a tenth of the others.
LEAST_CONFIDENCE = 0.7


def n_parts(mask: Mask) -> int:
    """How many connected parts a mask ``(H, W)`` has, without specks."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return int(np.count_nonzero(areas >= _PART_SHARE * areas.max())) if len(areas) else 0


def reasons(
    fish: Measurement,
    size: tuple[int, int],
    n_parts_of_mask: int,
    *,
    unlike_training: bool = False,
    confidence: float | None = None,
) -> list[str]:
    """What to look at before a measurement is believed; nothing where nothing is odd.

    Args:
        fish: as it was measured.
        size: ``(height, width)`` of its picture.
        n_parts_of_mask: see `n_parts`.
        unlike_training: see `fishseg.metrics.familiarity`.
        confidence: see `fishseg.metrics.confidence.confidence_of`; None of masks that are given.
    """
    found = ["unlike the training pictures"] if unlike_training else []
    if confidence is not None and confidence < LEAST_CONFIDENCE:
        found.append("unsure outline")
    if n_parts_of_mask >= MANY_PARTS:
        found.append(f"the mask is in {n_parts_of_mask} parts")
    if (bent := bend_degrees(fish)) > MOST_BENT_DEGREES:
        found.append(f"bent by {bent:.0f} degrees")
    if (depth := fish.width_px / fish.length_px) > DEEPEST:
        found.append("too deep for a fish")
    elif depth < SLENDEREST:
        found.append("too slender for a fish")
    if _is_at_frame(fish, size):
        found.append("at the frame")
    return found


def bend_degrees(fish: Measurement) -> float:
    """How far the direction of the body axis turns, at most, between two places along it."""
    run, rise = np.diff(fish.axis, axis=0).T
    return float(np.degrees(np.ptp(np.unwrap(np.arctan2(rise, run)))))


def _is_at_frame(fish: Measurement, size: tuple[int, int]) -> bool:
    left, top, width, height = fish.box
    for start, length, whole in ((left, width, size[1]), (top, height, size[0])):
        margin = FRAME_SHARE * whole
        if start < margin or start + length > whole - margin:
            return True
    return False
