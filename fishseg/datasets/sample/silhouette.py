"""The exact shape of an animal in its photograph."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from fishseg.datasets.sample.anatomy import Anatomy
from fishseg.datasets.sample.camera import Picture
from fishseg.datasets.sample.frame import HEIGHT, SHAPE, WIDTH
from fishseg.datasets.sample.pose import Pose

SUBPIXELS = 8
"""Subpixels along each axis of a pixel, from which coverage is counted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Silhouette:
    """The union of all outlines, rastered at subpixels; it may reach beyond the frame.

    Args:
        origin: photo coordinates (x, y) of the raster's first whole pixel.
        subpixels: 0 or 255, ``(8 * rows, 8 * columns)`` uint8.
    """

    origin: tuple[int, int]
    subpixels: Picture

    @classmethod
    def of(cls, anatomy: Anatomy, pose: Pose) -> Silhouette:
        """Raster an animal where it lies."""
        outlines = [pose.to_photo(outline) for outline in anatomy.outlines()]
        points = np.concatenate(outlines)
        low = np.floor(points.min(axis=0)).astype(int) - 3
        columns, rows = (np.ceil(points.max(axis=0)).astype(int) + 4 - low).tolist()
        canvas = np.zeros((rows * SUBPIXELS, columns * SUBPIXELS), np.uint8)
        for outline in outlines:
            corners = (outline - low + 0.5) * SUBPIXELS - 0.5
            cv2.fillPoly(canvas, [np.round(corners * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
        return cls(origin=(int(low[0]), int(low[1])), subpixels=canvas)

    @property
    def area_px(self) -> float:
        """Area in square pixels, beyond the frame too."""
        return float(np.count_nonzero(self.subpixels) / SUBPIXELS**2)

    @property
    def whole(self) -> bool:
        """Nothing lies outside the frame."""
        fine_frame = np.zeros((HEIGHT * SUBPIXELS, WIDTH * SUBPIXELS), np.uint8)
        x, y = self.origin
        inside = paste(fine_frame, self.subpixels, (x * SUBPIXELS, y * SUBPIXELS))
        return bool(np.count_nonzero(inside) == np.count_nonzero(self.subpixels))

    def coverage(self, oversampling: int) -> Picture:
        """Coverage 0..255 on the raster's own area, ``oversampling`` samples along each pixel."""
        rows, columns = (size * oversampling // SUBPIXELS for size in self.subpixels.shape)
        averaged = cv2.resize(self.subpixels, (columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(averaged, np.uint8)

    def in_frame(self) -> Picture:
        """Coverage 0..255 of the photograph's pixels, ``(H, W)``."""
        return paste(np.zeros(SHAPE, np.uint8), self.coverage(1), self.origin)


def paste(frame: Picture, piece: Picture, origin: tuple[int, int]) -> Picture:
    """A copy of ``frame`` with ``piece`` at ``origin`` (x, y), cut off at the borders."""
    x, y = origin
    top, left = max(y, 0), max(x, 0)
    bottom = min(y + piece.shape[0], frame.shape[0])
    right = min(x + piece.shape[1], frame.shape[1])
    pasted = frame.copy()
    if bottom > top and right > left:
        pasted[top:bottom, left:right] = piece[top - y : bottom - y, left - x : right - x]
    return pasted
