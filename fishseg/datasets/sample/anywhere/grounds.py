"""What fish lie on: surfaces by the patterns that ``scenes.yaml`` names.

A pattern is a function of a colour, the frame's shape, a grain size in pixels and a generator. It
gives albedo ``(H, W, 3)``, linear, and relief ``(H, W)``, height in pixels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np

from fishseg.datasets.sample.anywhere import photographs
from fishseg.datasets.sample.anywhere.scenes import Surface
from fishseg.datasets.sample.noise import (
    Field,
    blur,
    fractal_noise,
    linear,
    mix,
    smooth_noise,
    smoothstep,
    streak_noise,
)

Shape: TypeAlias = tuple[int, int]
Pattern: TypeAlias = Callable[[Field, Shape, float, np.random.Generator], tuple[Field, Field]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ground:
    """A surface all over the frame.

    Args:
        albedo: linear reflectance, ``(H, W, 3)``.
        relief: height in pixels, ``(H, W)``.
        gloss: how much of the light it mirrors, 0 to about 1.
    """

    albedo: Field
    relief: Field
    gloss: float


def lay_ground(surface: Surface, shape: Shape, rng: np.random.Generator) -> Ground:
    """A surface with the dirt, scratches and water that it may have."""
    tint = np.exp(rng.normal(0, 0.07, 3) + rng.normal(0, 0.12)).astype(np.float32)
    colour = linear(surface.colours[rng.integers(len(surface.colours))]) * tint
    grain = max(shape) / 600 * math.exp(rng.uniform(math.log(0.4), math.log(2.2)))
    albedo, relief = PATTERNS[surface.pattern](colour, shape, grain, rng)
    if rng.random() < surface.dirt:
        albedo = _stained(albedo, rng)
    if rng.random() < surface.dirt:
        albedo = _scratched(albedo, rng)
    gloss = float(rng.uniform(*surface.gloss))
    if rng.random() < surface.wet:
        albedo, relief = _wetted(albedo, relief, rng)
        gloss += float(rng.uniform(0.1, 0.5))
    return Ground(
        albedo=np.clip(albedo, 0.002, 1.0).astype(np.float32),
        relief=relief.astype(np.float32),
        gloss=gloss,
    )


# What happens to any surface


def _stained(albedo: Field, rng: np.random.Generator) -> Field:
    cloud = fractal_noise(rng, albedo.shape[:2], float(rng.uniform(30, 200)))
    colour = linear([(90, 70, 50), (120, 30, 24), (60, 60, 60), (200, 196, 180)][rng.integers(4)])
    stain = smoothstep(cloud, float(rng.uniform(0, 1.5)), 2.4) * np.float32(rng.uniform(0.2, 0.8))
    return mix(albedo, colour, stain)


def _scratched(albedo: Field, rng: np.random.Generator) -> Field:
    height, width = albedo.shape[:2]
    canvas = np.zeros((height, width), np.uint8)
    main = rng.uniform(0, math.pi)
    for _ in range(int(np.exp(rng.uniform(2, 5.5)))):
        start = rng.uniform(0, 1, 2) * (width, height)
        angle = main + rng.normal(0, 0.3 if rng.random() < 0.7 else 1.5)
        end = start + (rng.exponential(0.1) + 0.01) * max(height, width) * np.array(
            [math.cos(angle), math.sin(angle)]
        )
        path = [np.round(np.stack([start, end]) * 16).astype(np.int32)]
        cv2.polylines(canvas, path, False, int(rng.integers(40, 256)), 1, cv2.LINE_AA, 4)
    strength = np.float32(rng.uniform(0.2, 0.8) / 255)
    tone = linear((30, 28, 26)) if rng.random() < 0.6 else linear((226, 226, 226))
    return mix(albedo, tone, strength * blur(canvas.astype(np.float32), 0.6))


def _wetted(albedo: Field, relief: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """Puddles are darker and smooth; drops stand beside them."""
    shape = relief.shape[:2]
    cloud = fractal_noise(rng, (shape[0], shape[1]), float(rng.uniform(40, 220)))
    level = float(rng.uniform(-0.5, 1.5))
    wet = smoothstep(cloud, level, level + float(rng.uniform(0.06, 0.5)))
    albedo = albedo * (1 - np.float32(rng.uniform(0.1, 0.5)) * wet)[..., None]
    beads = fractal_noise(rng, (shape[0], shape[1]), float(rng.uniform(4, 12)), octaves=2)
    drops = smoothstep(beads, 1.0, 1.6) * np.float32(rng.uniform(0, 3))
    return albedo, relief * (1 - 0.8 * wet) + blur(drops, 0.8)


# Patterns


def _flat(shape: Shape) -> Field:
    return np.zeros(shape, np.float32)


def _toned(colour: Field, tone: Field) -> Field:
    """A colour, brighter and darker by a field of about unit variance times its strength."""
    return np.asarray(colour * np.exp(tone)[..., None], np.float32)


def _plain(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    clouds = fractal_noise(rng, shape, 250 * grain)
    fine = smooth_noise(rng, shape, (2, 2))
    strength = np.float32(rng.uniform(0, 0.08))
    return _toned(colour, strength * clouds + 0.01 * fine), 0.1 * fine


def _brushed(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Steel: streaks of one direction, and what it mirrors in broad bands."""
    angle = float(rng.choice([0, 90])) + float(rng.normal(0, 10))
    fine = streak_noise(rng, shape, angle_degrees=angle, length=60 * grain, width=1.3)
    band_angle = float(rng.uniform(0, 180))
    side = float(max(shape))
    bands = streak_noise(
        rng,
        shape,
        angle_degrees=band_angle,
        length=side * rng.uniform(0.5, 2),
        width=side * rng.uniform(0.05, 0.3),
    )
    clouds = fractal_noise(rng, shape, 160 * grain)
    tone = 0.06 * fine + rng.uniform(0.05, 0.4) * bands + rng.uniform(0.02, 0.15) * clouds
    return _toned(colour, tone.astype(np.float32)), 0.3 * fine


def _wood(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Planks with rings drawn out along them."""
    x, y = _axes(shape, float(rng.choice([0, 90])) + float(rng.normal(0, 8)))
    plank = float(rng.uniform(60, 300)) * grain
    number = np.floor(y / plank)
    drawn = streak_noise(rng, shape, angle_degrees=0, length=200 * grain, width=12 * grain)
    rings = np.sin(y / (5 * grain) + 3 * drawn + 2.5 * number + 0.004 * x)
    fibre = fractal_noise(rng, shape, 5 * grain, octaves=2)
    shade = np.sin(number * 12.9898) * 0.25
    tone = rng.uniform(0.05, 0.22) * rings + 0.08 * fibre + 0.2 * drawn + shade
    seam = np.exp(-(((((y / plank) % 1 - 0.5) ** 2 - 0.25) / (0.6 / plank)) ** 2))
    albedo = _toned(colour, tone.astype(np.float32)) * (1 - 0.75 * seam)[..., None]
    return albedo.astype(np.float32), 0.4 * fibre - 2 * seam.astype(np.float32)


def _ice(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Crushed ice: bright lumps, blue where light comes through."""
    lumps = fractal_noise(rng, shape, 22 * grain, octaves=4, persistence=0.6)
    edges, ids = _cells(shape, 14 * grain, rng)
    tone = 0.16 * lumps + 0.25 * (ids - 0.5)
    albedo = _toned(colour, tone)
    depth = smoothstep(-lumps, 0.2, 2.0)
    albedo = mix(albedo, linear((120, 150, 180)), 0.5 * depth)
    return albedo, 5 * grain * (lumps + 1.2 * np.minimum(edges, 1))


def _gravel(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Stones, sand between them."""
    edges, ids = _cells(shape, float(rng.uniform(6, 40)) * grain, rng)
    sand = fractal_noise(rng, shape, 4, octaves=2)
    stone = smoothstep(edges, 0.15, 0.5)
    warm = np.float32(rng.uniform(0.1, 0.6))
    hue = np.stack([ids, 0.5 + 0 * ids, 1 - ids], axis=-1) - 0.5
    albedo = _toned(colour, 0.9 * (ids - 0.5) + 0.12 * sand) * np.exp(0.3 * warm * hue)
    albedo = albedo * (0.35 + 0.65 * stone)[..., None]
    return albedo, 4 * grain * np.sqrt(np.minimum(edges, 1)) + 0.3 * sand


def _grass(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Blades, some of them dry."""
    height, width = shape
    tone = linear((60, 52, 34)) * rng.uniform(0.3, 1.0)
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = tone
    count = int(np.clip(2.5e-2 * height * width / grain, 800, 7000))
    roots = rng.uniform(-0.05, 1.05, (count, 2)) * (width, height)
    lean = rng.normal(rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 2.0), count)
    length = rng.uniform(8, 45, count) * grain
    tips = roots + np.stack([np.cos(lean), np.sin(lean)], axis=1) * length[:, None]
    middles = (roots + tips) / 2 + rng.normal(0, 3 * grain, (count, 2))
    paths = np.round(np.stack([roots, middles, tips], axis=1) * 16).astype(np.int32)
    dry = linear((178, 160, 100))
    shares = np.clip(rng.normal(rng.uniform(-0.2, 0.6), 0.3, count), 0, 1)[:, None]
    shades = np.exp(rng.normal(0, 0.35, (count, 1))) * np.linspace(0.4, 1.1, count)[:, None]
    tones = ((1 - shares) * colour + shares * dry) * shades
    thickness = max(1, round(1.6 * grain))
    for path, shade in zip(paths, tones.tolist(), strict=True):
        cv2.polylines(canvas, [path], False, shade, thickness, cv2.LINE_8, 4)
    light = canvas.mean(axis=2)
    return np.clip(canvas, 0, 1), 3 * (light / max(float(light.mean()), 1e-3))


def _concrete(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    clouds = fractal_noise(rng, shape, 150 * grain, octaves=6, persistence=0.65)
    specks = smoothstep(smooth_noise(rng, shape, (2.2, 2.2)), 1.3, 2.2)
    albedo = _toned(colour, rng.uniform(0.08, 0.25) * clouds - 0.5 * specks)
    return albedo.astype(np.float32), (clouds - specks).astype(np.float32)


def _cloth(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """A towel, a shirt, a net: woven, folded, often striped or chequered."""
    x, y = _axes(shape, float(rng.uniform(0, 180)))
    folds = fractal_noise(rng, shape, 140 * grain, octaves=3)
    x, y = x + 8 * folds, y + 8 * folds
    albedo = _toned(colour, 0.04 * smooth_noise(rng, shape, (1.5, 1.5)))
    if rng.random() < 0.5:
        for axis in (x, y)[: int(rng.integers(1, 3))]:
            pitch = float(rng.uniform(12, 90)) * grain
            band = smoothstep(np.sin(2 * np.pi * axis / pitch), rng.uniform(-0.3, 0.9), 1)
            other = linear(tuple(rng.integers(10, 250, 3).tolist()))
            albedo = mix(albedo, other, np.float32(rng.uniform(0.3, 0.9)) * band)
    weave = np.sin(x * (1.3 / grain)) * np.sin(y * (1.3 / grain))
    return albedo * (1 + 0.12 * weave)[..., None].astype(np.float32), 14 * grain * folds + weave


def _tiles(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Tiles, bricks or paving stones in rows."""
    x, y = _axes(shape, float(rng.uniform(0, 180)))
    side = float(rng.uniform(40, 200)) * grain
    ratio = float(rng.choice([1, 1, 2, 3]))
    row = np.floor(y / side)
    shifted = x / (side * ratio) + (0.5 * (row % 2) if ratio > 1 else 0)
    gap = float(rng.uniform(0.01, 0.05))
    joint = np.maximum(
        smoothstep(np.abs((y / side) % 1 - 0.5), 0.5 - gap, 0.5 - gap / 2),
        smoothstep(np.abs(shifted % 1 - 0.5), 0.5 - gap / ratio, 0.5 - gap / ratio / 2),
    )
    each = np.sin(row * 12.9898 + np.floor(shifted) * 78.233) * rng.uniform(0, 0.2)
    albedo = _toned(colour, each + 0.06 * fractal_noise(rng, shape, 60 * grain))
    grout = linear((200, 198, 190)) if rng.random() < 0.4 else linear((70, 66, 60))
    return mix(albedo, grout, joint).astype(np.float32), -2 * joint


def _lines(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """A mat with a grid, or a board with marks at every centimetre."""
    x, y = _axes(shape, float(rng.choice([0, 90])) + float(rng.normal(0, 6)))
    pitch = float(rng.uniform(14, 60)) * grain
    thin = max(0.8, float(rng.uniform(0.4, 1.6)) * grain)
    ink = linear([(255, 255, 255), (20, 20, 20), (40, 80, 170)][rng.integers(3)])
    albedo, relief = _plain(colour, shape, grain, rng)
    axes = (x, y)[: 1 if rng.random() < 0.3 else 2]
    for axis in axes:
        nearest = np.abs((axis / pitch) % 1 - 0.5) * pitch
        fifth = np.abs((axis / pitch / 5) % 1 - 0.5) * pitch * 5
        albedo = mix(albedo, ink, 0.5 * smoothstep(nearest, thin, 0.4 * thin))
        albedo = mix(albedo, ink, 0.8 * smoothstep(fifth, 1.6 * thin, 0.8 * thin))
    return albedo, relief


def _leaves(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Fallen leaves over soil."""
    height, width = shape
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = linear((52, 42, 30))
    bump = np.zeros(shape, np.float32)
    autumn = [linear(c) for c in ((150, 96, 40), (120, 70, 34), (186, 140, 60), (90, 100, 44))]
    u = np.linspace(0, 2 * np.pi, 22)
    for _ in range(int(rng.uniform(150, 420) / max(grain, 0.7))):
        size = rng.uniform(12, 45) * grain
        narrow, angle = rng.uniform(0.2, 0.55), rng.uniform(0, 2 * np.pi)
        leaf = np.stack([np.cos(u), narrow * np.sin(u) * np.abs(np.cos(u / 2)) ** 0.5], axis=1)
        cos, sin = math.cos(angle), math.sin(angle)
        centre = rng.uniform(-0.05, 1.05, 2) * (width, height)
        points = leaf @ np.array([[cos, sin], [-sin, cos]]) * size + centre
        corners = [np.round(points * 16).astype(np.int32)]
        tone = (colour + autumn[rng.integers(4)]) / 2 * math.exp(rng.normal(0, 0.35))
        cv2.fillPoly(canvas, corners, tone.tolist(), cv2.LINE_AA, 4)
        cv2.fillPoly(bump, corners, float(rng.uniform(1, 6)), cv2.LINE_AA, 4)
        midrib = [corners[0][[0, 11]]]
        cv2.polylines(canvas, midrib, False, (0.7 * tone).tolist(), 1, cv2.LINE_AA, 4)
    return np.clip(canvas, 0, 1), blur(bump, 1.2)


def _water(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Deep water with ripples, or the blue behind glass."""
    waves = fractal_noise(rng, shape, 50 * grain, octaves=3)
    caustics = np.exp(-((fractal_noise(rng, shape, 40 * grain, octaves=2) / 0.15) ** 2))
    _, y = _axes(shape, float(rng.normal(0, 25)))
    slope = np.float32(rng.uniform(0.2, 1.2)) * y / max(shape)
    tone = rng.uniform(0.05, 0.3) * waves + slope + rng.uniform(0, 0.3) * caustics
    return _toned(colour, tone.astype(np.float32)), 4 * grain * waves


def _paper(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """A newspaper: columns of grey lines, headlines, a picture."""
    x, y = _axes(shape, float(rng.normal(0, 30)))
    pitch = float(rng.uniform(5, 12)) * grain
    column = float(rng.uniform(80, 220)) * grain
    letters = smoothstep(smooth_noise(rng, shape, (1.6 * grain, 2.4 * grain)), -0.6, 0.4)
    rows = smoothstep(np.sin(2 * np.pi * y / pitch), -0.1, 0.4)
    inside = smoothstep(np.abs((x / column) % 1 - 0.5), 0.46, 0.45)
    printed = smoothstep(fractal_noise(rng, shape, 160 * grain, octaves=2), -1.2, -1.0)
    albedo, relief = _plain(colour, shape, grain, rng)
    return mix(albedo, linear((40, 40, 42)), 0.75 * letters * rows * inside * printed), relief


def _mesh(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """A crate, a grate or a net over something dark."""
    x, y = _axes(shape, float(rng.uniform(0, 180)))
    wobble = fractal_noise(rng, shape, 120 * grain, octaves=2) * rng.uniform(0, 12)
    pitch, share = float(rng.uniform(14, 60)) * grain, float(rng.uniform(0.05, 0.3))
    bars = np.maximum(
        smoothstep(np.abs(((x + wobble) / pitch) % 1 - 0.5), 0.5 - share, 0.53 - share),
        smoothstep(np.abs(((y + wobble) / pitch) % 1 - 0.5), 0.5 - share, 0.53 - share),
    )
    behind = _toned(linear((36, 34, 34)), 0.4 * fractal_noise(rng, shape, 90))
    return mix(behind, colour, bars).astype(np.float32), 5 * bars


def _photographed(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """A photographed surface in the colour asked for."""
    names = photographs.of_kind("texture")
    light = photographs.crop(names[rng.integers(len(names))], shape, rng, smallest=0.3)
    tone = light.mean(axis=2) / max(float(light.mean()), 1e-3)
    return np.asarray(tone[..., None] * colour, np.float32), 3 * tone * np.float32(grain)


def _scenery(
    colour: Field, shape: Shape, grain: float, rng: np.random.Generator
) -> tuple[Field, Field]:
    """A place or things, out of focus or not; ``colour`` tints it a little."""
    names = photographs.of_kind("place", "thing")
    light = photographs.crop(names[rng.integers(len(names))], shape, rng, smallest=0.35)
    blurred = blur(light, float(rng.uniform(0.5, 9)) * grain)
    tint = colour / max(float(colour.mean()), 1e-3)
    return np.asarray(blurred * (0.75 + 0.25 * tint), np.float32), _flat(shape)


def _axes(shape: Shape, degrees: float) -> tuple[Field, Field]:
    """Pixels along and across a direction from the frame's middle, both ``(H, W)``."""
    x, y = np.meshgrid(
        np.arange(shape[1], dtype=np.float32) - np.float32(shape[1] / 2),
        np.arange(shape[0], dtype=np.float32) - np.float32(shape[0] / 2),
    )
    cos, sin = (np.float32(f(math.radians(degrees))) for f in (math.cos, math.sin))
    return x * cos + y * sin, y * cos - x * sin


def _cells(shape: Shape, size: float, rng: np.random.Generator) -> tuple[Field, Field]:
    """Cells around random points: distance from their border (about 0..1), and a number 0..1."""
    height, width = shape
    rows, columns = math.ceil(height / size) + 1, math.ceil(width / size) + 1
    y, x = np.mgrid[0:rows, 0:columns]
    jitter = rng.uniform(-0.48, 0.48, (2, rows, columns))
    seeds_y = np.clip((y + jitter[0]) * size, 0, height - 1).astype(int).ravel()
    seeds_x = np.clip((x + jitter[1]) * size, 0, width - 1).astype(int).ravel()
    empty = np.full(shape, 255, np.uint8)
    empty[seeds_y, seeds_x] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        empty, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    numbers = rng.random(int(labels.max()) + 1, dtype=np.float32)
    border = np.clip(1 - distance / np.float32(0.62 * size), 0, 1)
    ids = numbers[labels]
    # Neighbouring cells of one distance share a border: there the number jumps.
    return border * (1 - 0.6 * (np.abs(cv2.Laplacian(ids, cv2.CV_32F)) > 0)), ids


PATTERNS: dict[str, Pattern] = {
    "plain": _plain,
    "brushed": _brushed,
    "wood": _wood,
    "ice": _ice,
    "gravel": _gravel,
    "grass": _grass,
    "concrete": _concrete,
    "cloth": _cloth,
    "tiles": _tiles,
    "lines": _lines,
    "leaves": _leaves,
    "water": _water,
    "paper": _paper,
    "mesh": _mesh,
    "photographed": _photographed,
    "scenery": _scenery,
}
"""Every pattern by its name."""
