"""The ticks of a comb: where each is, to a fraction of a pixel, and how long.

The picture is read along the comb, row by row, with the same number of samples from tick to tick.
The phase of the first harmonic around a tick says by how much it is off its place: what Fourier's
transform says of the whole comb (Bhalerao and Reynolds, "Ruler detection for autoscaling forensic
images", IJDCF 6(1), 2014), said of each tick. A camera that looks aslant makes equal steps unequal;
along a line they are then a projective function of the tick's number.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fishseg.measurement.ruler.combs import FEWEST_TICKS, Comb, Floats

LONGEST_PX = 32_766
"""Sides of what OpenCV's remap reads and writes."""

_MOST_SAMPLES, _FEWEST_SAMPLES = 20, 12  # from one tick to the next
_OFF = 0.25  # a tick lies so near its place, in steps
_FAINTEST = 0.3  # contrast of a tick, as a share of the median


@dataclasses.dataclass(frozen=True, kw_only=True)
class Projective:
    """Where tick ``k`` lies along a line: ``(a k + b) / (c k + 1)``, in pixels.

    Attributes:
        a, b, c: of the number less ``middle``, in units of ``half``.
        middle, half: the middle of the numbers that it was fitted to, and half their range.
    """

    a: float
    b: float
    c: float
    middle: float
    half: float

    def at(self, index: Floats) -> Floats:
        """Pixels along the line."""
        k = (np.asarray(index, np.float64) - self.middle) / self.half
        return (self.a * k + self.b) / (self.c * k + 1)

    def step(self, index: NDArray[Any]) -> Floats:
        """Pixels from one tick to the next."""
        k = (np.asarray(index, np.float64) - self.middle) / self.half
        return (self.a - self.b * self.c) / (self.c * k + 1) ** 2 / self.half

    @classmethod
    def fit(cls, index: Floats, place: Floats) -> Projective:
        """A fit to points most of which are good: Cauchy's weights, reweighted."""
        middle = 0.5 * float(index.min() + index.max())
        half = max(0.5 * float(np.ptp(index)), 1.0)
        k = (index - middle) / half
        weight = np.ones_like(k)
        fitted = cls(a=0, b=0, c=0, middle=middle, half=half)
        for _ in range(12):
            columns = np.stack([k, np.ones_like(k), -k * place], axis=1)
            # The slant is small: without ticks enough to tell, there is none.
            prior = np.array([[0, 0, 0.05 * float(np.ptp(place))]])
            a, b, c = np.linalg.lstsq(
                np.concatenate([columns * weight[:, None], prior]),
                np.append(place * weight, 0),
                rcond=None,
            )[0]
            fitted = cls(a=float(a), b=float(b), c=float(c), middle=middle, half=half)
            off = np.abs(fitted.at(index) - place)
            spread = max(1.5 * float(np.median(off)), 1e-3)
            weight = 1 / np.sqrt(1 + (off / (2 * spread)) ** 2)
        return fitted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ticks:
    """Ticks that were seen.

    Attributes:
        index: (N,), their numbers.
        places: (N, 2), pixels of the picture.
        lengths_px: (N,), how far each reaches.
        tips: (N, 2), the end of each.
        steps_px: (N,), the distance from one to the next at each.
        misfit: standard deviation of their places from an even scale, in steps, as far as it
            differs from one to the next.
        seen: share of the ticks between the first and the last that were seen.
        bend: how far the row leaves a straight line, in steps.
        parts: how many marks there are from one to the next; 1 where these are the finest.
    """

    index: NDArray[np.int_]
    places: Floats
    lengths_px: Floats
    tips: Floats
    steps_px: Floats
    misfit: float
    seen: float
    bend: float
    parts: int


def measure_ticks(grey: NDArray[np.uint8], comb: Comb) -> list[Ticks]:
    """The ticks of a comb, read as dark ones and as bright ones; none where there are too few.

    Args:
        grey: (H, W).
        comb: about where they are.
    """
    line = _Line.of(comb)
    along = Projective.fit(comb.index.astype(np.float64), line.along(comb.feet))
    low, high = int(comb.index[0]), int(comb.index[-1])
    for _ in range(3):
        reach = max(4, (high - low) // 3)
        ends = (low - reach, high + reach)
        strip = _Strip.read(grey, line, along, ends, comb.length_px, whole=False)
        if strip is None:
            return []
        index, shift = strip.seen()
        if len(index) < FEWEST_TICKS:
            return []
        along = Projective.fit(index.astype(np.float64), along.at(index + shift))
        before = (low, high)
        low, high = int(index[0]), int(index[-1])
        if before == (low, high):
            break
    strip = _Strip.read(grey, line, along, (low, high), comb.length_px, whole=True)
    if strip is None:
        return []
    inks = (strip, dataclasses.replace(strip, value=-strip.value, phase=strip.phase + 0.5))
    bend = _bend(comb, line)
    banded = [one for ink in inks if (one := ink.banded()) is not None]
    return [ticks for one in banded if (ticks := one.ticks(bend)) is not None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Line:
    """The line that the feet stand on, and the direction of the ticks along it."""

    origin: Floats
    direction: Floats
    slope: tuple[float, float]  # of the ticks' lean along the line: at the origin, and per pixel
    side: float  # to which side of the direction ticks point

    @classmethod
    def of(cls, comb: Comb) -> _Line:
        vx, vy, x, y = cv2.fitLine(
            comb.feet.astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01
        ).ravel()
        direction = np.array([vx, vy], np.float64)
        if direction @ (comb.feet[-1] - comb.feet[0]) < 0:
            direction = -direction
        origin = np.array([x, y], np.float64)
        normal = np.array([-direction[1], direction[0]])
        side = float(np.sign(np.median(comb.across @ normal)))
        lean = (comb.across @ direction) / np.maximum(np.abs(comb.across @ normal), 0.2)
        at = (comb.feet - origin) @ direction
        good = np.abs(lean - np.median(lean)) < 0.1
        slope = 0.0
        if good.sum() >= 20:
            slope = float(np.polyfit(at[good], lean[good], 1)[0])
        start = float(np.median(lean - slope * at))
        return cls(origin=origin, direction=direction, slope=(start, slope), side=side)

    def along(self, points: Floats) -> Floats:
        return np.asarray((points - self.origin) @ self.direction)

    def off(self, points: Floats) -> Floats:
        normal = np.array([-self.direction[1], self.direction[0]])
        return np.asarray((points - self.origin) @ normal)

    def points(self, along: Floats, height: Floats) -> Floats:
        """Places in the picture, ``(..., 2)``, of ticks' points by their height above the line."""
        normal = np.array([-self.direction[1], self.direction[0]]) * self.side
        lean = (self.slope[0] + self.slope[1] * along) * height
        return self.origin + (along + lean)[..., None] * self.direction + height[..., None] * normal


def _bend(comb: Comb, line: _Line) -> float:
    """How far a parabola through the feet leaves the line, in steps."""
    at = line.along(comb.feet)
    half = max(0.5 * float(np.ptp(at)), 1e-9)
    curve = np.polyfit((at - at.mean()) / half, line.off(comb.feet), 2)[0]
    return float(abs(curve) / comb.step_px)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Strip:
    """What the picture shows along the ticks.

    ``value`` is (rows, ticks * samples), more where there is ink; the middle of tick n should be at
    sample ``n * samples + samples // 2``; NaN outside of the picture.
    """

    line: _Line
    along: Projective
    first: int
    samples: int
    heights: Floats
    value: NDArray[np.float32]
    band: slice  # rows of the shortest ticks
    phase: float  # of the ink, in steps

    @classmethod
    def read(
        cls,
        grey: NDArray[np.uint8],
        line: _Line,
        along: Projective,
        ends: tuple[int, int],
        length_px: float,
        *,
        whole: bool,
    ) -> _Strip | None:
        """Read as if ticks were bright, all their height or only that of the shortest."""
        first, last = ends
        numbers = np.arange(first, last + 1)
        # Beyond its vanishing point a line has no ticks, and far from the middle they are too fine.
        steps = along.step(numbers)
        middle = float(along.step(np.array([along.middle]))[0])
        fair = (steps > 0.4 * middle) & (steps < 2.5 * middle) & (middle > 0)
        if fair.sum() < FEWEST_TICKS:
            return None
        first, last = int(numbers[fair][0]), int(numbers[fair][-1])
        samples = int(np.clip(round(middle), _FEWEST_SAMPLES, _MOST_SAMPLES))
        n = last - first + 1
        samples = min(samples, LONGEST_PX // n)
        if samples < _FEWEST_SAMPLES:
            return None
        index = first + (np.arange(n * samples) - samples // 2) / samples
        if whole:
            # The longest ticks of an inch are eight times as long as the shortest.
            reach = max(9 * length_px, 7 * middle)
            heights = np.arange(-0.2 * reach, reach, max(1.0, length_px / 14))
        else:
            heights = np.linspace(0.15, 0.85, 9) * length_px
        points = line.points(along.at(index)[None, :], heights[:, None]).astype(np.float32)
        source = grey
        if middle / samples > 1.5:
            source = np.asarray(cv2.GaussianBlur(grey, (0, 0), 0.4 * middle / samples), np.uint8)
        seen = cv2.remap(
            source, points[..., 0] - 0.5, points[..., 1] - 0.5, cv2.INTER_LINEAR
        ).astype(np.float32)
        x, y = points[..., 0], points[..., 1]
        inside = (x >= 0) & (y >= 0) & (x < grey.shape[1]) & (y < grey.shape[0])
        value = np.where(inside, seen, np.float32(np.nan))
        strip = cls(
            line=line, along=along, first=first, samples=samples, heights=heights,
            value=value, band=slice(0, len(heights)), phase=0.0,
        )  # fmt: skip
        guess = (heights > 0.14 * length_px) & (heights < 0.86 * length_px)
        rows = np.flatnonzero(guess)
        if not len(rows):
            return None
        strip = dataclasses.replace(strip, band=slice(int(rows[0]), int(rows[-1]) + 1))
        return strip._in_phase()

    def _harmonics(self) -> NDArray[np.complex128]:
        """The first harmonic around each tick, within a window of two steps."""
        profile = self._profile()
        s = self.samples
        at = np.arange(-s, s + 1)
        window = 0.5 + 0.5 * np.cos(math.pi * at / s)
        kernel = window * np.exp(-2j * math.pi * at / s) / window.sum()
        padded = np.pad(profile - profile.mean(), s, mode="edge")
        around = np.lib.stride_tricks.sliding_window_view(padded, 2 * s + 1)[s // 2 :: s]
        # The mean of the window leaks into the harmonic where light changes along the ruler.
        level = around @ (window / window.sum())
        return np.asarray((around - level[:, None]) @ kernel)

    def _profile(self) -> Floats:
        """The mean of the band's rows; what is outside of the picture is as all else."""
        profile = self.value[self.band].mean(axis=0, dtype=np.float64)
        inside = np.isfinite(profile)
        typical = float(profile[inside].mean()) if inside.any() else 0.0
        return np.where(inside, profile, typical)

    def _in_phase(self) -> _Strip | None:
        harmonics = self._harmonics()
        total = harmonics.sum()
        if not np.isfinite(total) or abs(total) < 1e-6:
            return None
        return dataclasses.replace(self, phase=-float(np.angle(total)) / (2 * math.pi))

    def _contrast(self) -> Floats:
        """How much more ink there is at each tick than beside it, ``(rows, ticks)``."""
        s = self.samples
        columns = self.value.shape[1]
        centre = np.arange(columns // s) * s + s // 2 + self.phase * s

        def mean(low: float, high: float) -> Floats:
            """Of samples from ``low`` to ``high`` steps off the ticks."""
            places = centre[:, None] + np.linspace(low, high, 5) * s
            left = np.floor(places).astype(int)
            share = (places - left).astype(np.float32)
            out = (left < 0) | (left + 1 >= columns)
            left = left.clip(0, columns - 2)
            taken = self.value[:, left] * (1 - share) + self.value[:, left + 1] * share
            taken[:, out] = np.nan
            return np.asarray(taken.mean(axis=-1), np.float64)

        return mean(-0.08, 0.08) - 0.5 * (mean(-0.5, -0.36) + mean(0.36, 0.5))

    def banded(self) -> _Strip | None:
        """The same with the rows of the shortest ticks: where most ticks have ink."""
        contrast = self._contrast()
        contrast = contrast[:, np.isfinite(contrast[self.band]).all(axis=0)]
        if contrast.shape[1] < FEWEST_TICKS:
            return None
        strength = np.median(contrast[self.band].mean(axis=0))
        strong = contrast[self.band].mean(axis=0) > 0.5 * strength
        if strength <= 0 or strong.sum() < FEWEST_TICKS:
            return None
        common = np.percentile(np.nan_to_num(contrast[:, strong]), 30, axis=1)
        inked = common > 0.4 * strength
        low = high = (self.band.start + self.band.stop) // 2
        if not inked[low]:
            near = np.flatnonzero(inked[self.band])
            if not len(near):
                return None
            low = high = self.band.start + int(near[len(near) // 2])
        while low > 0 and inked[low - 1]:
            low -= 1
        while high + 1 < len(inked) and inked[high + 1]:
            high += 1
        # The ends are blurred.
        trim = (high + 1 - low) // 6
        strip = dataclasses.replace(self, band=slice(low + trim, high + 1 - trim))
        return strip._in_phase()

    def seen(self) -> tuple[NDArray[np.int_], Floats]:
        """The numbers of the ticks that are there, and by how many steps each is off."""
        harmonics = self._harmonics()
        inside = np.isfinite(self.value[self.band].mean(axis=0))
        s = self.samples
        whole = inside[: len(harmonics) * s].reshape(-1, s).all(axis=1)
        shift = -np.angle(harmonics * np.exp(2j * math.pi * self.phase)) / (2 * math.pi)
        contrast = np.abs(harmonics)
        # A light that is mirrored makes ticks faint: they are compared with their neighbours.
        typical = np.median(contrast[whole & (contrast > 0)]) if (contrast > 0).any() else 1.0
        good = whole & (np.abs(shift) < _OFF) & (contrast > _FAINTEST * typical)
        # A lone match beyond the end is no tick.
        together = np.convolve(good, np.ones(7), mode="same") >= 4
        kept = np.flatnonzero(good & together)
        return kept + self.first, self.phase + shift[kept]

    def ticks(self, bend: float) -> Ticks | None:
        index, shift = self.seen()
        if len(index) < FEWEST_TICKS:
            return None
        numbers = index.astype(np.float64)
        steps = self.along.step(numbers)
        bottom, top = self._reach(index - self.first)
        height = float(self.heights[self.band].mean())
        at = self.along.at(numbers + shift)
        # Ticks stand on a line, their tips do not.
        ragged = [float(np.mean(np.abs(end - np.median(end)))) for end in (bottom, top)]
        tip = top if ragged[1] >= ragged[0] else bottom
        span = index[-1] - index[0] + 1
        return Ticks(
            index=index,
            places=self.line.points(at, np.full(len(index), height)),
            lengths_px=top - bottom,
            tips=self.line.points(at, tip),
            steps_px=steps,
            # From neighbour to neighbour: a lens bends the scale smoothly.
            misfit=float(np.std(np.diff(shift)) / math.sqrt(2)),
            seen=float(len(index) / span),
            bend=bend,
            parts=self._parts(index - self.first),
        )

    def _reach(self, columns: NDArray[np.int_]) -> tuple[Floats, Floats]:
        """The heights at which the ink of each tick begins and ends."""
        contrast = np.nan_to_num(self._contrast()[:, columns])
        rise = float(self.heights[1] - self.heights[0])
        blur = max(0.3, 0.12 * float(np.median(self.along.step(columns + self.first))) / rise)
        contrast = cv2.GaussianBlur(contrast, (1, 0), sigmaX=0.01, sigmaY=blur)
        level = contrast[self.band].mean(axis=0)
        inked = contrast > 0.5 * np.maximum(level, 1e-6)
        middle = (self.band.start + self.band.stop) // 2
        top = np.argmin(np.vstack([inked[middle:], np.zeros((1, len(columns)), bool)]), axis=0)
        down = np.vstack([inked[:middle][::-1], np.zeros((1, len(columns)), bool)])
        bottom = np.argmin(down, axis=0)
        return self.heights[middle] - rise * bottom, self.heights[middle] + rise * top

    def _parts(self, columns: NDArray[np.int_]) -> int:
        """How many equal parts finer ticks cut each step into."""
        main = float(np.median(np.nan_to_num(self._contrast()[self.band].mean(axis=0))[columns]))
        s = self.samples
        profile = self._profile()
        folded = np.median(profile[: len(profile) // s * s].reshape(-1, s)[columns], axis=0)
        folded = np.roll(folded, -round(self.phase * s) - s // 2)
        fine = np.interp(np.arange(0, s, s / 120), np.arange(s + 1), np.append(folded, folded[0]))
        best = 1
        for parts in (2, 3, 4, 5, 6, 7, 8, 10):
            places = np.arange(parts) * 120 // parts
            ticks = fine[places[1:]]
            gaps = fine[(places + 60 // parts) % 120]
            if parts <= s // 3 and ticks.min() - gaps.max() > 0.3 * main:
                best = parts
        return best
