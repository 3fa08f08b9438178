"""What is no fish: things that lie about where fish are photographed, and people.

A thing is drawn flat, as solids with a colour each, and gets its roundness from how far a pixel is
from the border. Sizes are shares of the frame's longer side.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np

from fishseg.datasets.sample.anatomy import ribbon
from fishseg.datasets.sample.anywhere import photographs
from fishseg.datasets.sample.camera import Picture
from fishseg.datasets.sample.noise import Field, blur, fractal_noise, linear
from fishseg.datasets.sample.pose import Points
from fishseg.datasets.sample.species import Colour

_SKINS: tuple[Colour, ...] = (
    (236, 196, 172), (214, 164, 134), (190, 138, 104), (156, 104, 74), (112, 74, 52), (74, 48, 36),
)  # fmt: skip
_CLOTHES: tuple[Colour, ...] = (
    (40, 44, 60), (30, 60, 110), (150, 40, 40), (60, 90, 60), (200, 196, 186), (24, 24, 26),
    (90, 84, 60), (120, 130, 90), (220, 120, 40), (230, 210, 60), (110, 60, 120), (130, 130, 134),
)  # fmt: skip
_GLOVES: tuple[Colour, ...] = (
    (50, 90, 190), (230, 230, 226), (24, 24, 26), (230, 130, 40), (190, 206, 216), (80, 140, 80),
)  # fmt: skip
_GREENS: tuple[Colour, ...] = (
    (60, 100, 40), (90, 130, 60), (120, 90, 40), (160, 130, 60), (40, 70, 36), (140, 60, 40),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thing:
    """A flat picture of something.

    Args:
        albedo: linear reflectance, ``(H, W, 3)``.
        cover: 0 to 1, ``(H, W)``.
        facing: brightness from its roundness under a lamp overhead, about 1, ``(H, W)``.
        height_px: how high it stands, for its shadow.
        gloss: strength of its highlights.
    """

    albedo: Field
    cover: Field
    facing: Field
    height_px: float
    gloss: float = 0.1


Draw: TypeAlias = Callable[["Sheet"], None]


class Sheet:
    """What a thing is drawn on: a frame that solids are added to, the later over the earlier."""

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self.rng = rng
        self.shape = shape
        self.side = float(max(shape))
        self.albedo = np.zeros((*shape, 3), np.float32)
        self.cover = np.zeros(shape, np.float32)
        self.facing = np.ones(shape, np.float32)
        self.height_px = 0.0
        self.gloss = 0.1

    def place(self) -> tuple[Points, float]:
        """Somewhere in the frame, or half outside, and a direction in radians."""
        height, width = self.shape
        return self.rng.uniform(-0.02, 1.02, 2) * (width, height), float(
            self.rng.uniform(0, 2 * math.pi)
        )

    def border(self) -> tuple[Points, float]:
        """A point just outside of the frame, and the direction inwards."""
        height, width = self.shape
        side, along = self.rng.integers(4), self.rng.uniform(0.05, 0.95)
        point = np.array([(along, -0.03), (along, 1.03), (-0.03, along), (1.03, along)][side])
        inwards = (math.pi / 2, -math.pi / 2, 0.0, math.pi)[side] + self.rng.normal(0, 0.4)
        return point * (width, height), float(inwards)

    def solid(
        self,
        outline: Points,
        colour: Field,
        *,
        round_px: float = 0.0,
        grain: float = 0.04,
        opacity: float = 1.0,
    ) -> None:
        """Fill a closed outline ``(N, 2)`` with a colour, flat ``round_px`` from its border."""
        place, origin = self._window(outline, 2)
        canvas = np.zeros(self.cover[place].shape, np.uint8)
        if min(canvas.shape) < 2:
            return
        corners = [np.round((outline - origin) * 16).astype(np.int32)]
        cv2.fillPoly(canvas, corners, 255, cv2.LINE_AA, 4)
        cover = canvas.astype(np.float32) / np.float32(255)
        facing = np.ones_like(cover)
        if round_px > 0.5:
            inner = cv2.distanceTransform((canvas > 127).astype(np.uint8), cv2.DIST_L2, 3)
            across = np.clip(1 - inner / np.float32(round_px), 0, 1)
            slope_y, slope_x = np.gradient(blur(np.minimum(inner, round_px), 0.3 * round_px + 0.5))
            facing = 1.02 - 0.45 * across**2 - 0.5 * (slope_x + slope_y) * np.sqrt(across)
        tone = np.exp(np.float32(grain) * fractal_noise(self.rng, cover.shape, 12, octaves=3))
        weight = (cover * np.float32(opacity))[..., None]
        painted = colour.astype(np.float32) * tone[..., None]
        self.albedo[place] += weight * (painted - self.albedo[place])
        self.facing[place] += weight[..., 0] * (facing - self.facing[place])
        self.cover[place] = np.maximum(self.cover[place], weight[..., 0])

    def lines(self, paths: list[Points], colour: Field, width_px: float) -> None:
        """Draw open lines on what is there already."""
        place, origin = self._window(np.concatenate(paths), 2 + width_px)
        canvas = np.zeros(self.cover[place].shape, np.uint8)
        if canvas.size:
            corners = [np.round((path - origin) * 16).astype(np.int32) for path in paths]
            thickness = max(1, round(width_px))
            cv2.polylines(canvas, corners, False, 255, thickness, cv2.LINE_AA, 4)
            self._ink(place, canvas, colour, min(1.0, width_px))

    def text(self, words: str, origin: Points, angle: float, size_px: float, colour: Field) -> None:
        """Write words along a direction on what is there already."""
        scale = size_px / 22
        font = int(self.rng.integers(0, 4))
        (columns, rows), _ = cv2.getTextSize(words, font, scale, 1)
        stroke = max(1, round(size_px / 12))
        line = np.zeros((rows + 8, columns + 8), np.uint8)
        cv2.putText(line, words, (4, rows + 3), font, scale, 255, stroke, cv2.LINE_AA)
        cos, sin = math.cos(angle), math.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        ends = np.array([[0, 0], [columns + 8, 0], [0, rows + 8], [columns + 8, rows + 8]])
        place, corner = self._window(ends @ turn.T + origin, 2)
        if self.cover[place].size:
            to_window = np.column_stack([turn, origin - corner])
            ink = cv2.warpAffine(line, to_window, self.cover[place].shape[::-1])
            self._ink(place, ink, colour, 0.9)

    def _window(self, points: Points, margin: float) -> tuple[tuple[slice, slice], Points]:
        """The part of the frame around some points, and its left upper corner."""
        low = np.clip(np.floor(points.min(axis=0) - margin), 0, self.shape[::-1]).astype(int)
        high = np.clip(np.ceil(points.max(axis=0) + margin), 0, self.shape[::-1]).astype(int)
        return (slice(low[1], high[1]), slice(low[0], high[0])), low.astype(np.float64)

    def _ink(
        self, place: tuple[slice, slice], canvas: Picture, colour: Field, strength: float
    ) -> None:
        ink = canvas.astype(np.float32) * np.float32(strength / 255) * (self.cover[place] > 0.5)
        painted = self.albedo[place]
        painted += ink[..., None] * (colour.astype(np.float32) - painted)

    def colour(self, colours: tuple[Colour, ...]) -> Field:
        """One of some colours in a tint of its own, linear."""
        tint = np.exp(self.rng.normal(0, 0.08, 3) + self.rng.normal(0, 0.15))
        return np.clip(linear(colours[self.rng.integers(len(colours))]) * tint, 0.003, 0.95)

    def finished(self) -> Thing:
        """The thing as it was drawn."""
        return Thing(
            albedo=self.albedo,
            cover=self.cover,
            facing=np.clip(self.facing, 0.15, 1.5),
            height_px=self.height_px,
            gloss=self.gloss,
        )


def draw_thing(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> Thing:
    """Something somewhere in the frame; ``kind`` is one of `THINGS`."""
    sheet = Sheet(shape, rng)
    THINGS[kind](sheet)
    return sheet.finished()


def draw_hand_at(
    target: Points, reach: float, shape: tuple[int, int], rng: np.random.Generator
) -> Thing:
    """A hand that reaches from the border to a point; ``reach`` is its length in pixels."""
    sheet = Sheet(shape, rng)
    x, y = rng.normal(0, 1, 2)
    angle = math.atan2(-y - 0.5, -x)
    _draw_hand(sheet, target, angle, reach, fingers_spread=float(rng.uniform(0.05, 0.4)))
    return sheet.finished()


def _along(start: Points, angle: float, length: float) -> Points:
    return start + length * np.array([math.cos(angle), math.sin(angle)])


def _box(middle: Points, angle: float, length: float, width: float) -> Points:
    """Corners of a turned rectangle, ``(4, 2)``."""
    box = ((float(middle[0]), float(middle[1])), (length, width), math.degrees(angle))
    return np.asarray(cv2.boxPoints(box), np.float64)


def _capsule(start: Points, end: Points, width: float, end_width: float) -> Points:
    """A rounded stick whose width changes from start to end."""
    direction = math.atan2(*(end - start)[::-1])
    turn = np.linspace(math.pi / 2, 3 * math.pi / 2, 12) + direction
    cap = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return np.concatenate([start + cap * width / 2, end - cap * end_width / 2])


def _blob(
    middle: Points, radii: tuple[float, float], angle: float, rng: np.random.Generator, rough: float
) -> Points:
    """An ellipse with a wavy border."""
    turn = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    wave = sum(
        rng.normal(0, rough / k) * np.cos(k * turn + rng.uniform(0, 6.3)) for k in range(2, 6)
    )
    x, y = radii[0] * np.cos(turn) * (1 + wave), radii[1] * np.sin(turn) * (1 + wave)
    cos, sin = math.cos(angle), math.sin(angle)
    return middle + np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)


# Measuring and marking


def _ruler(sheet: Sheet) -> None:
    rng = sheet.rng
    middle, angle = sheet.place()
    if rng.random() < 0.7:
        angle = float(rng.choice([0, math.pi / 2], p=[0.7, 0.3]) + rng.normal(0, 0.06))
        middle[1 if abs(math.cos(angle)) > 0.5 else 0] *= rng.choice([0.35, 1.0])
    length = sheet.side * rng.uniform(0.3, 1.5)
    width = sheet.side * rng.uniform(0.02, 0.1)
    light = sheet.colour(((236, 234, 226), (238, 206, 70), (190, 194, 196), (214, 180, 130)))
    dark = sheet.colour(((24, 24, 26), (40, 60, 120)))
    paper, ink = (dark, light) if rng.random() < 0.2 else (light, linear((16, 16, 18)))
    sheet.solid(_box(middle, angle, length, width), paper, grain=0.02)
    pitch = sheet.side * rng.uniform(0.004, 0.02)
    across = angle + math.pi / 2
    edge = _along(_along(middle, angle, -length / 2), across, -width / 2)
    sides = (1, -1) if rng.random() < 0.4 else (1,)
    for side in sides:
        start = edge if side == 1 else _along(edge, across, width)
        ticks = []
        for k in range(int(length / pitch)):
            deep = 0.5 if k % 10 == 0 else 0.36 if k % 5 == 0 else 0.22
            foot = _along(start, angle, (k + 0.5) * pitch)
            ticks.append(np.stack([foot, _along(foot, across, side * deep * width)]))
        if ticks:
            sheet.lines(ticks, ink, max(0.6, 0.18 * pitch))
    for k in range(0, int(length / pitch), 10):
        foot = _along(_along(edge, angle, (k + 0.8) * pitch), across, 0.45 * width)
        sheet.text(str(k // 10), foot, angle, 0.34 * width, ink)
        if k > 150:
            break
    sheet.height_px = 2


def _label(sheet: Sheet) -> None:
    """A card, a tag or a sticker with printed or written lines."""
    rng = sheet.rng
    middle, angle = sheet.place()
    if rng.random() < 0.7:
        angle = float(rng.normal(0, 0.15))
    length = sheet.side * rng.uniform(0.08, 0.34)
    width = length * rng.uniform(0.25, 0.9)
    paper = sheet.colour(
        ((240, 238, 230), (232, 222, 190), (250, 230, 120), (250, 250, 250), (190, 220, 190),
         (230, 120, 60), (230, 190, 200))
    )  # fmt: skip
    sheet.solid(_box(middle, angle, length, width), paper, grain=0.02)
    ink = linear((30, 30, 60) if rng.random() < 0.3 else (24, 22, 22))
    rows = int(rng.integers(1, 7))
    letters = np.array(list("abcdefghiklmnoprstuvwxyz0123456789    -.ABCDEFGHLMNPRS"))
    for row in range(rows):
        left = _along(middle, angle, -0.44 * length)
        origin = _along(left, angle + math.pi / 2, (-0.45 + 0.85 * row / rows) * width)
        size = 0.6 * width / rows
        count = max(2, int(rng.uniform(0.4, 1.0) * 0.88 * length / (0.6 * size)))
        words = "".join(rng.choice(letters, count))
        sheet.text(words, origin, angle, size, ink)
    if rng.random() < 0.25:
        far = _along(middle, angle, 0.3 * length)
        for bar in rng.uniform(-0.12, 0.12, 14) * length:
            sheet.solid(_box(_along(far, angle, bar), angle, 0.006 * length, 0.4 * width), ink)
    sheet.height_px = 1.5


def _card(sheet: Sheet) -> None:
    """A colour card: patches on black, grey or white."""
    rng = sheet.rng
    middle, angle = sheet.place()
    angle = float(rng.choice([0, math.pi / 2]) + rng.normal(0, 0.1))
    columns, rows = int(rng.integers(3, 9)), int(rng.integers(1, 6))
    cell = sheet.side * rng.uniform(0.02, 0.06)
    back = sheet.colour(((16, 16, 16), (240, 240, 240), (128, 128, 128)))
    sheet.solid(_box(middle, angle, (columns + 0.5) * cell, (rows + 0.5) * cell), back, grain=0.01)
    grey = rng.random() < 0.3
    for row in range(rows):
        for column in range(columns):
            at = _along(middle, angle, (column - (columns - 1) / 2) * cell)
            at = _along(at, angle + math.pi / 2, (row - (rows - 1) / 2) * cell)
            level = (column + 1) / (columns + 1)
            tone = np.full(3, level**2.2) if grey else rng.uniform(0.01, 0.9, 3) ** 1.5
            sheet.solid(_box(at, angle, 0.86 * cell, 0.86 * cell), tone, grain=0.0)
    sheet.height_px = 2


def _coin(sheet: Sheet) -> None:
    middle, angle = sheet.place()
    radius = sheet.side * sheet.rng.uniform(0.012, 0.05)
    metal = sheet.colour(((190, 160, 90), (180, 180, 182), (160, 100, 66)))
    sheet.solid(_blob(middle, (radius, radius), 0, sheet.rng, 0), metal, round_px=radius / 5)
    ring = _blob(middle, (0.8 * radius, 0.8 * radius), angle, sheet.rng, 0.03)
    sheet.lines([ring], metal * 0.5, 1)
    sheet.height_px, sheet.gloss = 2, 0.5


def _pin(sheet: Sheet) -> None:
    """Forceps, needles or a pen."""
    rng = sheet.rng
    middle, angle = sheet.place()
    length, width = sheet.side * rng.uniform(0.1, 0.4), sheet.side * rng.uniform(0.006, 0.02)
    colour = sheet.colour(((180, 184, 186), (30, 60, 150), (20, 20, 22), (220, 190, 60)))
    fork = rng.uniform(0, 0.12) if rng.random() < 0.4 else 0.0
    for turn in {-fork, fork}:
        end = _along(middle, angle + turn, length)
        sheet.solid(_capsule(middle, end, width, 0.4 * width), colour, round_px=width / 2)
    sheet.height_px, sheet.gloss = 3, 0.5


# Tools and containers


def _knife(sheet: Sheet) -> None:
    """A blade, as long and pointed as a fish, and its handle."""
    rng = sheet.rng
    middle, angle = sheet.place()
    length = sheet.side * rng.uniform(0.15, 0.5)
    width = length * rng.uniform(0.09, 0.2)
    u = np.linspace(0, 1, 20)
    belly = width * (1 - u ** rng.uniform(2, 5)) * rng.uniform(0.7, 1.0)
    blade = np.stack([u * length, belly], axis=1)
    outline = np.concatenate([np.array([[0.0, 0.0], [length, 0.0]]), blade[::-1]])
    cos, sin = math.cos(angle), math.sin(angle)
    turned = outline @ np.array([[cos, sin], [-sin, cos]]) + middle
    sheet.solid(turned, sheet.colour(((190, 194, 198), (150, 154, 158))), round_px=width / 4)
    start = _along(_along(middle, angle + math.pi / 2, width / 3), angle, 0)
    handle = _capsule(start, _along(start, angle + math.pi, 0.6 * length), 0.7 * width, 0.6 * width)
    grip = sheet.colour(((30, 26, 24), (120, 74, 44), (200, 40, 36), (40, 80, 160)))
    sheet.solid(handle, grip, round_px=width / 3)
    sheet.height_px, sheet.gloss = 4, 0.6


def _bottle(sheet: Sheet) -> None:
    """A bottle or a can, lying or seen from the side."""
    rng = sheet.rng
    middle, angle = sheet.place()
    length = sheet.side * rng.uniform(0.15, 0.45)
    width = length * rng.uniform(0.25, 0.5)
    body = sheet.colour(
        (
            (30, 90, 50),
            (120, 70, 30),
            (210, 224, 230),
            (200, 30, 36),
            (40, 80, 170),
            (220, 220, 220),
        )
    )
    end = _along(middle, angle, 0.65 * length)
    opacity = float(rng.uniform(0.55, 1.0))
    trunk = _capsule(middle, end, width, 0.9 * width)
    sheet.solid(trunk, body, round_px=width / 2, opacity=opacity)
    neck = _capsule(end, _along(middle, angle, length), 0.4 * width, 0.3 * width)
    sheet.solid(neck, body, round_px=width / 6, opacity=opacity)
    cap = _box(_along(middle, angle, length), angle, 0.08 * length, 0.34 * width)
    sheet.solid(cap, sheet.colour(_CLOTHES))
    paper = _box(_along(middle, angle, 0.25 * length), angle, 0.4 * length, 0.98 * width)
    sheet.solid(paper, sheet.colour(_CLOTHES), opacity=0.9)
    name = _along(middle, angle, 0.08 * length)
    sheet.text(
        "Aqua Cola Bier"[: int(rng.integers(3, 14))], name, angle, width / 3, linear((240,) * 3)
    )
    sheet.height_px, sheet.gloss = 0.4 * width, 0.7


def _tray(sheet: Sheet) -> None:
    """A plate, a tray or a sheet of paper, large enough to lie on."""
    rng = sheet.rng
    height, width = sheet.shape
    middle = rng.uniform(0.3, 0.7, 2) * (width, height)
    radii = rng.uniform(0.25, 0.55, 2) * sheet.side
    colour = sheet.colour(
        ((240, 240, 236), (40, 60, 110), (170, 174, 176), (200, 170, 120), (30, 30, 32))
    )
    if rng.random() < 0.5:
        sheet.solid(_blob(middle, tuple(radii), 0, rng, 0), colour, round_px=float(radii.min()) / 6)
        inner = _blob(middle, tuple(0.8 * radii), 0, rng, 0)
        sheet.solid(inner, colour * 0.96, round_px=float(radii.min()) / 12, grain=0.02)
    else:
        angle = float(rng.normal(0, 0.2))
        sheet.solid(_box(middle, angle, 2 * radii[0], 2 * radii[1]), colour * 0.8, round_px=6)
        sheet.solid(_box(middle, angle, 1.86 * radii[0], 1.86 * radii[1]), colour, round_px=5)
    sheet.height_px, sheet.gloss = 8, 0.3


def _edge(sheet: Sheet) -> None:
    """The end of the table: another surface on one side of the frame."""
    rng = sheet.rng
    start, inwards = sheet.border()
    depth = sheet.side * rng.uniform(0.05, 0.25)
    middle = _along(start, inwards, depth - sheet.side)
    colour = sheet.colour((*_CLOTHES, (150, 150, 148), (190, 150, 96), (30, 28, 30)))
    sheet.solid(_box(middle, inwards, 2 * sheet.side, 4 * sheet.side), colour, grain=0.15)
    lip = _box(_along(start, inwards, depth), inwards, rng.uniform(3, 22), 4 * sheet.side)
    sheet.solid(lip, sheet.colour(((180, 184, 186), (30, 60, 130), (220, 220, 216))), round_px=8)
    sheet.height_px = float(rng.uniform(0, 10))


def _cable(sheet: Sheet) -> None:
    """A rope, a hose, a cable or a strap across the frame."""
    rng = sheet.rng
    height, width = sheet.shape
    knots = rng.uniform(-0.1, 1.1, (4, 2)) * (width, height)
    u = np.linspace(0, 1, 80)[:, None]
    path = (1 - u) ** 3 * knots[0] + 3 * u * (1 - u) ** 2 * knots[1]
    path = path + 3 * u**2 * (1 - u) * knots[2] + u**3 * knots[3]
    thick = sheet.side * rng.uniform(0.006, 0.03)
    colour = sheet.colour(
        ((24, 24, 26), (40, 90, 160), (200, 180, 120), (210, 80, 40), (80, 130, 80))
    )
    sheet.solid(ribbon(path, thick, taper=1.0), colour, round_px=thick / 2, grain=0.15)
    sheet.height_px = thick


def _rod(sheet: Sheet) -> None:
    """A fishing rod with its reel, or an oar."""
    rng = sheet.rng
    start, angle = sheet.border()
    end = _along(start, angle, sheet.side * rng.uniform(0.6, 1.5))
    thick = sheet.side * rng.uniform(0.008, 0.03)
    blank = sheet.colour(((24, 24, 26), (90, 40, 30), (40, 60, 90), (60, 80, 50)))
    sheet.solid(_capsule(start, end, thick, 0.4 * thick), blank, round_px=thick / 2)
    grip = _capsule(start, _along(start, angle, 0.3 * sheet.side), 1.8 * thick, 1.6 * thick)
    sheet.solid(grip, sheet.colour(((196, 160, 110), (30, 30, 32))), round_px=thick, grain=0.2)
    reel = _along(start, angle, sheet.side * rng.uniform(0.12, 0.35))
    radius = 2.6 * thick
    reel = _along(reel, angle + math.pi / 2, 0.8 * radius)
    metal = sheet.colour(((40, 40, 44), (170, 172, 176), (190, 150, 60)))
    sheet.solid(_blob(reel, (radius, 0.8 * radius), angle, rng, 0.05), metal, round_px=radius / 2)
    sheet.solid(_blob(reel, (0.4 * radius, 0.4 * radius), 0, rng, 0), metal * 0.5)
    sheet.height_px, sheet.gloss = 2 * thick, 0.5


def _bag(sheet: Sheet) -> None:
    """A plastic bag or a crumpled cloth."""
    rng = sheet.rng
    middle, angle = sheet.place()
    radii = rng.uniform(0.07, 0.3, 2) * sheet.side
    outline = _blob(middle, tuple(radii), angle, rng, 0.12)
    colour = sheet.colour((*_CLOTHES, (240, 240, 240), (180, 210, 230)))
    opacity = float(rng.uniform(0.5, 1.0))
    sheet.solid(outline, colour, round_px=0.5 * float(radii.min()), grain=0.25, opacity=opacity)
    creases = fractal_noise(rng, sheet.shape, 0.1 * sheet.side, octaves=3)
    sheet.facing *= np.exp(0.5 * np.clip(creases, -1.5, 1.5)).astype(np.float32)
    sheet.height_px, sheet.gloss = 0.2 * float(radii.min()), 0.8


# What grows and lies about


def _leaf(sheet: Sheet) -> None:
    """One or more leaves or blades: pointed at both ends, as a fish without fins is."""
    rng = sheet.rng
    colour = sheet.colour(_GREENS)
    size = sheet.side * np.exp(rng.uniform(np.log(0.03), np.log(0.3)))
    narrow = rng.uniform(0.06, 0.5)
    for _ in range(int(rng.integers(1, 7))):
        middle, angle = sheet.place()
        length = size * rng.uniform(0.6, 1.2)
        u = np.linspace(0, 1, 24)
        spine = np.stack([u * length, np.sin(u * 3) * length * rng.normal(0, 0.1)], axis=1)
        half = (narrow * length / 2 * np.sin(np.pi * u**0.8))[:, None] * [0, 1]
        outline = np.concatenate([spine - half, (spine + half)[::-1]])
        cos, sin = math.cos(angle), math.sin(angle)
        turn = np.array([[cos, sin], [-sin, cos]])
        tone = colour * math.exp(rng.normal(0, 0.2))
        sheet.solid(outline @ turn + middle, tone, round_px=0.3 * narrow * length, grain=0.12)
        veins = [spine @ turn + middle]
        for at in (6, 10, 14, 18):
            veins += [np.stack([spine[at], spine[at + 4] + s * 0.8 * half[at + 4]]) @ turn + middle
                      for s in (-1, 1)]  # fmt: skip
        sheet.lines(veins, tone * 1.5, 1)
    sheet.height_px = 3


def _fruit(sheet: Sheet) -> None:
    """Lemons, tomatoes, slices, shells, stones of one size."""
    rng = sheet.rng
    radius = sheet.side * rng.uniform(0.02, 0.09)
    colour = sheet.colour(
        (
            (240, 210, 60),
            (210, 50, 36),
            (120, 160, 60),
            (230, 140, 40),
            (220, 200, 180),
            (90, 60, 90),
        )
    )
    sliced = rng.random() < 0.4
    for _ in range(int(rng.integers(1, 6))):
        middle, angle = sheet.place()
        long = radius * rng.uniform(1.0, 1.4)
        outline = _blob(middle, (long, radius), angle, rng, 0.03)
        sheet.solid(outline, colour, round_px=0 if sliced else 0.9 * radius, grain=0.06)
        if sliced:
            flesh = np.clip(colour * 1.3 + 0.1, 0, 0.95)
            sheet.solid(_blob(middle, (0.85 * long, 0.85 * radius), angle, rng, 0.02), flesh)
            spokes = [
                np.stack([middle, _along(middle, k * math.pi / 4, 0.8 * radius)]) for k in range(8)
            ]
            sheet.lines(spokes, colour, 1.5)
    sheet.height_px, sheet.gloss = 0.4 * radius, 0.4


def _stone(sheet: Sheet) -> None:
    rng = sheet.rng
    for _ in range(int(rng.integers(1, 5))):
        middle, angle = sheet.place()
        radius = sheet.side * np.exp(rng.uniform(np.log(0.02), np.log(0.16)))
        colour = sheet.colour(
            ((120, 112, 104), (90, 88, 86), (150, 136, 116), (70, 66, 64), (180, 170, 156))
        )
        outline = _blob(middle, (radius, radius * rng.uniform(0.5, 0.95)), angle, rng, 0.1)
        sheet.solid(outline, colour, round_px=0.6 * radius, grain=0.2)
    sheet.height_px = 0.05 * sheet.side


def _scrap(sheet: Sheet) -> None:
    """Blood, slime, scales, bits of ice and gut."""
    rng = sheet.rng
    colour = sheet.colour(
        ((140, 24, 20), (90, 20, 18), (220, 190, 170), (230, 236, 240), (170, 120, 90))
    )
    spot, _ = sheet.place()
    for _ in range(int(rng.integers(3, 40))):
        middle = spot + rng.normal(0, 0.12, 2) * sheet.side
        radius = sheet.side * rng.exponential(0.006) + 1
        outline = _blob(middle, (radius * rng.uniform(1, 3), radius), rng.uniform(0, 6), rng, 0.2)
        sheet.solid(outline, colour, round_px=radius / 2, opacity=float(rng.uniform(0.4, 1)))
    sheet.height_px, sheet.gloss = 1, 0.8


# People


def _draw_hand(
    sheet: Sheet, tip: Points, angle: float, reach: float, *, fingers_spread: float
) -> None:
    """A hand whose fingertips are at ``tip`` and whose arm comes from against ``angle``."""
    rng = sheet.rng
    gloved = rng.random() < 0.25
    skin = sheet.colour(_GLOVES if gloved else _SKINS)
    palm = _along(tip, angle, -0.55 * reach)
    wrist = _along(palm, angle, -0.4 * reach)
    elbow = _along(wrist, angle + rng.normal(0, 0.15), -3.5 * reach)
    arm_width = 0.42 * reach
    sheet.solid(
        _capsule(elbow, wrist, 1.5 * arm_width, arm_width), skin, round_px=arm_width / 2, grain=0.08
    )
    if rng.random() < 0.7:
        cuff = _along(wrist, angle, -reach * rng.uniform(0.0, 1.2))
        sleeve = _capsule(elbow, cuff, 2.0 * arm_width, 1.35 * arm_width)
        sheet.solid(sleeve, sheet.colour(_CLOTHES), round_px=0.7 * arm_width, grain=0.2)
    back = _blob(palm, (0.42 * reach, 0.33 * reach), angle, rng, 0.03)
    sheet.solid(back, skin, round_px=0.3 * reach, grain=0.08)
    thumb_side = rng.choice([-1, 1])
    for k in range(4):
        lean = (k - 1.5) * fingers_spread * 0.5
        root = _along(
            _along(palm, angle + math.pi / 2, (k - 1.5) * 0.155 * reach), angle, 0.28 * reach
        )
        long = reach * (0.4, 0.47, 0.45, 0.36)[k] * rng.uniform(0.55, 1.05)
        knuckle = _along(root, angle + lean, 0.5 * long)
        end = _along(knuckle, angle + lean + rng.normal(0, 0.25), 0.5 * long)
        for start, stop, wide in ((root, knuckle, 0.155), (knuckle, end, 0.14)):
            finger = _capsule(start, stop, wide * reach, 0.92 * wide * reach)
            sheet.solid(finger, skin * rng.uniform(0.92, 1.05), round_px=0.075 * reach, grain=0.06)
        if not gloved and rng.random() < 0.6:
            nail = _blob(
                _along(end, angle + lean, 0.02 * reach), (0.05 * reach, 0.04 * reach), angle, rng, 0
            )
            sheet.solid(nail, np.clip(skin * [1.25, 1.2, 1.25], 0, 0.95), round_px=0.02 * reach)
    root = _along(palm, angle + thumb_side * math.pi / 2, 0.26 * reach)
    lean = angle + thumb_side * rng.uniform(0.3, 1.0)
    thumb = _capsule(root, _along(root, lean, 0.45 * reach), 0.2 * reach, 0.15 * reach)
    sheet.solid(thumb, skin, round_px=0.09 * reach, grain=0.06)
    sheet.height_px = max(sheet.height_px, 0.2 * reach)


def _hand(sheet: Sheet) -> None:
    start, inwards = sheet.border()
    reach = sheet.side * sheet.rng.uniform(0.1, 0.35)
    tip = _along(start, inwards, reach * sheet.rng.uniform(0.4, 2.0))
    _draw_hand(sheet, tip, inwards, reach, fingers_spread=float(sheet.rng.uniform(0.05, 0.6)))


def _boot(sheet: Sheet) -> None:
    """One or two boots or shoes that stand at the border."""
    rng = sheet.rng
    start, inwards = sheet.border()
    size = sheet.side * rng.uniform(0.14, 0.32)
    leather = sheet.colour((*_CLOTHES, (110, 70, 40), (60, 80, 50), (230, 230, 226)))
    aside = inwards + math.pi / 2
    for side in (-1, 1)[: int(rng.integers(1, 3))]:
        heel = _along(start, aside, side * 0.35 * size)
        toe = _along(heel, inwards + rng.normal(0, 0.2), size * rng.uniform(0.6, 1.1))
        sheet.solid(_capsule(heel, toe, 0.46 * size, 0.44 * size), leather * 0.35, round_px=4)
        sheet.solid(
            _capsule(heel, toe, 0.4 * size, 0.37 * size), leather, round_px=0.2 * size, grain=0.12
        )
        laces = []
        for k in np.linspace(0.25, 0.65, 5):
            at = heel + k * (toe - heel)
            laces.append(np.stack([_along(at, aside, -0.1 * size), _along(at, aside, 0.1 * size)]))
        sheet.lines(laces, sheet.colour(((230, 230, 226), (30, 30, 32))), 0.025 * size)
        leg = _capsule(_along(heel, inwards, -size), heel, 0.6 * size, 0.5 * size)
        sheet.solid(leg, sheet.colour(_CLOTHES), round_px=0.25 * size, grain=0.2)
    sheet.height_px = 0.2 * size


def _person(sheet: Sheet) -> None:
    """Shoulders, a face with hair, eyes and mouth, perhaps a cap, glasses or a beard."""
    rng = sheet.rng
    height, width = sheet.shape
    size = sheet.side * rng.uniform(0.1, 0.24)
    middle = np.array([width * rng.uniform(0.15, 0.85), height * rng.uniform(0.05, 0.45)])
    tilt = float(rng.normal(0, 0.15))
    skin, shirt = sheet.colour(_SKINS), sheet.colour(_CLOTHES)
    down, across = tilt + math.pi / 2, tilt
    chest = _along(middle, down, 3.4 * size)
    torso = _blob(chest, (2.4 * size, 1.9 * size), down, rng, 0.05)
    sheet.solid(torso, shirt, round_px=0.9 * size, grain=0.2)
    for side in (-1, 1):
        shoulder = _along(_along(middle, down, 2.2 * size), across, side * 1.6 * size)
        elbow = _along(
            _along(shoulder, down, 2.2 * size), across, side * rng.uniform(-0.3, 0.9) * size
        )
        arm = skin if rng.random() < 0.3 else shirt
        sheet.solid(
            _capsule(shoulder, elbow, 0.95 * size, 0.75 * size),
            arm,
            round_px=0.4 * size,
            grain=0.15,
        )
        wrist = _along(
            _along(elbow, across, -side * rng.uniform(0.2, 1.6) * size),
            down,
            rng.uniform(-0.8, 0.8) * size,
        )
        sheet.solid(
            _capsule(elbow, wrist, 0.75 * size, 0.5 * size), arm, round_px=0.35 * size, grain=0.12
        )
    neck = _capsule(
        _along(middle, down, 0.6 * size), _along(middle, down, 1.5 * size), 0.8 * size, 0.9 * size
    )
    sheet.solid(neck, skin * 0.85, round_px=0.3 * size)
    hair = sheet.colour(
        ((30, 22, 18), (80, 54, 34), (170, 140, 90), (150, 150, 150), (120, 60, 30))
    )
    sheet.solid(
        _blob(_along(middle, down, -0.15 * size), (1.12 * size, 0.88 * size), down, rng, 0.05),
        hair,
        round_px=0.3 * size,
        grain=0.25,
    )
    sheet.solid(
        _blob(_along(middle, down, 0.1 * size), (0.98 * size, 0.74 * size), down, rng, 0.02),
        skin,
        round_px=0.6 * size,
        grain=0.06,
    )
    for side in (-1, 1):
        eye = _along(middle, across, side * 0.3 * size)
        sheet.solid(_blob(eye, (0.13 * size, 0.07 * size), across, rng, 0), linear((230, 226, 222)))
        sheet.solid(_blob(eye, (0.06 * size, 0.06 * size), across, rng, 0), linear((40, 30, 26)))
        brow = _along(eye, down, -0.16 * size)
        sheet.solid(_blob(brow, (0.18 * size, 0.04 * size), across, rng, 0.05), hair)
    nose = _along(middle, down, 0.3 * size)
    sheet.solid(
        _blob(nose, (0.22 * size, 0.12 * size), down, rng, 0.05), skin * 0.93, round_px=0.12 * size
    )
    if rng.random() < 0.35:
        beard = _blob(_along(middle, down, 0.72 * size), (0.5 * size, 0.6 * size), down, rng, 0.1)
        sheet.solid(beard, hair, round_px=0.3 * size, grain=0.3)
    mouth = _along(middle, down, 0.6 * size)
    sheet.solid(_blob(mouth, (0.28 * size, 0.08 * size), across, rng, 0.1), linear((170, 80, 76)))
    if rng.random() < 0.5:
        teeth = _blob(mouth, (0.2 * size, 0.04 * size), across, rng, 0)
        sheet.solid(teeth, linear((236, 232, 224)))
    if rng.random() < 0.5:
        cap = sheet.colour(_CLOTHES)
        sheet.solid(
            _blob(_along(middle, down, -0.62 * size), (0.9 * size, 0.5 * size), across, rng, 0.03),
            cap,
            round_px=0.4 * size,
        )
        brim = _along(_along(middle, down, -0.34 * size), across, rng.normal(0, 0.3) * size)
        sheet.solid(
            _blob(brim, (0.9 * size, 0.16 * size), across, rng, 0.03),
            cap * 0.8,
            round_px=0.1 * size,
        )
    if rng.random() < 0.3:
        for side in (-1, 1):
            glass = _blob(
                _along(middle, across, side * 0.32 * size),
                (0.26 * size, 0.2 * size),
                across,
                rng,
                0.03,
            )
            sheet.solid(glass, linear((24, 24, 28)), opacity=float(rng.uniform(0.4, 1)))
    sheet.height_px, sheet.gloss = 0.3 * size, 0.15


def _print(sheet: Sheet) -> None:
    """A photograph of something else, printed or on a screen."""
    rng = sheet.rng
    names = photographs.of_kind("thing", "place")
    picture = photographs.crop(names[rng.integers(len(names))], sheet.shape, rng)
    middle, angle = sheet.place()
    length = sheet.side * rng.uniform(0.2, 0.6)
    width = length * rng.uniform(0.5, 1.0)
    sheet.solid(_box(middle, angle, length, width), linear((240, 240, 240)), grain=0)
    sheet.albedo = np.where(sheet.cover[..., None] > 0.5, picture, sheet.albedo)
    sheet.height_px = 1


THINGS: dict[str, Draw] = {
    "bag": _bag,
    "boot": _boot,
    "bottle": _bottle,
    "cable": _cable,
    "card": _card,
    "coin": _coin,
    "edge": _edge,
    "fruit": _fruit,
    "hand": _hand,
    "knife": _knife,
    "label": _label,
    "leaf": _leaf,
    "person": _person,
    "pin": _pin,
    "print": _print,
    "rod": _rod,
    "ruler": _ruler,
    "scrap": _scrap,
    "stone": _stone,
    "tray": _tray,
}
"""Every thing by its name."""
