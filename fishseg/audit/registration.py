"""How exactly one picture lies on another, and whether they show the same."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fishseg.audit.grey_image import Affine, GreyImage, Mask, content, warp
from fishseg.audit.polar import band_pass

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Enhanced correlation: steps at most, and the gain in correlation that ends it.
_STEPS, _GAIN = 30, 1e-5
_TILE_PX = 24
# Mean square, in grey levels, below which there is no structure, only rounding.
_MIN_STRUCTURE = 0.05
# Share of the structure that may be unlike before two pictures count as unlike: a fish on a
# stained board is more than that.
_WEAKEST_SHARE = 0.25
# How far the refinement may stray from the guess, as a share: further is a false convergence, such
# as onto an even patch blown up.
_MAX_STRETCH, _MAX_SHIFT = 0.12, 0.12
# Share of the smaller frame that two pictures must have in common.
_MIN_OVERLAP = 0.15
_EDGE = np.ones((9, 9), np.uint8)


@dataclasses.dataclass(frozen=True)
class Registration:
    """A copy laid on its source.

    Args:
        affine: from the source's pixels to the copy's, at full size.
        likeness: see `likeness`, -1 to 1.
        residual_px: what is left between the two by optical flow, median over corners, in pixels
            of the copy at full size; nan where there is nothing to follow.
    """

    affine: Affine
    likeness: float
    residual_px: float


@dataclasses.dataclass(frozen=True)
class Pose:
    """An affine map in words: mirrored left-right, then turned, scaled and shifted.

    Args:
        flipped: mirrored.
        rotation_degrees: counter-clockwise as seen, 0 up to 360.
        scale: pixels of the copy for one of the source.
        shift: ``(x, y)`` from the copy's middle to where the source's middle came to lie, in
            pixels of the copy.
    """

    flipped: bool
    rotation_degrees: float
    scale: float
    shift: tuple[float, float]


def pose(affine: Affine, source_size: tuple[int, int], copy_size: tuple[int, int]) -> Pose:
    """The similarity nearest to an affine map from a source to a copy, sizes (height, width)."""
    linear = affine[:2, :2]
    flipped = bool(np.linalg.det(linear) < 0)
    turn = linear @ np.diag([-1.0, 1.0]) if flipped else linear
    angle = math.degrees(math.atan2(turn[0, 1] - turn[1, 0], turn[0, 0] + turn[1, 1]))
    source_middle, copy_middle = (
        np.array([(width - 1) / 2, (height - 1) / 2]) for height, width in (source_size, copy_size)
    )
    x, y = linear @ source_middle + affine[:2, 2] - copy_middle
    return Pose(
        flipped=flipped,
        rotation_degrees=angle % 360,
        scale=math.sqrt(abs(float(np.linalg.det(linear)))),
        shift=(float(x), float(y)),
    )


def register(source: GreyImage, copy: GreyImage, guess: Affine) -> Registration | None:
    """Refine a guess on the pixels and say how like the pictures are there.

    The map is affine, since a photo may have been squeezed a little to the copies' size. It
    maximises the enhanced correlation coefficient (Evangelidis and Psarakis, "Parametric image
    alignment using enhanced correlation coefficient maximization", PAMI 2008), to which brightness
    and contrast do not matter.

    Args:
        source: the photo.
        copy: the picture that may be its copy.
        guess: from source to copy at working size, to within about two degrees and five pixels.

    Returns:
        Nothing where the two do not converge or hardly overlap.
    """
    affine = _align(source, copy, guess)
    if affine is None:
        return None
    moved = _lay(copy, affine, source)
    in_common = _in_common(source, copy, affine)
    # Pixels of the copy for one of the source, both at working size.
    magnification = abs(float(np.linalg.det(affine[:2, :2])))
    smaller = min(source.pixels.size, copy.pixels.size / magnification)
    if in_common.sum() < _MIN_OVERLAP * smaller:
        return None
    scale = copy.size[0] / copy.pixels.shape[0] * math.sqrt(magnification)
    return Registration(
        affine=np.linalg.inv(copy.from_full) @ affine @ source.from_full,
        likeness=likeness(source.pixels, moved, in_common),
        residual_px=scale * _residual(source.pixels, moved, in_common),
    )


def likeness(one: NDArray[np.uint8], other: NDArray[np.uint8], in_common: Mask) -> float:
    """How far two aligned pictures show the same, judged by where they agree least.

    Photographs of one session share their board and its stains and differ in the fish only, so
    agreement on the whole proves nothing. The pictures' structure (see `band_pass`) is compared
    tile by tile; of the tiles, those that agree least and hold a quarter of all structure decide.

    Args:
        one: ``(h, w)`` grey.
        other: the same.
        in_common: where both show something.

    Returns:
        One minus the squared difference of the structures over the sum of their squares: 1 for the
        same, about 0 for unrelated structure, -1 for its negative; 0 where there is no structure.
    """
    inner = cv2.erode(in_common.astype(np.uint8), _EDGE, borderValue=0)
    a, b = band_pass(one) * inner, band_pass(other) * inner
    b *= float(np.linalg.norm(a)) / max(float(np.linalg.norm(b)), 1e-6)
    energy, common = _tile_sums(a * a + b * b), _tile_sums(2 * a * b)
    if energy.sum() <= _MIN_STRUCTURE * max(int(inner.sum()), 1):
        return 0.0
    order = np.argsort(common / np.maximum(energy, 1e-6), kind="stable")
    reached = np.cumsum(energy[order]) / energy.sum()
    weakest = order[: int(np.searchsorted(reached, _WEAKEST_SHARE)) + 1]
    return float(common[weakest].sum() / energy[weakest].sum())


def _align(source: GreyImage, copy: GreyImage, guess: Affine) -> Affine | None:
    """The guess refined on the pixels, or nothing where that fails."""
    moved = _lay(copy, guess, source)
    inner = cv2.erode(_in_common(source, copy, guess).astype(np.uint8), _EDGE, borderValue=0)
    step = np.eye(2, 3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _STEPS, _GAIN)
    try:
        _, step = cv2.findTransformECC(
            source.pixels, moved, step, cv2.MOTION_AFFINE, criteria, inner, 5
        )
    except cv2.error:  # unrelated pictures, or an even one: it says so by failing
        return None
    middle = (np.array(moved.shape[::-1]) - 1) / 2
    stretch = float(np.linalg.norm(step[:, :2] - np.eye(2), 2))
    shift = float(np.linalg.norm(step[:, :2] @ middle + step[:, 2] - middle))
    # Written so that nan is refused, too.
    if not (stretch <= _MAX_STRETCH and shift <= _MAX_SHIFT * min(moved.shape)):
        return None
    affine: Affine = guess @ np.vstack([step, [0, 0, 1]])
    return affine


def _lay(copy: GreyImage, affine: Affine, source: GreyImage) -> NDArray[np.uint8]:
    """The copy as it lies in its source's frame."""
    moved = warp(copy.pixels, affine, _shape(source), cv2.INTER_CUBIC)
    return moved.astype(np.uint8)


def _in_common(source: GreyImage, copy: GreyImage, affine: Affine) -> Mask:
    """Where, in the source's frame, both pictures show something."""
    shown = content(copy.pixels).astype(np.uint8) * 255
    moved = warp(shown, affine, _shape(source), cv2.INTER_LINEAR)
    in_common: Mask = (moved == 255) & content(source.pixels)
    return in_common


def _residual(one: NDArray[np.uint8], other: NDArray[np.uint8], in_common: Mask) -> float:
    inner = cv2.erode(in_common.astype(np.uint8), _EDGE, borderValue=0)
    corners = cv2.goodFeaturesToTrack(one, 80, 0.02, 6, mask=inner)
    if corners is None:
        return math.nan
    followed, found, _ = cv2.calcOpticalFlowPyrLK(one, other, corners, None, winSize=(13, 13))
    moves = np.linalg.norm((followed - corners)[found.astype(bool)], axis=-1)
    return float(np.median(moves)) if len(moves) else math.nan


def _tile_sums(values: NDArray[np.float32]) -> NDArray[np.float32]:
    sums = cv2.boxFilter(
        values, -1, (_TILE_PX, _TILE_PX), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    tiles: NDArray[np.float32] = sums[_TILE_PX // 2 :: _TILE_PX, _TILE_PX // 2 :: _TILE_PX].ravel()
    return tiles


def _shape(picture: GreyImage) -> tuple[int, int]:
    height, width = picture.pixels.shape
    return height, width
