"""From light to a stored picture, by any camera, well or badly handled."""

from __future__ import annotations

import math

import cv2
import numpy as np

from fishseg.datasets.sample.camera import Picture
from fishseg.datasets.sample.noise import Field, blur, smooth_noise


def expose(radiance: Field, rng: np.random.Generator, *, fine: bool) -> Picture:
    """An 8-bit RGB picture ``(H, W, 3)`` of linear light; a ``fine`` one has few faults."""
    light = _lens(radiance, rng, fine=fine)
    light = _sensor(light, rng, fine=fine)
    tone = _develop(light, rng)
    if not fine and rng.random() < 0.15:
        tone = _coarsened(tone, rng)
    return np.round(tone * 255).astype(np.uint8)


def jpeg(picture: Picture, rng: np.random.Generator, *, fine: bool) -> bytes:
    """A picture as a JPEG file, as good as cameras make them or worse."""
    quality = int(rng.integers(85, 99)) if fine else int(rng.integers(35, 96))
    _, code = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return code.tobytes()


def _lens(radiance: Field, rng: np.random.Generator, *, fine: bool) -> Field:
    """Focus, motion, stray light, darker corners."""
    height, width = radiance.shape[:2]
    light = np.minimum(radiance, 8)
    side = max(height, width) / 600
    light = blur(light, side * (rng.uniform(0.3, 0.6) if fine else 0.35 + rng.exponential(0.45)))
    if not fine and rng.random() < 0.12:
        light = cv2.filter2D(light, -1, _motion(side * rng.uniform(2, 9), rng))
    veil = cv2.resize(light, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    veil = cv2.resize(blur(np.minimum(veil, 3), 2.5), (width, height))
    light = light + np.float32(rng.uniform(0.0, 0.1)) * veil
    if rng.random() < 0.5:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        light = light * (1 - np.float32(rng.uniform(0, 0.35)) * (x * x + y * y))[..., None]
    return np.asarray(light, np.float32)


def _motion(length: float, rng: np.random.Generator) -> Field:
    """The path of a shaken camera, as a kernel."""
    side = 2 * math.ceil(length / 2) + 3
    kernel = np.zeros((side, side), np.uint8)
    angle = rng.uniform(0, math.pi)
    reach = length / 2 * np.array([math.cos(angle), math.sin(angle)])
    ends = np.stack([side // 2 - reach, side // 2 + reach])
    cv2.polylines(kernel, [np.round(ends * 16).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
    return (kernel / max(float(kernel.sum()), 1.0)).astype(np.float32)


def _sensor(light: Field, rng: np.random.Generator, *, fine: bool) -> Field:
    """Exposure by the mean and the highlights, white balance, noise."""
    typical = 0.5 * float(light.mean()) + 0.25 * float(np.quantile(light[::4, ::4], 0.95))
    exposure = math.exp(rng.normal(math.log(0.24), 0.12 if fine else 0.35)) / max(typical, 1e-6)
    cast = np.exp(rng.normal(0, 0.05 if fine else 0.11, 3))
    light = light * (exposure * cast).astype(np.float32)
    level = rng.uniform(0.001, 0.004) if fine else math.exp(rng.uniform(-6.2, -3.4))
    shape = light.shape[:2]
    grain = rng.standard_normal((*shape, 3), dtype=np.float32)
    coarse = smooth_noise(rng, (shape[0], shape[1]), (2.2, 2.2))[..., None]
    sigma = np.float32(level) * np.sqrt(np.maximum(light, 0) + np.float32(0.02))
    return np.asarray(np.maximum(light + sigma * (0.7 * grain + 0.8 * coarse), 0), np.float32)


def _develop(light: Field, rng: np.random.Generator) -> Field:
    """Tone curve, saturation and sharpening; display values 0..1."""
    shoulder = 1 - np.exp(np.float32(-1.25) * light)
    tone = np.clip(shoulder / np.float32(0.92), 0, 1) ** np.float32(1 / 2.2)
    contrast = np.float32(rng.uniform(-0.15, 0.7))
    tone = (1 - contrast) * tone + contrast * tone * tone * (3 - 2 * tone)
    grey = tone.mean(axis=2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.03 else rng.uniform(0.6, 1.3)
    tone = grey + (tone - grey) * np.float32(saturation)
    sharpened = tone + np.float32(rng.uniform(0, 1.0)) * (tone - blur(tone, 1.3))
    return np.asarray(np.clip(sharpened, 0, 1), np.float32)


def _coarsened(tone: Field, rng: np.random.Generator) -> Field:
    """As if the picture had been smaller before."""
    height, width = tone.shape[:2]
    share = rng.uniform(0.4, 0.9)
    size = (round(width * share), round(height * share))
    tone = cv2.resize(tone, size, interpolation=cv2.INTER_AREA)
    tone = cv2.resize(tone, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(tone, 0, 1), np.float32)
