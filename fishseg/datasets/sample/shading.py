"""How an animal's skin looks under a lamp."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from fishseg.datasets.sample.anatomy import Chart, Skin
from fishseg.datasets.sample.noise import Field
from fishseg.datasets.sample.pose import Pose


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shaded:
    """What a skin sends to the camera under a lamp and a room of unit strength, ``(H, W, 3)``."""

    by_lamp: Field
    by_room: Field
    opacity: Field


def shade(
    skin: Skin,
    chart: Chart,
    pose: Pose,
    direction: tuple[float, float, float],
    rng: np.random.Generator,
) -> Shaded:
    """Diffuse light, and highlights of a wet skin by Blinn's half vector."""
    slope_t, slope_s = np.gradient(chart.blur(skin.relief, 1.0) * chart.texels_per_length)
    norm = 1 / np.sqrt(1 + slope_s**2 + slope_t**2)
    x, y, z = direction
    cos, sin = math.cos(pose.heading), math.sin(pose.heading)
    to_lamp = np.array([x * cos + y * sin, (y * cos - x * sin) * pose.belly, z])
    half = to_lamp + np.array([0, 0, 1])
    half /= np.linalg.norm(half)
    facing, mirrored = (
        np.clip((to[2] - slope_s * to[0] - slope_t * to[1]) * norm, 0, 1) for to in (to_lamp, half)
    )
    sheen, sparkle = mirrored ** rng.uniform(8, 20), mirrored ** rng.uniform(60, 160)
    wet = rng.uniform(0.15, 1.0)
    shine = wet * np.clip(skin.gloss, 0, 2) * (0.25 * sheen + 1.3 * sparkle)
    by_lamp = skin.albedo * (0.06 + 1.05 * facing)[..., None] + shine[..., None]
    by_room = skin.albedo * (0.35 + 0.65 * norm)[..., None]
    return Shaded(
        by_lamp=by_lamp.astype(np.float32),
        by_room=by_room.astype(np.float32),
        opacity=skin.opacity.astype(np.float32),
    )
