"""Pictures as they are compared: small, grey, and without the black corners of rotated copies.

An affine map is a ``(3, 3)`` float64 matrix on pixel centres ``(x, y, 1)``, y down.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from fishseg.images.decoding import read_image

if TYPE_CHECKING:
    from pathlib import Path

Affine: TypeAlias = NDArray[np.float64]
Grey: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]

# Half the height of the Kaggle set's copies. Registration is good to a tenth of a pixel of the
# full size there, in a quarter of the time.
SHORT_SIDE = 224
# Panoramas are narrowed to this many times their short side; the rest of them is not looked at.
MAX_ASPECT = 4
# Grey levels. What fills the corners of a copy was black once; compression, noise and a change of
# brightness may have lifted it, but it stays flat.
BLACKEST_CORNER = 60
CORNER_SPREAD = 12


@dataclasses.dataclass(frozen=True)
class GreyImage:
    """A picture at working size.

    Args:
        pixels: ``(h, w)`` uint8 grey, the shorter side `SHORT_SIDE`.
        size: ``(height, width)`` of the file it comes from.
    """

    pixels: Grey
    size: tuple[int, int]

    @property
    def from_full(self) -> Affine:
        """The map from the pixels of the file to those of ``pixels``."""
        return scaling(self.size, (self.pixels.shape[0], self.pixels.shape[1]))


def load_grey_image(path: Path) -> GreyImage:
    """Read an image file at working size.

    Raises:
        DataError: see `fishseg.images.decoding.read_image`.
    """
    grey = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = SHORT_SIDE / min(height, width)
    longest = SHORT_SIDE * MAX_ASPECT
    working = (min(round(width * scale), longest), min(round(height * scale), longest))
    return GreyImage(shrink(grey, (working[1], working[0])), (height, width))


def shrink(grey: Grey, size: tuple[int, int]) -> Grey:
    """A picture at another ``(height, width)``, antialiased."""
    smaller: Grey = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA)
    return smaller


def content(pixels: Grey) -> Mask:
    """Where a picture ``(h, w)`` shows something: all but the black corners of a rotated copy.

    Black is what is connected to a corner of the frame and as dark as the darkest of the four. A
    picture whose corners are not nearly black is content all over.
    """
    height, width = pixels.shape
    smooth = cv2.medianBlur(pixels, 5)
    corners = [(x, y) for x in (1, width - 2) for y in (1, height - 2)]
    black_level = min(int(smooth[y, x]) for x, y in corners)
    if black_level > BLACKEST_CORNER:
        return np.ones((height, width), np.bool_)
    dark = (smooth <= black_level + CORNER_SPREAD).astype(np.uint8)
    _, labels = cv2.connectedComponents(dark, connectivity=4)
    black = np.isin(labels, [labels[y, x] for x, y in corners if dark[y, x]])
    # The median rounds the tips of the corners off, and interpolation greys their edge.
    grown = cv2.dilate(black.astype(np.uint8), np.ones((5, 5), np.uint8))
    shown: Mask = grown == 0
    return shown


def scaling(size: tuple[int, int], new_size: tuple[int, int]) -> Affine:
    """The map of pixel centres when a frame ``(height, width)`` is resized to another."""
    (height, width), (new_height, new_width) = size, new_size
    x, y = new_width / width, new_height / height
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]], np.float64)


def warp(
    pixels: NDArray[np.generic], to_source: Affine, size: tuple[int, int], interpolation: int
) -> NDArray[np.generic]:
    """What a frame ``(height, width)`` shows of a picture, 0 beyond its edge.

    Args:
        pixels: ``(h, w)`` or ``(h, w, 3)``.
        to_source: from the new frame to ``pixels``.
        size: of the new frame.
        interpolation: OpenCV's number of the method.
    """
    moved: NDArray[np.generic] = cv2.warpAffine(
        pixels, to_source[:2], size[::-1], flags=interpolation | cv2.WARP_INVERSE_MAP
    )
    return moved
