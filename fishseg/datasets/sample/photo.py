"""One photograph: an animal on a board under a lamp, and the exact truth about it."""

from __future__ import annotations

import dataclasses
import math
from typing import TypeAlias

import cv2
import numpy as np

from fishseg.datasets.sample.anatomy import Anatomy, Chart, Skin
from fishseg.datasets.sample.board import Board, lay_board
from fishseg.datasets.sample.camera import Picture, take_picture
from fishseg.datasets.sample.fish import grow_fish, paint_fish
from fishseg.datasets.sample.frame import HEIGHT, SHAPE, WIDTH
from fishseg.datasets.sample.light import Light, light_up
from fishseg.datasets.sample.noise import Field, blur
from fishseg.datasets.sample.pose import Points, Pose
from fishseg.datasets.sample.shading import Shaded, shade
from fishseg.datasets.sample.shrimp import grow_shrimp, paint_shrimp
from fishseg.datasets.sample.silhouette import Silhouette, paste
from fishseg.datasets.sample.species import Fish, Species

Window: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom of a part of the frame, right and bottom excluded."""

_OVERSAMPLING = 2  # samples of colour along each axis of a pixel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photo:
    """A rendered photograph.

    Args:
        picture: RGB, ``(445, 590, 3)`` uint8.
        coverage: share of each pixel that the animal covers, 0..255, ``(445, 590)`` uint8.
        area_px: area of the animal in square pixels, beyond the frame too.
        length_px: length along the curved body axis, snout to tail tip.
        width_px: greatest depth of the trunk without fins, across the axis.
        whole: nothing of the animal lies outside the frame.
    """

    picture: Picture
    coverage: Picture
    area_px: float
    length_px: float
    width_px: float
    whole: bool


def render_photo(species: Species, rng: np.random.Generator) -> Photo:
    """Lay an animal of a species on a board and take its picture."""
    pose = _lay_down(species, rng)
    anatomy = grow_fish(species, rng) if isinstance(species, Fish) else grow_shrimp(rng)
    silhouette = Silhouette.of(anatomy, pose)
    coverage = silhouette.in_frame()
    board = lay_board(rng)
    light = light_up(board, rng)
    ground = _light_board(board, light, coverage / np.float32(255), pose, rng)
    chart = Chart.of(anatomy)
    skin = _paint(species, anatomy, chart, rng)
    shaded = shade(skin, chart, pose, light.direction, rng)
    cut_out = _cut_out(shaded, chart, anatomy, pose, silhouette)
    return Photo(
        picture=take_picture(_lay_on(ground, cut_out, light), rng),
        coverage=coverage,
        area_px=silhouette.area_px,
        length_px=pose.length_px,
        width_px=anatomy.trunk.depth * pose.length_px,
        whole=silhouette.whole,
    )


def _lay_down(species: Species, rng: np.random.Generator) -> Pose:
    """Mostly level as the photographer saw it, near the middle, seen from either side."""
    tilt = rng.normal(0, 0.22) if rng.random() < 0.8 else rng.uniform(-1.2, 1.2)
    shortest, longest = species.length_share
    x, y = rng.normal((WIDTH - 1) / 2, 22), rng.normal((HEIGHT - 1) / 2, 26)
    return Pose(
        centre=(float(x), float(y)),
        length_px=WIDTH * float(rng.uniform(shortest, longest)),
        heading=float(tilt + math.pi * rng.integers(2)),
        bend=species.bend * float(rng.uniform(-1, 1)),
        wave=species.bend * float(rng.normal(0, 0.15)),
        belly=int(rng.choice([-1, 1])),
    )


def _light_board(
    board: Board, light: Light, alpha: Field, pose: Pose, rng: np.random.Generator
) -> Field:
    """Light that the board sends to the camera, in the animal's shadow too, ``(H, W, 3)``."""
    x, y, z = light.direction
    slant = math.hypot(x, y)
    # The shadow of a rounded body about a twentieth of its length high.
    throw = 0.05 * pose.length_px * min(slant / z, 1.6)
    shadow = np.zeros(SHAPE, np.float32)
    for share in (0.35, 0.7, 1.0):
        dx, dy = -x / slant * throw * share, -y / slant * throw * share
        moved = cv2.warpAffine(alpha, np.array([[1, 0, dx], [0, 1, dy]]), (WIDTH, HEIGHT))
        shadow = np.maximum(shadow, moved)
    darkness = blur(shadow, rng.uniform(1.0, 4.5)) * np.float32(rng.uniform(0.75, 0.98))
    contact = blur(alpha, 5.0) * np.float32(rng.uniform(0.4, 0.9))
    lamp = light.lamp * (1 - darkness)
    lit: Field = lamp[..., None] * light.lamp_colour + light.room_colour * (1 - contact)[..., None]

    slope_y, slope_x = np.gradient(board.relief)
    facing: Field = np.asarray(-(slope_x * x + slope_y * y))
    glints = np.clip(facing - 0.09, 0, 1) * (0.6 + 3 * light.glare)
    glare = ((light.glare + glints) * lamp)[..., None] * (0.5 + 0.5 * light.lamp_colour)
    lit = lit * (1 + 0.9 * np.clip(facing, -0.6, 0.6))[..., None]
    return np.asarray(board.albedo * lit + 0.9 * glare, np.float32)


def _paint(species: Species, anatomy: Anatomy, chart: Chart, rng: np.random.Generator) -> Skin:
    if isinstance(species, Fish):
        return paint_fish(species, anatomy, chart, rng)
    return paint_shrimp(species, anatomy, chart, rng)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CutOut:
    """The shaded animal in a window of the frame, colours multiplied by ``alpha``."""

    window: Window
    by_lamp: Field
    by_room: Field
    alpha: Field


def _cut_out(
    shaded: Shaded, chart: Chart, anatomy: Anatomy, pose: Pose, silhouette: Silhouette
) -> _CutOut:
    """Bend the straightened animal into its pose, and average it over each pixel."""
    threads = [pose.to_photo(thread) for thread in anatomy.threads]
    window = _window(silhouette, threads)
    left, top, right, bottom = window
    texel_x, texel_y = _texels(window, chart, pose)
    by_lamp, by_room, opacity = (
        cv2.remap(layer, texel_x, texel_y, cv2.INTER_LINEAR)
        for layer in (shaded.by_lamp, shaded.by_room, shaded.opacity)
    )
    x, y = silhouette.origin
    origin = ((x - left) * _OVERSAMPLING, (y - top) * _OVERSAMPLING)
    fine = np.zeros(texel_x.shape, np.uint8)
    fine = paste(fine, silhouette.coverage(_OVERSAMPLING), origin)
    alpha = np.maximum(fine / np.float32(255) * opacity, _thread_alpha(threads, window))
    by_lamp, by_room, alpha = (
        cv2.resize(layer, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        for layer in (by_lamp * alpha[..., None], by_room * alpha[..., None], alpha)
    )
    return _CutOut(window=window, by_lamp=by_lamp, by_room=by_room, alpha=alpha)


def _lay_on(ground: Field, cut_out: _CutOut, light: Light) -> Field:
    """The board with the animal on it, linear light ``(H, W, 3)``."""
    left, top, right, bottom = cut_out.window
    place = (slice(top, bottom), slice(left, right))
    animal = cut_out.by_lamp * light.lamp[place][..., None] * light.lamp_colour
    animal += cut_out.by_room * light.room_colour
    radiance = ground.copy()
    # Wet plastic mirrors a little of the animal beside it.
    radiance[place] += np.float32(0.1) * blur(animal, 9)
    radiance[place] = radiance[place] * (1 - cut_out.alpha)[..., None] + animal
    return radiance


def _window(silhouette: Silhouette, threads: list[Points]) -> Window:
    """The part of the frame that the animal touches."""
    rows, columns = silhouette.coverage(1).shape
    box = np.array([silhouette.origin, np.add(silhouette.origin, (columns, rows))], np.float64)
    points = np.concatenate([box, *threads])
    left, top = np.maximum(np.floor(points.min(axis=0)) - 3, 0).astype(int).tolist()
    right, bottom = np.ceil(points.max(axis=0)).astype(int).tolist()
    return left, top, min(right + 4, WIDTH), min(bottom + 4, HEIGHT)


def _texels(window: Window, chart: Chart, pose: Pose) -> tuple[Field, Field]:
    """Texel coordinates of the oversampled pixels of a window, float32."""
    left, top, right, bottom = window
    x, y = np.meshgrid(np.arange(left, right, dtype=np.float64), np.arange(top, bottom) * 1.0)
    texels = chart.texels(np.stack(pose.to_body(x, y), axis=-1)).astype(np.float32)
    # The inverse of a bend is smooth: whole pixels are enough to interpolate it from.
    size = ((right - left) * _OVERSAMPLING, (bottom - top) * _OVERSAMPLING)
    fine = cv2.resize(texels, size, interpolation=cv2.INTER_LINEAR)
    return fine[..., 0], fine[..., 1]


def _thread_alpha(threads: list[Points], window: Window) -> Field:
    """Opacity of antennae on the oversampled pixels of a window."""
    left, top, right, bottom = window
    canvas = np.zeros(((bottom - top) * _OVERSAMPLING, (right - left) * _OVERSAMPLING), np.uint8)
    for thread in threads:
        corners = (thread - [left, top] + 0.5) * _OVERSAMPLING - 0.5
        path = [np.round(corners * 16).astype(np.int32)]
        cv2.polylines(canvas, path, False, 255, 2, cv2.LINE_AA, 4)
    return canvas * np.float32(0.8 / 255)
