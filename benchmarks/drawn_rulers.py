"""Drawn photographs of rulers of a known scale, and of things that are ticked but no ruler.

A ruler is drawn flat, in millimetres, and then seen by a pinhole camera at a slant of up to 15
degrees: where a millimetre of it lies in the picture is known exactly. What lies on the same
grounds and is no ruler (`DECOYS`) asks for the answer "no ruler".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from fishseg.datasets.sample.anywhere.grounds import lay_ground
from fishseg.datasets.sample.anywhere.scenes import SCENES

Picture: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]

INCH_MM = 25.4
# Spacing of the finest ticks in millimetres, and the rank of tick k: 0 is the longest.
SCALES: dict[str, tuple[float, Callable[[int], int]]] = {
    "mm": (1.0, lambda k: 0 if k % 10 == 0 else 1 if k % 5 == 0 else 2),
    "half mm": (0.5, lambda k: 0 if k % 20 == 0 else 1 if k % 10 == 0 else 2 if k % 2 == 0 else 3),
    "inch/16": (INCH_MM / 16, lambda k: 4 - _twos(k, 4)),
    # As on many rulers, where the half of an inch is marked like the whole.
    "inch/16, halves": (INCH_MM / 16, lambda k: 3 - _twos(k, 3)),
    "inch/32": (INCH_MM / 32, lambda k: 5 - _twos(k, 5)),
}
# Paper and ink.
MATERIALS = {
    "white": ((244, 244, 240), (20, 20, 24)),
    "steel": ((176, 180, 182), (40, 42, 46)),
    "wood": ((214, 176, 120), (50, 34, 20)),
    "yellow": ((240, 206, 60), (24, 22, 20)),
    "black": ((26, 26, 28), (232, 232, 228)),
}
GROUNDS = ("steel", "white_plastic", "blue_plastic", "wood", "concrete", "cloth", "paper", "white",
           "black", "grey", "tiles", "coloured_plastic")  # fmt: skip
_FINE = 2  # the flat drawing and the picture are made so many times as fine


def _twos(k: int, most: int) -> int:
    """How often two divides a number."""
    return most if k % 2**most == 0 else next(n for n in range(most) if k % 2 ** (n + 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ruler:
    """What a ruler looks like; lengths in millimetres.

    Attributes:
        edges: the scale along the lower and the upper edge; None leaves an edge without ticks.
        length_mm, width_mm: of the whole thing.
        tick_mm: length of the shortest ticks.
        growth: how much longer each rank of ticks is than the one below.
        stroke_mm: how thick ticks are.
        margin_mm: between the edge and the ticks.
        material: one of `MATERIALS`.
        numbered: whether numbers stand at the longest ticks.
        lined: whether a line joins the feet of the ticks.
    """

    edges: tuple[str, str | None]
    length_mm: float = 150
    width_mm: float = 26
    tick_mm: float = 3
    growth: float = 1.4
    stroke_mm: float = 0.2
    margin_mm: float = 0
    material: str = "white"
    numbered: bool = True
    lined: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """A picture with a ruler in it.

    Attributes:
        picture: (H, W, 3) uint8 RGB.
        to_picture: (3, 3), from millimetres along and across the ruler to pixels.
        ruler: the ruler.
    """

    picture: Picture
    to_picture: Floats
    ruler: Ruler

    def mm_per_px_at(self, point: Floats, along: Floats) -> float:
        """The true scale at a place of the picture, in a direction ``(x, y)`` along the ruler."""
        ends = np.stack([point - along / 2, point + along / 2])[None].astype(np.float64)
        start, end = cv2.perspectiveTransform(ends, np.linalg.inv(self.to_picture))[0]
        return float(np.hypot(*(end - start)) / np.hypot(*along))


def draw_ruler(
    ruler: Ruler,
    rng: np.random.Generator,
    *,
    size: tuple[int, int] = (900, 1400),
    px_per_mm: float = 8,
    degrees: float = 0,
    slant_degrees: float = 0,
    centre: tuple[float, float] = (0.5, 0.5),
    hidden: float = 0,
    blur_px: float = 0.6,
    noise: float = 3,
    glare: float = 0,
    quality: int = 90,
    ground: str = "grey",
) -> Drawing:
    """A photograph of a ruler.

    Args:
        ruler: what it looks like.
        rng: draws the rest.
        size: height and width of the picture.
        px_per_mm: scale at the ruler's middle, before the slant.
        degrees: how far the ruler is turned.
        slant_degrees: by how much the camera looks aslant, about an axis that is drawn.
        centre: of the ruler, as shares of width and height.
        hidden: share of the ruler's length that something lies on.
        blur_px: standard deviation of the blur.
        noise: standard deviation of the noise, in grey levels.
        quality: of the JPEG.
        glare: how strong a light is mirrored on it, 0 to 1.
        ground: a surface of `fishseg.datasets.sample.anywhere.scenes`.
    """
    flat, cover = _flat(ruler, px_per_mm, hidden, rng)
    place = _camera(
        ruler,
        rng=rng,
        size=size,
        px_per_mm=px_per_mm,
        degrees=degrees,
        slant_degrees=slant_degrees,
        centre=centre,
    )
    picture = _ground(ground, size, rng)
    fine = (size[1] * _FINE, size[0] * _FINE)
    unit = np.diag([1 / (px_per_mm * _FINE), 1 / (px_per_mm * _FINE), 1])
    # A pixel's centre is at half its width in the flat drawing and in the picture.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    to_fine = np.linalg.inv(half) @ np.diag([_FINE, _FINE, 1]) @ place @ unit @ half
    warped, alpha = (
        cv2.resize(
            cv2.warpPerspective(layer, to_fine, fine, flags=cv2.INTER_LINEAR),
            size[::-1],
            interpolation=cv2.INTER_AREA,
        ).astype(np.float32)
        for layer in (flat, cover)
    )
    alpha = alpha[..., None] / 255
    shadow = cv2.GaussianBlur(alpha, (0, 0), 2 + 0.01 * size[1])[..., None]
    picture = picture * (1 - 0.3 * shadow) * (1 - alpha) + warped * alpha
    return Drawing(
        picture=_photographed(
            picture,
            rng,
            blur_px=blur_px,
            noise=noise,
            glare=glare,
            quality=quality,
            alpha=alpha[..., 0],
        ),
        to_picture=place,
        ruler=ruler,
    )


def _camera(
    ruler: Ruler,
    *,
    rng: np.random.Generator,
    size: tuple[int, int],
    px_per_mm: float,
    degrees: float,
    slant_degrees: float,
    centre: tuple[float, float],
) -> Floats:
    """From millimetres of the ruler, its corner is 0, to pixels."""
    height, width = size
    focal = 1.3 * width
    turn = math.radians(degrees)
    cos, sin = math.cos(turn), math.sin(turn)
    middle = np.array(centre) * (width, height) - (width / 2, height / 2)
    # On the table, in pixels at the picture's middle.
    lie = np.array([[cos, -sin, middle[0]], [sin, cos, middle[1]], [0, 0, 1]])
    lie = lie @ np.diag([px_per_mm, px_per_mm, 1])
    lie = lie @ np.array([[1, 0, -ruler.length_mm / 2], [0, 1, -ruler.width_mm / 2], [0, 0, 1]])
    about = rng.uniform(0, 2 * math.pi)
    axis = np.array([math.cos(about), math.sin(about), 0.0]) * math.radians(slant_degrees)
    rotation = cv2.Rodrigues(axis)[0]
    seen = np.column_stack([rotation[:, 0], rotation[:, 1], (0, 0, focal)])
    lens = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return np.asarray(lens @ seen @ lie, np.float64)


def _flat(
    ruler: Ruler, px_per_mm: float, hidden: float, rng: np.random.Generator
) -> tuple[Picture, Picture]:
    """The ruler as a flat drawing, and what it covers."""
    unit = px_per_mm * _FINE
    shape = (round(ruler.width_mm * unit), round(ruler.length_mm * unit))
    paper, ink = MATERIALS[ruler.material]
    flat = np.empty((*shape, 3), np.uint8)
    flat[:] = paper
    if ruler.material in ("steel", "wood"):
        _streak(flat, rng)
    for upper, scale in zip((False, True), ruler.edges, strict=True):
        if scale is not None:
            _draw_scale(flat, ruler, scale, unit, ink, upper=upper)
    if hidden:
        start = rng.uniform(0, 1 - hidden) * shape[1]
        box = ((start + hidden * shape[1] / 2, shape[0] / 2),
               (hidden * shape[1], 1.3 * shape[0]), rng.uniform(-8, 8))  # fmt: skip
        skin = tuple(int(value) for value in rng.integers(40, 220, 3))
        cv2.fillPoly(flat, [np.round(cv2.boxPoints(box)).astype(np.int32)], skin, cv2.LINE_AA)
    return flat, np.full(shape, 255, np.uint8)


def _draw_scale(
    flat: Picture,
    ruler: Ruler,
    scale: str,
    unit: float,
    ink: tuple[int, int, int],
    *,
    upper: bool,
) -> None:
    step, rank = SCALES[scale]
    lowest = max(rank(k) for k in range(1, 33))
    feet = [k * step for k in range(int((ruler.length_mm - 6) / step) + 1)]
    edge, inwards = (ruler.width_mm, -1) if upper else (0.0, 1)
    foot = edge + inwards * ruler.margin_mm
    stroke = min(ruler.stroke_mm, 0.45 * step)
    for k, along in enumerate(feet):
        length = ruler.tick_mm * ruler.growth ** (lowest - rank(k))
        tip = (3 + along, foot + inwards * length)
        _fill(flat, (3 + along, foot), tip, stroke_px=stroke * unit, unit=unit, ink=ink)
        if ruler.numbered and rank(k) == 0:
            number = sum(rank(i) == 0 for i in range(k))
            text, font = str(number), cv2.FONT_HERSHEY_SIMPLEX
            size = 0.1 * ruler.width_mm * unit / 21
            (w, h), _ = cv2.getTextSize(text, font, size, 1)
            x = (3 + along) * unit - w / 2
            y = (foot + inwards * (length + 1)) * unit + (0 if upper else h)
            thick = max(1, round(0.25 * unit))
            cv2.putText(flat, text, (round(x), round(y)), font, size, ink, thick, cv2.LINE_AA)
    if ruler.lined:
        end = (3 + feet[-1], foot)
        _fill(flat, (3, foot), end, stroke_px=stroke * unit, unit=unit, ink=ink)


def _fill(
    flat: Picture,
    start: tuple[float, float],
    end: tuple[float, float],
    *,
    stroke_px: float,
    unit: float,
    ink: tuple[int, int, int],
) -> None:
    """A straight stroke of a width that need not be a whole number of pixels."""
    a, b = np.array(start) * unit, np.array(end) * unit
    along = (b - a) / max(np.hypot(*(b - a)), 1e-9)
    across = np.array([-along[1], along[0]]) * stroke_px / 2
    corners = np.stack([a + across, b + across, b - across, a - across]) - 0.5
    cv2.fillPoly(flat, [np.round(corners * 16).astype(np.int32)], ink, cv2.LINE_AA, 4)


def _streak(flat: Picture, rng: np.random.Generator) -> None:
    """Light and dark streaks along the ruler, as steel and wood have them."""
    shape = flat.shape[:2]
    streaks = rng.normal(0, 8, (shape[0], max(2, shape[1] // 60))).astype(np.float32)
    streaks = cv2.GaussianBlur(streaks, (0, 0), 1.5)
    streaks = cv2.resize(streaks, shape[::-1], interpolation=cv2.INTER_LINEAR)
    cv2.add(flat, cv2.merge([streaks] * 3), flat, dtype=cv2.CV_8U)


def _ground(name: str, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """A surface as a camera shows it, ``(H, W, 3)``, 0 to 255."""
    # Drawn small, since drawing it takes long, and enlarged.
    shrink = max(1.0, max(size) / 900)
    small = (round(size[0] / shrink), round(size[1] / shrink))
    albedo = lay_ground(SCENES.surfaces[name], small, rng).albedo
    tone = albedo ** np.float32(1 / 2.2) * np.float32(235)
    return np.asarray(cv2.resize(tone, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _photographed(
    picture: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    blur_px: float,
    noise: float,
    quality: int,
    glare: float = 0,
    alpha: NDArray[np.float32] | None = None,
) -> Picture:
    """Uneven light, glare, blur, noise and JPEG."""
    height, width = picture.shape[:2]
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)
    a, b = rng.uniform(-0.2, 0.2, 2)
    light = 1 + np.float32(a) * (x / width - 0.5) + np.float32(b) * (y / height - 0.5)
    light *= np.float32(rng.uniform(0.75, 1.0))
    picture = cv2.multiply(picture, cv2.merge([light] * 3))
    if glare and alpha is not None:
        rows, columns = np.nonzero(alpha[::8, ::8] > 0.5)
        pick = int(rng.integers(len(rows)))
        at = (float(8 * columns[pick]), float(8 * rows[pick]))
        radius = rng.uniform(0.03, 0.1) * width
        spot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / np.float32(2 * radius**2))
        picture = cv2.add(picture, cv2.merge([np.float32(255 * glare) * spot] * 3))
    picture = np.minimum(picture, 255)
    if blur_px:
        picture = cv2.GaussianBlur(picture, (0, 0), blur_px)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    grains = cv2.randn(np.empty(picture.shape, np.int16), (0, 0, 0), (noise,) * 3)
    stored = cv2.convertScaleAbs(np.maximum(cv2.add(picture, grains, dtype=cv2.CV_32F), 0))
    stored = cv2.cvtColor(stored, cv2.COLOR_RGB2BGR)
    code = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded: Picture = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))[..., ::-1]
    return np.ascontiguousarray(decoded)


def any_ruler(rng: np.random.Generator) -> Drawing:
    """A photograph of any of the rulers that are made, taken well or badly."""
    scale = str(rng.choice(["mm", "half mm", "inch/16", "inch/32"], p=[0.55, 0.15, 0.25, 0.05]))
    beside = [scale, "mm", "half mm"]
    if not scale.startswith("inch"):
        beside += ["inch/16", "inch/16, halves"]
    other = str(rng.choice(beside))
    small = min(SCALES[name][0] for name in (scale, other))
    size = [(800, 1200), (1200, 900), (1000, 1000), (1200, 1800)][rng.integers(4)]
    # The finest ticks stand at least six pixels apart.
    # Of inches two long ticks must be seen, of centimetres too.
    least, most = 6 / small, max(size) / (120 if scale.startswith("inch") else 65)
    px_per_mm = math.exp(rng.uniform(math.log(min(least, most)), math.log(most)))
    growth = rng.uniform(1.25, 1.5) if scale.startswith("inch") else rng.uniform(1.25, 1.6)
    ruler = Ruler(
        edges=(scale, other if rng.random() < 0.4 else None),
        # What lies far beyond the picture need not be drawn.
        length_mm=float(min(rng.choice([100, 150, 200, 310]), 2.5 * max(size) / px_per_mm)),
        width_mm=float(rng.uniform(25, 42)),
        tick_mm=float(rng.uniform(1.8, 3.2)),
        growth=float(growth),
        stroke_mm=float(rng.uniform(0.12, 0.28)),
        margin_mm=float(rng.choice([0.0, 0.0, rng.uniform(0.3, 2.0)])),
        material=str(rng.choice(list(MATERIALS), p=[0.4, 0.25, 0.1, 0.15, 0.1])),
        numbered=bool(rng.random() < 0.85),
        lined=bool(rng.random() < 0.15),
    )
    level = rng.random() < 0.5
    degrees = (
        float(rng.choice([0, 90, 180, 270]) + rng.normal(0, 3)) if level else rng.uniform(0, 360)
    )
    cut = rng.random() < 0.15
    centre = (0.5, 0.93) if cut else tuple(rng.uniform(0.4, 0.6, 2))
    return draw_ruler(
        ruler,
        rng,
        size=size,
        px_per_mm=px_per_mm,
        degrees=0.0 if cut else float(degrees),
        slant_degrees=float(rng.uniform(0, 15)) if rng.random() < 0.6 else 0.0,
        centre=(float(centre[0]), float(centre[1])),
        hidden=float(rng.uniform(0.15, 0.5)) if rng.random() < 0.3 else 0,
        blur_px=float(rng.uniform(0.3, max(0.5, 0.13 * px_per_mm * small))),
        noise=float(rng.uniform(1, 10)),
        glare=float(rng.uniform(0.2, 1)) if rng.random() < 0.3 else 0,
        quality=int(rng.integers(60, 96)),
        ground=str(rng.choice(GROUNDS)),
    )


# What is ticked and is no ruler


def any_decoy(kind: str, rng: np.random.Generator) -> Picture:
    """A photograph of one of `DECOYS`, turned and taken as rulers are."""
    size = [(800, 1200), (1200, 900), (600, 800)][rng.integers(3)]
    flat = DECOYS[kind]((round(0.7 * max(size)), round(1.1 * max(size))), rng)
    turn = cv2.getRotationMatrix2D(
        (flat.shape[1] / 2, flat.shape[0] / 2), float(rng.uniform(0, 360)), rng.uniform(0.5, 1)
    )
    turn[:, 2] += np.array(size[::-1]) / 2 - np.array(flat.shape[1::-1]) / 2
    warped = cv2.warpAffine(flat, turn, size[::-1], flags=cv2.INTER_AREA)
    cover = np.full(flat.shape[:2], 255, np.uint8)
    alpha = cv2.warpAffine(cover, turn, size[::-1]).astype(np.float32)[..., None] / 255
    picture = _ground(str(rng.choice(GROUNDS)), size, rng) * (1 - alpha) + warped * alpha
    blur_px, noise = rng.uniform(0.4, 1.2), rng.uniform(1, 8)
    return _photographed(picture, rng, blur_px=blur_px, noise=noise, quality=85)


def _paper(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    flat = np.empty((*shape, 3), np.uint8)
    flat[:] = tuple(int(v) for v in rng.integers(200, 250, 3))
    return flat


def _bars(flat: Picture, xs: Floats, widths: Floats, heights: Floats, ink: int = 30) -> Picture:
    """Upright bars from the upper border down."""
    for x, width, height in zip(xs, widths, heights, strict=True):
        corner = (round(x + width), round(height))
        cv2.rectangle(flat, (round(x), 0), corner, (ink,) * 3, -1)
    return flat


def _checkerboard(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    square = int(rng.integers(10, 70))
    y, x = np.indices(shape) // square
    return np.repeat((30 + 200 * ((x + y) % 2)).astype(np.uint8)[..., None], 3, axis=2)


def _stripes(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    step = rng.uniform(6, 40)
    wave = np.sin(2 * np.pi * np.arange(shape[1]) / step) > rng.uniform(-0.6, 0.8)
    rows = np.tile(np.where(wave, 40, 220).astype(np.uint8), (shape[0], 1))
    return np.repeat(rows[..., None], 3, axis=2)


def _net(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    flat, step = _paper(shape, rng), float(rng.uniform(12, 50))
    for k in range(-shape[0], shape[1] + shape[0], round(step)):
        for reach in (shape[0], -shape[0]):
            cv2.line(flat, (k, 0), (k + reach, shape[0]), (60, 80, 70), 2, cv2.LINE_AA)
    return flat


def _fish_scales(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    flat, step = _paper(shape, rng), float(rng.uniform(14, 40))
    for row, y in enumerate(np.arange(0, shape[0], 0.5 * step)):
        for x in np.arange(0.5 * step * (row % 2), shape[1], step):
            cv2.ellipse(flat, (round(x), round(y)), (round(0.55 * step),) * 2, 90, -80, 80,
                        (70, 80, 84), 2, cv2.LINE_AA)  # fmt: skip
    return flat


def _fence(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Posts, every so many of them higher, but not as on a scale."""
    step, every = rng.uniform(10, 40), int(rng.choice([3, 4, 6, 7, 9]))
    xs = np.arange(0, shape[1], step)
    heights = np.where(np.arange(len(xs)) % every == 0, 0.6, 0.4) * shape[0]
    return _bars(_paper(shape, rng), xs, np.full(len(xs), step * rng.uniform(0.2, 0.5)), heights)


def _even_comb(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Marks of one length, as a comb or the centimetres of a tape without finer ones."""
    step = rng.uniform(8, 40)
    xs = np.arange(0, shape[1], step)
    heights = np.full(len(xs), rng.uniform(0.8, 4) * step)
    return _bars(_paper(shape, rng), xs, np.full(len(xs), step * rng.uniform(0.15, 0.4)), heights)


def _ragged_comb(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Marks at even distances whose lengths follow no pattern, as grass or a fringe."""
    step = rng.uniform(8, 30)
    xs = np.arange(0, shape[1], step)
    heights = step * rng.uniform(1, 5, len(xs))
    return _bars(_paper(shape, rng), xs, np.full(len(xs), 0.25 * step), heights)


def _barcode(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    module = rng.uniform(3, 9)
    edges = np.cumsum(module * rng.integers(1, 5, 200))
    edges = edges[edges < shape[1] - 40]
    xs, ends = edges[:-1:2], edges[1::2]
    n = min(len(xs), len(ends))
    heights = np.where(np.arange(n) % 12 == 0, 0.5, 0.45) * shape[0]
    return _bars(_paper(shape, rng), xs[:n], ends[:n] - xs[:n], heights)


def _colour_card(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    flat, size = np.full((*shape, 3), 20, np.uint8), int(rng.integers(30, 90))
    for y in range(8, shape[0] - size, size + 8):
        for x in range(8, shape[1] - size, size + 8):
            colour = tuple(int(v) for v in rng.integers(20, 250, 3))
            cv2.rectangle(flat, (x, y), (x + size, y + size), colour, -1)
    return flat


def _ruled_paper(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    flat, step = _paper(shape, rng), float(rng.uniform(12, 40))
    for k, y in enumerate(np.arange(step, shape[0], step)):
        thick = 2 if k % 5 == 0 and rng.random() < 0.5 else 1
        cv2.line(flat, (0, round(y)), (shape[1], round(y)), (120, 150, 200), thick, cv2.LINE_AA)
    cv2.line(flat, (90, 0), (90, shape[0]), (200, 80, 80), 1, cv2.LINE_AA)
    return flat


def _squared_paper(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    flat, step = _paper(shape, rng), float(rng.uniform(8, 25))
    for axis in (0, 1):
        for k, at in enumerate(np.arange(0, shape[axis], step)):
            start = (0, round(at)) if axis == 0 else (round(at), 0)
            end = (shape[1], round(at)) if axis == 0 else (round(at), shape[0])
            cv2.line(flat, start, end, (150, 180, 210), 2 if k % 10 == 0 else 1, cv2.LINE_AA)
    return flat


def _curved_tape(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    """A measuring tape in a bow: its ticks are true, but no line holds them."""
    flat = _paper(shape, rng)
    radius, step = rng.uniform(0.5, 1.2) * shape[0], rng.uniform(7, 16)
    centre = np.array([shape[1] / 2, radius + 0.15 * shape[0]])
    for k in range(-80, 81):
        turn = k * step / radius
        if abs(turn) > 1.3:
            continue
        out = np.array([math.sin(turn), -math.cos(turn)])
        length = step * (7 if k % 10 == 0 else 5 if k % 5 == 0 else 3)
        a, b = centre + radius * out, centre + (radius - length) * out
        ends = [np.round(np.stack([a, b]) * 16).astype(np.int32)]
        cv2.polylines(flat, ends, False, (20, 20, 24), max(1, round(step / 5)), cv2.LINE_AA, 4)
    return flat


def _dial(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Minutes all round the face of a clock."""
    flat, radius = _paper(shape, rng), 0.45 * min(shape)
    centre = np.array(shape[::-1]) / 2
    for k in range(60):
        turn = 2 * math.pi * k / 60
        out = np.array([math.cos(turn), math.sin(turn)])
        ends = np.stack([centre + radius * out, centre + (0.8 if k % 5 else 0.7) * radius * out])
        cv2.polylines(flat, [np.round(ends).astype(np.int32)], False, (20, 20, 24), 3, cv2.LINE_AA)
    return flat


DECOYS: dict[str, Callable[[tuple[int, int], np.random.Generator], Picture]] = {
    "checkerboard": _checkerboard,
    "stripes": _stripes,
    "net": _net,
    "fish scales": _fish_scales,
    "fence": _fence,
    "even comb": _even_comb,
    "ragged comb": _ragged_comb,
    "barcode": _barcode,
    "colour card": _colour_card,
    "ruled paper": _ruled_paper,
    "squared paper": _squared_paper,
    "curved tape": _curved_tape,
    "dial": _dial,
}
