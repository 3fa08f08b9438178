"""From light to a stored picture: lens, sensor, processing, date stamp and compression."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from fishseg.datasets.sample.frame import HEIGHT, SHAPE, WIDTH
from fishseg.datasets.sample.noise import Field, blur, smooth_noise
from fishseg.datasets.sample.pose import Points

Picture: TypeAlias = npt.NDArray[np.uint8]

# Segments of a seven-segment digit, as ends on a grid two high and one wide, and who lights which.
_SEGMENTS = {
    "a": ((0, 0), (1, 0)),
    "b": ((1, 0), (1, 1)),
    "c": ((1, 1), (1, 2)),
    "d": ((0, 2), (1, 2)),
    "e": ((0, 1), (0, 2)),
    "f": ((0, 0), (0, 1)),
    "g": ((0, 1), (1, 1)),
    "/": ((1, 0), (0, 2)),
    "|": ((0.5, 0), (0.5, 2)),
}
_DIGITS = {
    "0": "abcdef", "1": "|", "2": "abged", "3": "abgcd", "4": "fgbc", "5": "afgcd",
    "6": "afgcde", "7": "abc", "8": "abcdefg", "9": "abfgcd", "/": "/",
}  # fmt: skip


def take_picture(radiance: Field, rng: np.random.Generator) -> Picture:
    """An 8-bit RGB picture ``(H, W, 3)`` of linear light ``(H, W, 3)``."""
    light = _lens(radiance, rng)
    light = _sensor(light, rng)
    picture = _develop(light, rng)
    if rng.random() < 0.4:
        picture = _stamp(picture, rng)
    return _compress(picture, rng)


def _lens(radiance: Field, rng: np.random.Generator) -> Field:
    """Blur, a veil of stray light around highlights, darker corners."""
    light = blur(radiance, rng.uniform(0.35, 1.0))
    light = light + np.float32(0.06) * blur(np.minimum(radiance, 3), 12)
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    falloff = 1 - rng.uniform(0, 0.22) * (x * x + y * y)
    return np.asarray(light * falloff[..., None], np.float32)


def _sensor(light: Field, rng: np.random.Generator) -> Field:
    """Exposure, white balance, and noise that grows with the signal."""
    typical = float(np.mean(light))
    exposure = np.exp(rng.uniform(np.log(0.07), np.log(0.3))) / max(typical, 1e-6)
    gains = exposure * np.exp(rng.normal(0, 0.06, 3)) * [rng.uniform(0.92, 1.08), 1.0, 1.0]
    light = light * gains.astype(np.float32)
    level = rng.uniform(0.003, 0.014)
    grain = rng.standard_normal((*SHAPE, 3), dtype=np.float32)
    coarse = smooth_noise(rng, SHAPE, (2.2, 2.2))[..., None]
    sigma = level * np.sqrt(np.maximum(light, 0) + 0.02)
    return np.maximum(light + sigma * (0.7 * grain + 0.8 * coarse), 0)


def _develop(light: Field, rng: np.random.Generator) -> Field:
    """Tone curve, saturation and sharpening; display values 0..1."""
    shoulder = 1 - np.exp(-1.25 * light)
    tone = np.clip(shoulder / 0.92, 0, 1) ** np.float32(1 / 2.2)
    contrast = rng.uniform(0.1, 0.7)
    tone = (1 - contrast) * tone + contrast * tone * tone * (3 - 2 * tone)
    grey = tone.mean(axis=2, keepdims=True)
    tone = grey + (tone - grey) * np.float32(rng.uniform(0.7, 1.15))
    sharpened = tone + np.float32(rng.uniform(0, 0.8)) * (tone - blur(tone, 1.3))
    return np.asarray(np.clip(sharpened, 0, 1), np.float32)


def _stamp(picture: Field, rng: np.random.Generator) -> Field:
    """A date in yellow-green digits, in the lower right corner."""
    height = rng.uniform(11, 16)
    day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(2008, 2021)
    text = f"{day:02d}/{month:02d}/{year}"
    pitch = height * 0.78
    corner = np.array(
        [WIDTH - rng.uniform(14, 40) - pitch * len(text), HEIGHT - rng.uniform(24, 40)]
    )
    strokes: list[Points] = []
    for place, character in enumerate(text):
        origin = corner + np.array([place * pitch, 0])
        for segment in _DIGITS[character]:
            ends = np.array(_SEGMENTS[segment], np.float64)
            strokes.append(origin + ends * [height * 0.48, height / 2])
    ink = np.zeros(SHAPE, np.uint8)
    paths = [np.round(stroke * 16).astype(np.int32) for stroke in strokes]
    cv2.polylines(ink, paths, False, 255, 2 if height > 13 else 1, cv2.LINE_AA, 4)
    cover = blur(ink.astype(np.float32) / 255, 0.6)[..., None].clip(0, 1)
    colour = np.array([0.9, 0.92, 0.12], np.float32)
    return np.asarray(picture + (colour - picture) * cover)


def _compress(picture: Field, rng: np.random.Generator) -> Picture:
    """Marks of JPEG compression."""
    stored = np.round(picture[..., ::-1] * 255).astype(np.uint8)
    quality = int(rng.integers(62, 95))
    _, code = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
