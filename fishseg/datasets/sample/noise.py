"""Random fields that the renderer makes its surfaces of."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Field: TypeAlias = npt.NDArray[np.floating[Any]]
"""One value a pixel, ``(H, W)``, or one colour a pixel, ``(H, W, 3)``, RGB."""


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]
) -> Field:
    """Gaussian noise ``(H, W)`` of about unit variance that varies over ``cell`` (y, x) pixels."""
    cells = [math.ceil(size / step) + 2 for size, step in zip(shape, cell, strict=True)]
    grid = rng.standard_normal(cells, dtype=np.float32)
    height, width = (round(n * step) for n, step in zip(cells, cell, strict=True))
    field: Field = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return field[: shape[0], : shape[1]]


def fractal_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cell: float,
    *,
    octaves: int = 4,
    persistence: float = 0.55,
) -> Field:
    """Octaves of `smooth_noise`, each half as wide as the one before: clouds, stains, skin."""
    field = np.zeros(shape, np.float32)
    power = 0.0
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.0)
        field += persistence**octave * smooth_noise(rng, shape, (step, step))
        power += persistence ** (2 * octave)
    return field / np.float32(math.sqrt(power))


def streak_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    angle_degrees: float,
    length: float,
    width: float,
) -> Field:
    """Noise drawn out along one direction, as brushing and wiping leave it."""
    side = math.ceil(math.hypot(*shape)) + 2
    field = smooth_noise(rng, (side, side), (width, length))
    centre = ((side - 1) / 2, (side - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, angle_degrees, 1.0)
    turn[:, 2] -= ((side - shape[1]) / 2, (side - shape[0]) / 2)
    turned: Field = cv2.warpAffine(field, turn, shape[::-1], borderMode=cv2.BORDER_REFLECT)
    return turned


def smoothstep(field: Field, low: float, high: float) -> Field:
    """0 below ``low``, 1 above ``high``, and a smooth rise between."""
    x = np.clip((field - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur with a standard deviation of ``sigma`` pixels."""
    blurred: Field = cv2.GaussianBlur(field, (0, 0), sigma)
    return blurred


def linear(colour: tuple[int, int, int]) -> Field:
    """A colour as one sees it on a screen (0..255) as linear reflectance, ``(3,)``."""
    return (np.asarray(colour, np.float32) / np.float32(255)) ** np.float32(2.2)


def mix(first: Field, second: Field, share: Field) -> Field:
    """``first`` where ``share`` is 0, ``second`` where it is 1; colours by ``(H, W)`` shares."""
    weight = share[..., None]
    return first + (second - first) * weight
