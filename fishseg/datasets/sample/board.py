"""What the animal lies on, and what else the frame shows."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from fishseg.datasets.sample.frame import HEIGHT, SHAPE, WIDTH, pixel_axes
from fishseg.datasets.sample.noise import (
    Field,
    blur,
    fractal_noise,
    linear,
    mix,
    smoothstep,
    streak_noise,
)
from fishseg.datasets.sample.species import Colour

_BOARDS: tuple[tuple[Colour, float], ...] = (
    ((24, 50, 118), 2.0),  # navy tray
    ((30, 70, 150), 1.5),  # blue tray
    ((52, 92, 158), 3.0),  # blue board
    ((74, 130, 190), 2.0),  # worn bright blue
    ((88, 114, 154), 2.0),  # greyed blue
    ((100, 96, 156), 1.5),  # violet in the shade
    ((64, 128, 150), 0.5),  # teal
    ((132, 140, 154), 0.5),  # old, nearly grey
    ((196, 200, 204), 0.15),  # white polystyrene
)
_OUTSIDE: tuple[Colour, ...] = (
    (190, 150, 96),  # wood
    (30, 28, 30),  # a dark floor
    (92, 48, 44),  # cloth
    (52, 56, 66),  # an apron
    (44, 22, 24),  # a shirt
    (22, 26, 34),  # a dark sleeve
    (150, 150, 148),  # concrete
)
_SCRATCHES: tuple[Colour, ...] = ((170, 190, 215), (176, 168, 128), (120, 140, 160))

_INTRUDERS: tuple[Colour, ...] = (
    (204, 150, 124),  # a hand
    (34, 34, 40),  # a glove or a sleeve
    (206, 206, 200),  # a plastic bag
    (120, 124, 126),  # steel
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Board:
    """The surface under the animal; all over the frame.

    Args:
        albedo: linear reflectance, ``(H, W, 3)``.
        gloss: strength of highlights, ``(H, W)``.
        relief: height of drops and wet grain, arbitrary units, ``(H, W)``.
        grain_degrees: direction of brushing and most scratches.
    """

    albedo: Field
    gloss: Field
    relief: Field
    grain_degrees: float


def lay_board(rng: np.random.Generator) -> Board:
    """A board or tray with its seams, walls, scratches, stains, water and flecks of scale."""
    tilt = rng.normal(0, 9)
    across, along = _tilted_axes(tilt)
    albedo = _planks(across, along, rng)
    grain = tilt + rng.choice([0.0, 90.0]) + rng.normal(0, 12)
    brushed = streak_noise(rng, SHAPE, angle_degrees=grain, length=50, width=1.6)
    clouds = fractal_noise(rng, SHAPE, 180)
    albedo = albedo * np.exp(0.06 * brushed + 0.16 * clouds)[..., None]
    albedo = _scratches(albedo, grain, rng)
    albedo, water = _water(albedo, rng)
    albedo = _flecks(albedo, rng)
    if rng.random() < 0.3:
        albedo = _slot(albedo, across, along, rng)
    albedo = _walls(albedo, across, along, rng)
    if rng.random() < 0.3:
        albedo = _cloth(albedo, across, along, rng)
    if rng.random() < 0.2:
        albedo = _intruder(albedo, rng)
    gloss = np.clip(0.5 + 0.5 * water + 0.2 * clouds, 0.1, 1.5)
    relief = 0.08 * brushed + _ripples(grain, rng) + _drops(water, rng)
    return Board(albedo=albedo, gloss=gloss, relief=relief, grain_degrees=grain)


def _tilted_axes(tilt_degrees: float) -> tuple[Field, Field]:
    x, y = pixel_axes()
    tilt = math.radians(tilt_degrees)
    cos, sin = np.float32(math.cos(tilt)), np.float32(math.sin(tilt))
    return x * cos + y * sin, y * cos - x * sin


def _board_colour(rng: np.random.Generator) -> Field:
    weights = np.array([weight for _, weight in _BOARDS])
    colour, _ = _BOARDS[rng.choice(len(_BOARDS), p=weights / weights.sum())]
    return linear(colour) * np.exp(rng.normal(0, 0.12, 3)).astype(np.float32)


def _planks(across: Field, along: Field, rng: np.random.Generator) -> Field:
    """One to three boards, with the gap or the step between them."""
    albedo = np.broadcast_to(_board_colour(rng), (*SHAPE, 3)).copy()
    axes = [across, along]
    rng.shuffle(axes)
    for axis in axes[: rng.choice(3, p=[0.4, 0.42, 0.18])]:
        distance = (axis - rng.uniform(-0.38, 0.38) * WIDTH) * rng.choice([-1, 1])
        albedo = mix(
            albedo,
            np.broadcast_to(_board_colour(rng), albedo.shape),
            smoothstep(distance, -0.6, 0.6),
        )
        gap = rng.uniform(6, 18) if rng.random() < 0.2 else rng.uniform(0.8, 5)
        dark = np.exp(-((distance / gap) ** 4)) * rng.uniform(0.3, 0.95)
        shade = 0.35 * smoothstep(-distance, rng.uniform(12, 40), 0) * (distance < 0)
        rim = 0.5 * np.exp(-(((distance - gap * 1.6) / 1.0) ** 2)) * rng.random()
        albedo = albedo * ((1 - dark) * (1 - shade) * (1 + rim))[..., None]
    return albedo


def _slot(albedo: Field, across: Field, along: Field, rng: np.random.Generator) -> Field:
    """A drain or a handle in the board: a dark bar with a bright rim."""
    if rng.random() < 0.5:
        across, along = along, across
    middle, start = rng.uniform(-0.45, 0.45, 2) * WIDTH
    half_width, length = rng.uniform(4, 13), rng.uniform(60, 400)
    beside = np.abs(across - middle) - half_width
    beyond = np.maximum(start - along, along - start - length)
    distance = np.maximum(beside, beyond)
    bar = smoothstep(distance, 0.7, -0.7)
    rim = 0.8 * np.exp(-(((distance - 1.5) / 1.3) ** 2)) * (across > middle)
    dark = albedo * rng.uniform(0.05, 0.4)
    return mix(mix(albedo, linear((120, 150, 200)), rim), dark, bar)


def _walls(albedo: Field, across: Field, along: Field, rng: np.random.Generator) -> Field:
    """The edge of the tray on up to two sides, and what lies beyond it."""
    sides = [(axis, sign) for axis in (across, along) for sign in (-1, 1)]
    rng.shuffle(sides)
    for axis, sign in sides[: rng.choice(3, p=[0.45, 0.38, 0.17])]:
        half = WIDTH / 2 if axis is across else HEIGHT / 2
        distance = axis * sign - half * rng.uniform(0.58, 0.97)
        colour = linear((18, 40, 100)) * np.exp(rng.normal(0, 0.3, 3)).astype(np.float32)
        wall = rng.uniform(8, 36)
        shade = 0.7 * smoothstep(-distance, rng.uniform(15, 70), 0)
        albedo = albedo * (1 - shade * (distance < 0))[..., None]
        face = np.broadcast_to(colour * np.float32(0.45), albedo.shape)
        albedo = mix(albedo, face, smoothstep(distance, -0.5, 0.8))
        rim = np.exp(-(((distance - wall) / rng.uniform(1.2, 4)) ** 2))
        rim += 0.5 * np.exp(-(((distance - 1) / 1.2) ** 2))
        albedo = mix(albedo, np.broadcast_to(colour * 3, albedo.shape), np.clip(rim, 0, 1))
        beyond = smoothstep(distance, wall + 3, wall + 5)
        albedo = mix(albedo, _outside(across, along, rng), beyond)
    return albedo


def _cloth(albedo: Field, across: Field, along: Field, rng: np.random.Generator) -> Field:
    """Somebody's clothes at the border of the frame, with a limp outline."""
    bearing = rng.uniform(0, 2 * math.pi)
    outwards = across * math.cos(bearing) + along * math.sin(bearing)
    limp = rng.uniform(5, 35) * fractal_noise(rng, SHAPE, 160, octaves=3)
    reach = abs(WIDTH / 2 * math.cos(bearing)) + abs(HEIGHT / 2 * math.sin(bearing))
    distance = outwards + limp - reach * rng.uniform(0.62, 0.95)
    shade = 0.5 * smoothstep(distance, -rng.uniform(8, 40), 0)
    cloth = _material(across + 0.4 * limp, along - 0.4 * limp, rng)
    folds = np.exp(0.35 * fractal_noise(rng, SHAPE, 50, octaves=3))
    cloth = cloth * folds[..., None]
    return mix(albedo * (1 - shade)[..., None], cloth, smoothstep(distance, -0.8, 0.8))


def _outside(across: Field, along: Field, rng: np.random.Generator) -> Field:
    """A table or the floor, with something lying on it or not."""
    ground = _material(across, along, rng)
    if rng.random() < 0.4:
        return ground
    lying = fractal_noise(rng, SHAPE, rng.uniform(90, 220), octaves=3) - rng.uniform(-0.3, 0.6)
    shade = 0.6 * smoothstep(lying, -0.25, 0.0)
    thing = _material(across, along, rng) * smoothstep(lying, -0.1, 0.4)[..., None]
    return mix(ground * (1 - shade)[..., None], thing, smoothstep(lying, -0.01, 0.02))


def _material(across: Field, along: Field, rng: np.random.Generator) -> Field:
    """Wood, concrete or a plain or chequered cloth."""
    colour = linear(_OUTSIDE[rng.integers(len(_OUTSIDE))])
    tone = np.exp(0.25 * fractal_noise(rng, SHAPE, 90))
    outside = colour * tone[..., None]
    if rng.random() < 0.4:
        for _ in range(rng.integers(1, 4)):
            thread = linear(_OUTSIDE[rng.integers(len(_OUTSIDE))])
            pitch, width = rng.uniform(12, 60), rng.uniform(0.0, 0.9)
            for axis in (across, along):
                band = smoothstep(np.sin(2 * np.pi * axis / pitch), width, width + 0.2)
                outside = mix(outside, thread, 0.6 * band)
    return np.asarray(outside)


def _intruder(albedo: Field, rng: np.random.Generator) -> Field:
    """A finger, a sleeve, a knife's handle or a bag that reaches in from the border."""
    bearing = rng.uniform(0, 2 * np.pi)
    inwards = np.array([-np.cos(bearing), -np.sin(bearing)])
    border = np.array([WIDTH, HEIGHT]) / 2 - inwards * np.hypot(WIDTH, HEIGHT) / 2
    border = np.clip(border, 0, [WIDTH - 1, HEIGHT - 1])
    canvas = np.zeros(SHAPE, np.uint8)
    for _ in range(rng.integers(1, 4)):
        start = border - 40 * inwards + rng.normal(0, 25, 2)
        end = border + inwards * rng.uniform(15, 75) + rng.normal(0, 15, 2)
        ends = [np.round(np.stack([start, end]) * 16).astype(np.int32)]
        cv2.polylines(canvas, ends, False, 255, int(rng.integers(20, 60)), cv2.LINE_AA, 4)
    cover = canvas.astype(np.float32) / 255
    rounding = np.clip(1.6 * blur(cover, 9) - 0.5, 0.15, 1)
    shadow = blur(np.roll(cover, (6, 4), axis=(0, 1)), 4)
    colour = linear(_INTRUDERS[rng.integers(len(_INTRUDERS))])
    return mix(albedo * (1 - 0.6 * shadow)[..., None], colour * rounding[..., None], cover)


def _scratches(albedo: Field, grain: float, rng: np.random.Generator) -> Field:
    """Knife marks: hair-fine, dark or light, most of them along the grain."""
    light, dark = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    for _ in range(int(np.exp(rng.uniform(np.log(30), np.log(700))))):
        start = rng.uniform(-20, 1, 2) + rng.uniform(0, 1, 2) * (WIDTH + 40, HEIGHT + 40)
        spread = 14 if rng.random() < 0.7 else 70
        angle = np.deg2rad(-grain + rng.normal(0, spread))
        length = rng.exponential(55) + 6
        turn = angle + rng.normal(0, 0.1)
        middle = start + length / 2 * np.array([np.cos(angle), np.sin(angle)])
        end = middle + length / 2 * np.array([np.cos(turn), np.sin(turn)])
        path = [np.round(np.stack([start, middle, end]) * 16).astype(np.int32)]
        canvas = light if rng.random() < 0.35 else dark
        depth = int(30 + 225 * rng.beta(1, 3))
        cv2.polylines(canvas, path, False, depth, 1, cv2.LINE_AA, 4)
    strength = rng.uniform(0.25, 0.8) / 255
    albedo = albedo * (1 - strength * blur(dark.astype(np.float32), 0.5))[..., None]
    pale = linear(_SCRATCHES[rng.integers(len(_SCRATCHES))])
    return mix(albedo, pale, 0.55 * strength * blur(light.astype(np.float32), 0.5))


def _water(albedo: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """Puddles and stains darken the board; returns it and where it is wet, 0..1."""
    cloud = fractal_noise(rng, SHAPE, rng.uniform(40, 130), octaves=5)
    level = rng.uniform(0.5, 2.2)
    wet = smoothstep(cloud, level, level + rng.uniform(0.06, 0.5))
    rim = np.exp(-(((cloud - level) / 0.06) ** 2)) * rng.uniform(0, 0.35)
    tint = np.array([0.52, 0.66, 0.82], np.float32) ** np.float32(rng.uniform(0.4, 1.3))
    albedo = mix(albedo, albedo * tint, wet)
    wiped = streak_noise(rng, SHAPE, angle_degrees=rng.uniform(0, 180), length=150, width=25)
    slime = smoothstep(wiped + 0.3 * cloud, 0.0, 2.6) * rng.uniform(0, 0.3)
    albedo = mix(albedo, linear((150, 152, 150)), slime)
    return albedo * (1 + rim)[..., None].astype(np.float32), wet


def _ripples(grain: float, rng: np.random.Generator) -> Field:
    """Height of the scored and slimy surface, rough in some places and smooth in others."""
    rough = streak_noise(
        rng,
        SHAPE,
        angle_degrees=grain + rng.normal(0, 25),
        length=rng.uniform(5, 40),
        width=rng.uniform(1.5, 3.5),
    )
    where = smoothstep(fractal_noise(rng, SHAPE, 140, octaves=3), rng.uniform(-1.5, 1.5), 2.0)
    return rng.uniform(0.05, 0.45) * rough * where


def _drops(wet: Field, rng: np.random.Generator) -> Field:
    """Height of drops, which stand where water has wet the board and sparsely elsewhere."""
    size = rng.uniform(3, 9)
    beads = fractal_noise(rng, SHAPE, size, octaves=2)
    where = smoothstep(wet + fractal_noise(rng, SHAPE, 110), rng.uniform(0.2, 1.6), 2.4)
    return blur(smoothstep(beads, 0.9, 1.5) * where, 0.7)


def _flecks(albedo: Field, rng: np.random.Generator) -> Field:
    """Loose scales, crumbs of ice and flesh, drops."""
    flecks, shadows = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    largest = rng.uniform(2, 8)
    for _ in range(int(rng.exponential(70))):
        centre = rng.uniform(0, 1, 2) * (WIDTH, HEIGHT)
        radius = 0.7 + largest * rng.beta(1, 4)
        turns = np.sort(rng.uniform(0, 2 * np.pi, 8))
        spokes = radius * rng.uniform(0.5, 1.1, 8) * np.where(rng.random() < 0.3, 1.6, 1.0)
        squash = rng.uniform(0.4, 1)
        shape = centre + np.stack([np.cos(turns) * spokes, np.sin(turns) * spokes * squash], axis=1)
        bright = int(rng.integers(60, 256))
        cv2.fillPoly(shadows, [np.round((shape + 1.2) * 16).astype(np.int32)], 160, cv2.LINE_AA, 4)
        cv2.fillPoly(flecks, [np.round(shape * 16).astype(np.int32)], bright, cv2.LINE_AA, 4)
    albedo = albedo * (1 - 0.5 / 255 * blur(shadows.astype(np.float32), 0.8))[..., None]
    colour = linear((226, 205, 192)) * np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
    return mix(albedo, colour, rng.uniform(0.5, 0.95) / 255 * blur(flecks.astype(np.float32), 0.6))
