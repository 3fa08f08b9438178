"""What photographs suffer, at five severities: 1 is just visible, 5 is hard, but the fish is there.

After Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019, with what happens to pictures of fish: wet skin that glares, a hand in
the way, a fish that lies askew.

A corruption takes an RGB image ``(H, W, 3)`` uint8, its mask ``(H, W)`` bool, a severity from 1 to
5 and a generator, and gives both anew: the mask moves along where the picture is moved. Lengths are
shares of the image's height. What is drawn by chance (a place, a direction) does not depend on the
severity: the five of one image differ in strength alone.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
Levels: TypeAlias = NDArray[np.float32]
Affine: TypeAlias = NDArray[np.float64]
Corruption: TypeAlias = Callable[[Image, Mask, int, np.random.Generator], tuple[Image, Mask]]

SEVERITIES = (1, 2, 3, 4, 5)

# A camera's tone curve, near enough: light is this power of the level.
GAMMA = 2.2
# A small camera's sensor: electrons of a white pixel, and the noise of reading it out.
WHITE_ELECTRONS, READ_NOISE_ELECTRONS = 4000.0, 6.0
# Noise has grain of this share of the height, so that it looks the same at any resolution.
GRAIN = 1 / 448
# What lies in front of fish: two skins, a blue glove, steel.
OCCLUDERS_RGB = ((224, 172, 140), (141, 85, 60), (60, 110, 170), (150, 152, 156))


def corrupt(
    name: str, severity: int, image: Image, mask: Mask, *, sample_id: str, seed: int
) -> tuple[Image, Mask]:
    """A corruption of a sample, the same whenever it is asked for.

    Args:
        name: one of `CORRUPTIONS`.
        severity: one of `SEVERITIES`.
        image: ``(H, W, 3)`` uint8, left as it is.
        mask: ``(H, W)`` bool, left as it is.
        sample_id: with the name and the seed, what the chance depends on.
        seed: at least 0.
    """
    return CORRUPTIONS[name](image, mask, severity, _chance(name, sample_id, seed))


def moved(name: str, severity: int, mask: Mask, other: Mask, *, sample_id: str, seed: int) -> Mask:
    """Another mask ``(H, W)`` of the same picture, moved as `corrupt` moves it and its mask.

    Nothing of it comes in from outside of the frame. Where the picture stays, so does it.
    """
    if name not in MOVES:
        return other
    return _warp_mask(other, MOVES[name](mask, severity, _chance(name, sample_id, seed)))


def _chance(name: str, sample_id: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(text.encode()) for text in (name, sample_id))])


def rotation(mask: Mask, severity: int, rng: np.random.Generator) -> Affine:
    """Turn about the centre; the corners become black, as in the data set's own copies."""
    degrees = (5, 20, 45, 90, 180)[severity - 1] * rng.choice([-1, 1])
    height, width = mask.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(degrees), 1.0)
    return np.asarray(turn, np.float64)


def zoom_in(mask: Mask, severity: int, rng: np.random.Generator) -> Affine:
    """Enlarge about a point of the fish; what leaves the frame is lost, fish included."""
    factor = (1.1, 1.3, 1.6, 2.0, 2.5)[severity - 1]
    x, y = _point_on(mask, rng)
    return np.array([[factor, 0, x - factor * x], [0, factor, y - factor * y]])


def zoom_out(mask: Mask, severity: int, rng: np.random.Generator) -> Affine:
    """Shrink to somewhere on a surface in the colour of the picture's border."""
    factor = (0.9, 0.75, 0.6, 0.45, 0.3)[severity - 1]
    x, y = rng.random(2) * (1 - factor) * (mask.shape[1], mask.shape[0])
    return np.array([[factor, 0, x], [0, factor, y]])


MOVES: dict[str, Callable[[Mask, int, np.random.Generator], Affine]] = {
    "rotation": rotation,
    "zoom_in": zoom_in,
    "zoom_out": zoom_out,
}
"""Those that move what is seen, each as the affine map from the old pixels to the new ones."""


def _moved(
    name: str, image: Image, mask: Mask, severity: int, rng: np.random.Generator
) -> tuple[Image, Mask]:
    return _warp(image, mask, MOVES[name](mask, severity, rng))


def _shrunk(
    image: Image, mask: Mask, severity: int, rng: np.random.Generator
) -> tuple[Image, Mask]:
    affine = zoom_out(mask, severity, rng)
    factor = affine[0, 0]
    # Shrunk without this, fine texture turns into noise of its own.
    soft = cv2.GaussianBlur(image, (0, 0), 0.5 / factor) if factor < 0.8 else image
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return _warp(np.asarray(soft, np.uint8), mask, affine, fill=np.median(border, axis=0))


def _warp(
    image: Image, mask: Mask, affine: Affine, fill: NDArray[np.float64] | None = None
) -> tuple[Image, Mask]:
    colour = (0.0, 0.0, 0.0) if fill is None else tuple(float(level) for level in fill)
    size = mask.shape[::-1]
    warped = cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR, borderValue=colour)
    return np.asarray(warped, np.uint8), _warp_mask(mask, affine)


def _warp_mask(mask: Mask, affine: Affine) -> Mask:
    levels = mask.astype(np.float32)
    share = cv2.warpAffine(levels, affine, mask.shape[::-1], flags=cv2.INTER_LINEAR)
    return np.asarray(share) >= np.float32(0.5)


def glare(image: Image, mask: Mask, severity: int, rng: np.random.Generator) -> tuple[Image, Mask]:
    """Burn white, soft-edged highlights into the fish, longer along the body than across."""
    number, size = ((3, 0.006), (6, 0.009), (10, 0.013), (14, 0.018), (18, 0.024))[severity - 1]
    y, x = _grid(mask)
    body = _long_axis(mask)
    light = np.zeros(mask.shape, np.float32)
    for _ in range(number):
        at_x, at_y = _point_on(mask, rng)
        along, across = _turned(x - at_x, y - at_y, body + rng.uniform(-0.5, 0.5))
        radius_px = size * mask.shape[0]
        distance = np.hypot(along / (radius_px * rng.uniform(1.5, 3)), across / radius_px)
        light = np.maximum(light, np.exp(-(distance**2) / 2))
    # More than a pixel can hold: the middle of a highlight is plain white.
    opacity = np.clip(1.6 * light, 0, 1)[..., None]
    return _to_image(image * (1 - opacity) + 255 * opacity), mask


def low_light(
    image: Image, mask: Mask, severity: int, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """Expose less, with the noise of counting few photons and of reading the sensor."""
    stops = (0.5, 1.5, 2.5, 3.5, 4.5)[severity - 1]
    light = (image.astype(np.float32) / 255) ** GAMMA / 2**stops
    deviation = np.sqrt(light * WHITE_ELECTRONS + READ_NOISE_ELECTRONS**2) / WHITE_ELECTRONS
    noisy = light + deviation * _grain(image.shape, rng)
    return _to_image(255 * np.clip(noisy, 0, 1) ** (1 / GAMMA)), mask


def colour_cast(
    image: Image, mask: Mask, severity: int, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """Weigh the colours of the light anew: deep water, an orange lamp, a wrong white balance."""
    strength = (0.15, 0.4, 0.7, 1.1, 1.6)[severity - 1]
    # Logarithms of the gains of red, green and blue: water, lamp, tube, evening.
    casts = ((-1.0, 0.3, 0.7), (0.7, 0.0, -1.0), (-0.4, 0.8, -0.4), (0.6, -0.6, 0.4))
    gains = np.exp(strength * np.array(casts[rng.integers(len(casts))]))
    light = (image.astype(np.float32) / 255) ** GAMMA * gains.astype(np.float32)
    return _to_image(255 * np.clip(light, 0, 1) ** (1 / GAMMA)), mask


def defocus_blur(
    image: Image, mask: Mask, severity: int, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """Spread every point to a disc."""
    del rng
    radius_px = (0.004, 0.007, 0.011, 0.017, 0.024)[severity - 1] * mask.shape[0]
    reach = math.ceil(radius_px)
    offset = np.arange(-reach, reach + 1)
    disc = np.clip(radius_px + 0.5 - np.hypot(offset, offset[:, None]), 0, 1)
    return _filtered(image, disc), mask


def motion_blur(
    image: Image, mask: Mask, severity: int, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """Spread every point to a line."""
    half_px = (0.008, 0.02, 0.04, 0.065, 0.1)[severity - 1] * mask.shape[0] / 2
    reach = math.ceil(half_px) + 1
    offset = np.arange(-reach, reach + 1, dtype=np.float32)
    along, across = _turned(offset, offset[:, None], rng.uniform(0, math.pi))
    line = np.clip(half_px + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    return _filtered(image, line), mask


def noise(image: Image, mask: Mask, severity: int, rng: np.random.Generator) -> tuple[Image, Mask]:
    """Add normal noise to every colour."""
    deviation = (6, 16, 30, 50, 80)[severity - 1]
    return _to_image(image + deviation * _grain(image.shape, rng)), mask


def jpeg(image: Image, mask: Mask, severity: int, rng: np.random.Generator) -> tuple[Image, Mask]:
    """Compress; the blocks are 8 pixels of the file wide, whatever its size."""
    del rng
    quality = (40, 20, 12, 7, 4)[severity - 1]
    _, code = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1]), mask


def occlusion(
    image: Image, mask: Mask, severity: int, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """Put a finger, a glove or a tool across the fish, from outside of the frame.

    It covers 5, 10, 20, 30 or 40% of the fish. What it covers is no fish in the mask either: masks
    of this project tell which pixels show fish, not where one would be behind something else.
    """
    covered = (0.05, 0.1, 0.2, 0.3, 0.4)[severity - 1]
    tip_x, tip_y = _point_on(mask, rng)
    angle = _long_axis(mask) + rng.choice([-1, 1]) * (math.pi / 2 + rng.uniform(-0.5, 0.5))
    colour = np.array(OCCLUDERS_RGB[rng.integers(len(OCCLUDERS_RGB))], np.float32)
    y, x = _grid(mask)
    along, across = _turned(x - tip_x, y - tip_y, angle)
    distance = np.where(along > 0, np.abs(across), np.hypot(along, across))
    width_px = float(np.quantile(distance[mask], covered)) if mask.any() else 0.05 * mask.shape[0]
    # Round, lit from the front.
    shade = 1 - 0.45 * np.clip(distance / max(width_px, 1), 0, 1)[..., None] ** 2
    opacity = np.clip(width_px + 0.5 - distance, 0, 1)[..., None]
    return _to_image(image * (1 - opacity) + colour * shade * opacity), mask & (distance > width_px)


CORRUPTIONS: dict[str, Corruption] = {
    "rotation": functools.partial(_moved, "rotation"),
    "zoom_in": functools.partial(_moved, "zoom_in"),
    "zoom_out": _shrunk,
    "glare": glare,
    "low_light": low_light,
    "colour_cast": colour_cast,
    "defocus_blur": defocus_blur,
    "motion_blur": motion_blur,
    "noise": noise,
    "jpeg": jpeg,
    "occlusion": occlusion,
}


def _filtered(image: Image, kernel: NDArray[np.floating]) -> Image:
    """The mean over what the kernel covers around each pixel, reflected at the frame."""
    mean = kernel / kernel.sum()
    return np.asarray(cv2.filter2D(image, -1, mean, borderType=cv2.BORDER_REFLECT_101), np.uint8)


def _grain(shape: tuple[int, ...], rng: np.random.Generator) -> Levels:
    """Standard normal noise ``(H, W, 3)`` in squares of `GRAIN`."""
    height, width = shape[:2]
    rows = round(1 / GRAIN)
    coarse = rng.standard_normal((rows, max(1, round(rows * width / height)), 3), np.float32)
    grain: Levels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    return grain


def _point_on(mask: Mask, rng: np.random.Generator) -> tuple[int, int]:
    """A pixel ``(x, y)`` of the mask; of an empty one the middle."""
    pixels = np.flatnonzero(mask)
    share = rng.random()
    if not len(pixels):
        return mask.shape[1] // 2, mask.shape[0] // 2
    y, x = divmod(int(pixels[int(share * len(pixels))]), mask.shape[1])
    return x, y


def _long_axis(mask: Mask) -> float:
    """The angle in radians at which the mask is longest; 0 of one with less than two pixels."""
    y, x = np.nonzero(mask)
    if len(x) < 2:
        return 0.0
    covariance = np.cov(x, y)
    return 0.5 * math.atan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])


def _grid(mask: Mask) -> tuple[Levels, Levels]:
    """Rows ``(H, 1)`` and columns ``(1, W)`` of the pixels."""
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    return y.astype(np.float32), x.astype(np.float32)


def _turned(x: Levels, y: Levels, angle: float) -> tuple[Levels, Levels]:
    """Coordinates along and across a direction."""
    return x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)


def _to_image(levels: NDArray[np.floating]) -> Image:
    image: Image = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return image
