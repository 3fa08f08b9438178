"""Mirrored and rotated copies of a photograph, some of them with a mask that does not match."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import numpy.typing as npt

from fishseg.datasets.sample.camera import Picture
from fishseg.datasets.sample.frame import HEIGHT, WIDTH

WRONG_MASK_IOU = 0.5
"""A wrong mask overlaps the right one by less than this, if any of its draws does."""

_WRONG_MASK_DRAWS = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transform:
    """Mirrored left-right (if ``flipped``), then rotated about the middle of the frame.

    ``rotation_degrees``, 0 to 360, turns the picture counter-clockwise as seen.
    """

    flipped: bool
    rotation_degrees: float

    def matrix(self) -> npt.NDArray[np.float64]:
        """The affine map ``(2, 3)`` from photo to copy, on pixel centres ``(x, y, 1)``."""
        angle = math.radians(self.rotation_degrees)
        cos, sin = math.cos(angle), math.sin(angle)
        middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
        # y points down, so that this turns counter-clockwise as seen.
        linear_part = np.array([[cos, sin], [-sin, cos]])
        if self.flipped:
            linear_part = linear_part @ np.diag([-1.0, 1.0])
        return np.column_stack([linear_part, middle - linear_part @ middle])

    def copy_picture(self, picture: Picture) -> Picture:
        """The picture in a frame of the same size; black where the photo does not reach."""
        copied: Picture = cv2.warpAffine(
            picture, self.matrix(), (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC
        )
        return copied

    def copy_mask(self, coverage: Picture) -> Picture:
        """The mask, 0 or 255: foreground where at least half of a pixel is covered."""
        moved = cv2.warpAffine(coverage, self.matrix(), (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
        return np.where(moved >= 128, 255, 0).astype(np.uint8)


def draw_transform(rng: np.random.Generator) -> Transform:
    """Mirrored or not with equal chance, at any angle."""
    return Transform(flipped=bool(rng.integers(2)), rotation_degrees=float(rng.uniform(0, 360)))


def draw_wrong_transform(
    right: Transform, coverage: Picture, rng: np.random.Generator
) -> Transform:
    """A transform for the mask that puts the animal clearly somewhere else than in the image.

    A long fish turned by half looks nearly the same, so draws are judged by the masks that they
    give; if none is far enough (an animal that fills the frame), the farthest is taken.
    """
    target = right.copy_mask(coverage) > 0
    candidates: list[tuple[float, Transform]] = []
    for _ in range(_WRONG_MASK_DRAWS):
        candidate = draw_transform(rng)
        mask = candidate.copy_mask(coverage) > 0
        iou = float(np.sum(mask & target)) / max(float(np.sum(mask | target)), 1.0)
        if iou < WRONG_MASK_IOU:
            return candidate
        candidates.append((iou, candidate))
    return min(candidates, key=lambda pair: pair[0])[1]
