"""The light that falls on the scene."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from fishseg.datasets.sample.board import Board
from fishseg.datasets.sample.frame import HEIGHT, SHAPE, WIDTH, pixel_axes
from fishseg.datasets.sample.noise import (
    Field,
    blur,
    fractal_noise,
    smooth_noise,
    smoothstep,
    streak_noise,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Light:
    """A warm lamp over a cool room.

    Args:
        direction: unit vector towards the lamp at the middle of the frame (x right, y down, z up).
        lamp: irradiance of the lamp by place, ``(H, W)``, shadows of bystanders included.
        lamp_colour, room_colour: linear RGB, ``(3,)``.
        glare: where the lamp mirrors in the wet board, ``(H, W)``.
    """

    direction: tuple[float, float, float]
    lamp: Field
    lamp_colour: Field
    room_colour: Field
    glare: Field


def light_up(board: Board, rng: np.random.Generator) -> Light:
    """A lamp somewhere above, its glare on the board, and shadows of who stands by."""
    bearing = rng.uniform(0, 2 * math.pi)
    elevation = math.radians(rng.uniform(28, 66))
    direction = (
        math.cos(bearing) * math.cos(elevation),
        math.sin(bearing) * math.cos(elevation),
        math.sin(elevation),
    )
    x, y = pixel_axes()
    lamp_height = rng.uniform(240, 900)
    reach = lamp_height / math.tan(elevation)
    dx, dy = x - reach * math.cos(bearing), y - reach * math.sin(bearing)
    lamp = (1 + (dx * dx + dy * dy) / lamp_height**2) ** -1.5
    lamp = (lamp / lamp.mean()).astype(np.float32)
    if rng.random() < 0.45:
        lamp = lamp * (1 - _bystander_shadow(rng))
    warmth = rng.uniform(0.75, 1.45)
    lamp_colour = np.array([1.0, 1 - 0.28 * warmth, 1 - 0.55 * warmth], np.float32)
    room = rng.uniform(0.04, 0.22)
    room_colour = room * np.array([0.8, 0.92, 1.15], np.float32) * rng.normal(1, 0.07, 3)
    return Light(
        direction=direction,
        lamp=lamp,
        lamp_colour=lamp_colour,
        room_colour=room_colour.astype(np.float32),
        glare=_glare(board, rng),
    )


def _bystander_shadow(rng: np.random.Generator) -> Field:
    """Share of the lamp's light that a head, an arm or the camera takes away, ``(H, W)``."""
    canvas = np.zeros(SHAPE, np.uint8)
    side = rng.integers(4)
    border = np.array([(0.5, 0), (0.5, 1), (0, 0.5), (1, 0.5)][side])
    slide = np.array([1, 0] if side < 2 else [0, 1]) * rng.uniform(-0.4, 0.4)
    middle = (border + slide + rng.normal(0, 0.06, 2)) * (WIDTH, HEIGHT)
    for _ in range(rng.integers(1, 4)):
        size = rng.uniform(50, 190, 2)
        box = ((middle + rng.normal(0, 60, 2)).tolist(), size.tolist(), rng.uniform(-25, 25))
        if rng.random() < 0.6:
            corners = [np.round(cv2.boxPoints(box)).astype(np.int32)]
            cv2.fillPoly(canvas, corners, 255)
        else:
            cv2.ellipse(canvas, box, 255, -1)
    rounded = smoothstep(blur(canvas.astype(np.float32) / 255, 7), 0.4, 0.6)
    return blur(rounded, rng.uniform(0.8, 9)) * np.float32(rng.uniform(0.5, 0.92))


def _glare(board: Board, rng: np.random.Generator) -> Field:
    """The lamp's mirror image, broken up by grain and drops."""
    x, y = pixel_axes()
    glare = np.zeros(SHAPE, np.float32)
    for _ in range(rng.choice(4, p=[0.15, 0.4, 0.3, 0.15])):
        cx, cy = rng.uniform(-0.55, 0.55, 2) * (WIDTH, HEIGHT)
        spread = rng.uniform(35, 190, 2)
        spot = np.exp(-(((x - cx) / spread[0]) ** 2 + ((y - cy) / spread[1]) ** 2))
        glare += spot.astype(np.float32) * np.float32(rng.uniform(0.3, 1.3))
    scored = streak_noise(
        rng,
        SHAPE,
        angle_degrees=board.grain_degrees + rng.normal(0, 15),
        length=rng.uniform(5, 22),
        width=rng.uniform(1.2, 2.4),
    )
    drops = smooth_noise(rng, SHAPE, (2.6, 2.6))
    sparkle = smoothstep(0.75 * scored + 0.5 * drops, rng.uniform(0.2, 1.0), 2.1)
    film = np.float32(rng.uniform(0.0, 0.05)) * np.exp(
        0.7 * fractal_noise(rng, SHAPE, 260, octaves=2)
    )
    # Standing water mirrors the lamp unbroken, in patches with sharp edges.
    pools = smoothstep(fractal_noise(rng, SHAPE, 60), 0.5, 0.8) * rng.uniform(0, 1) ** 2
    dull = rng.uniform(0.04, 0.3)
    return np.asarray(film + glare * board.gloss * (dull + 1.6 * sparkle + pools))
