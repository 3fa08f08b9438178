"""What fish and shrimps have in common: a trunk, parts that stick out of it, and a painted skin.

Everything here is in body coordinates ``(s, t)``, see `fishseg.datasets.sample.pose`.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from fishseg.datasets.sample.noise import Field, blur, fractal_noise, smooth_noise
from fishseg.datasets.sample.pose import Points

TEXELS_PER_LENGTH = 900
"""Resolution of a skin in a photograph of the market; sizes of textures are given at this one."""

_SHIFT = 6  # cv2 takes fixed-point coordinates with this many fractional bits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trunk:
    """Outline of the body without fins: half-depths at ``s``, all ``(N,)``, ``s`` rising."""

    s: Points
    dorsal: Points
    ventral: Points

    def outline(self) -> Points:
        """The closed outline, ``(2N, 2)``: along the back to the tail, and back by the belly."""
        upper = np.stack([self.s, -self.dorsal], axis=1)
        lower = np.stack([self.s, self.ventral], axis=1)
        return np.concatenate([upper, lower[::-1]])

    def edge(self, s: Points, height: float) -> Points:
        """``t`` at a relative height: -1 on the back's outline, 0 the axis, 1 the belly's."""
        half_depth = self.dorsal if height < 0 else self.ventral
        return height * np.interp(s, self.s, half_depth)

    @property
    def depth(self) -> float:
        """Greatest depth, in units of the length."""
        return float(np.max(self.dorsal + self.ventral))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A flat piece beside the trunk: a fin or a leg.

    Args:
        outline: its closed outline, ``(N, 2)``.
        rays: lines to draw on it, ``(K, 2, 2)``: start and end of each.
        over_body: it lies on the trunk, not behind it.
    """

    outline: Points
    rays: Points
    over_body: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Anatomy:
    """One individual.

    ``threads`` are antennae, ``(N, 2)`` each: seen in the photograph, but too thin for the mask.
    """

    trunk: Trunk
    parts: tuple[Part, ...]
    threads: tuple[Points, ...] = ()

    def outlines(self) -> list[Points]:
        """All that belongs to the mask: the union of these is the animal."""
        return [self.trunk.outline(), *(part.outline for part in self.parts)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """The raster that a straightened animal is painted on."""

    s_range: tuple[float, float]
    t_range: tuple[float, float]
    texels_per_length: int = TEXELS_PER_LENGTH

    @classmethod
    def of(cls, anatomy: Anatomy, texels_per_length: int = TEXELS_PER_LENGTH) -> Chart:
        """The smallest chart that holds an animal with a margin."""
        points = np.concatenate([*anatomy.outlines(), *anatomy.threads])
        low, high = points.min(axis=0) - 0.02, points.max(axis=0) + 0.02
        return cls(
            s_range=(float(low[0]), float(high[0])),
            t_range=(float(low[1]), float(high[1])),
            texels_per_length=texels_per_length,
        )

    @property
    def scale(self) -> float:
        """Texels for one at `TEXELS_PER_LENGTH`."""
        return self.texels_per_length / TEXELS_PER_LENGTH

    def noise(self, rng: np.random.Generator, cell: tuple[float, float]) -> Field:
        """`smooth_noise` over cells of so many texels (y, x) at `TEXELS_PER_LENGTH`."""
        return smooth_noise(
            rng, self.shape, (max(cell[0] * self.scale, 1.0), max(cell[1] * self.scale, 1.0))
        )

    def clouds(
        self,
        rng: np.random.Generator,
        cell: float,
        *,
        octaves: int = 4,
        persistence: float = 0.55,
    ) -> Field:
        """`fractal_noise` over cells of so many texels at `TEXELS_PER_LENGTH`."""
        return fractal_noise(
            rng,
            self.shape,
            max(cell * self.scale, 1.0),
            octaves=octaves,
            persistence=persistence,
        )

    def blur(self, field: Field, sigma: float) -> Field:
        """`blur` by so many texels at `TEXELS_PER_LENGTH`."""
        return blur(field, sigma * self.scale)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in texels."""
        spans = (self.t_range[1] - self.t_range[0], self.s_range[1] - self.s_range[0])
        return (round(spans[0] * self.texels_per_length), round(spans[1] * self.texels_per_length))

    def grid(self) -> tuple[Field, Field]:
        """``s`` and ``t`` of every texel's centre, both ``(H, W)``."""
        height, width = self.shape
        s = (np.arange(width, dtype=np.float32) + 0.5) / self.texels_per_length + self.s_range[0]
        t = (np.arange(height, dtype=np.float32) + 0.5) / self.texels_per_length + self.t_range[0]
        full_s, full_t = np.meshgrid(s.astype(np.float32), t.astype(np.float32))
        return full_s, full_t

    def texels(self, points: Points) -> Points:
        """Texel coordinates (whole numbers at centres) of body coordinates, both ``(..., 2)``."""
        origin = np.array([self.s_range[0], self.t_range[0]])
        return np.asarray((points - origin) * self.texels_per_length - 0.5)

    def filled(self, outline: Points, *, grown: float = 0.0) -> Field:
        """Coverage 0..1 of a closed outline, grown by a share of the length, ``(H, W)``."""
        canvas = np.zeros(self.shape, np.uint8)
        corners = [_fixed_point(self.texels(outline))]
        cv2.fillPoly(canvas, corners, 255, cv2.LINE_AA, _SHIFT)
        if grown:
            thickness = max(1, round(2 * grown * self.texels_per_length))
            cv2.polylines(canvas, corners, True, 255, thickness, cv2.LINE_AA, _SHIFT)
        return canvas.astype(np.float32) / np.float32(255)

    def drawn(self, lines: list[Points], *, width: float) -> Field:
        """Coverage 0..1 of open lines of one width (a share of the length), ``(H, W)``."""
        canvas = np.zeros(self.shape, np.uint8)
        thickness = max(1, round(width * self.texels_per_length))
        paths = [_fixed_point(self.texels(line)) for line in lines]
        cv2.polylines(canvas, paths, False, 255, thickness, cv2.LINE_AA, _SHIFT)
        return canvas.astype(np.float32) / np.float32(255)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Skin:
    """What a straightened animal is made of, on a `Chart`.

    Args:
        albedo: linear reflectance, ``(H, W, 3)``.
        relief: height over the board in units of the length, ``(H, W)``.
        gloss: strength of highlights, ``(H, W)``.
        opacity: 0 where the board shines through, ``(H, W)``.
    """

    albedo: Field
    relief: Field
    gloss: Field
    opacity: Field


def ribbon(path: Points, width: float, *, taper: float) -> Points:
    """A closed outline along a line; its width falls to ``taper`` of itself at the end."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    half = width / 2 * np.linspace(1, taper, len(path))[:, None]
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) * half
    return np.concatenate([path + normal, (path - normal)[::-1]])


def bezier(start: Points, control: Points, end: Points, count: int = 16) -> Points:
    """``count`` points of a quadratic Bézier curve."""
    u = np.linspace(0, 1, count)[:, None]
    return np.asarray((1 - u) ** 2 * start + 2 * u * (1 - u) * control + u**2 * end)


def _fixed_point(points: Points) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return np.asarray(np.round(points * 2**_SHIFT), np.int32)
