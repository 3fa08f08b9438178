"""How large a fish is: area, length along the curved body, width, and where it lies.

The length is measured along the body axis, the line that runs through the middle of the body from
the snout to the end of the tail fin, not across the bounding box: a bent fish is as long as the
same fish stretched out. It reaches to the farther lobe of a forked tail (total length).

How the axis is found:

1. Opening the mask with a disc takes off what is thin: spines, antennae, legs. What stays is the
   core.
2. The longest of all shortest paths within the core (its geodesic diameter; Lantuejoul and
   Maisonneuve, "Geodesic methods in quantitative image analysis", Pattern Recognition 17(2), 1984)
   gives a first line, however much the body bends.
3. The axis is a curve whose direction is a cubic polynomial of the way along it: an arc that may
   bend more at one end. Gauss-Newton steps move it to the middle between the core's two sides,
   with Tukey's weights against sides that a fin pushes out.
4. The axis ends where the mask ends. A thin part counts if it begins at an end of the core, as
   the lobes of a tail or a rostrum do; a leg that merely reaches past the head does not.

Coordinates are ``(x, y)`` in pixels from the image's top left corner, ``y`` downwards. A pixel is
an area: that in the corner covers 0 to 1.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from fishseg.images.resizing import resize_mask

if TYPE_CHECKING:
    from collections.abc import Iterator

Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]

# The axis of a larger fish is measured on a reduced mask: half a pixel of this is 0.1%.
LONGEST_SIDE_PX = 640
# Radius of the opening, as a share of the largest inscribed circle's: half a prawn's leg is 0.15
# of that, half the stalk of a fish's tail 0.3.
OPENING_SHARE = 0.2
# Thin parts that begin within so many of those radii of an end of the core belong to that end.
END_SHARE = 0.5

_STATIONS = 49  # points of the axis
_SLICES = 80  # places along it where the core's two sides are compared
_SLICE_PX = 3.0  # at least, so that each holds pixels of both sides
_STEPS = 6  # of Gauss-Newton, more than enough
_GEODESIC_SIDE_PX = 80  # the first line may be coarse
# A body whose longest way is shorter than so many radii is too fat to see it bend.
_FAT_BODY = 5.0
# Penalties on the direction's polynomial, in units of a mean square misfit of a tenth of half the
# length: none on a constant bend, most on an S. They keep blunt heads from bending the axis.
_STIFFNESS = (0.0, 0.0, 0.3, 3.0)
_PROFILE_DEGREE = 5
_PROFILE_SHARE = 0.9  # of the length: blunt ends and the tail fin bend a profile
_EXPECTILE = 0.1
# What is no fish (a ring, a net, a splash) may bend the axis out of all bounds. It is none if less
# of it lies in the mask (the arcs of tails lie outside) between the forks at its ends, if these are
# most of it, or if it is not about as long as the longest way through.
_INSIDE_SHARE = 0.8
_BETWEEN_FORKS = 0.6
_LEAST_SHARE, _MOST_SHARE = 0.6, 1.5
_CHORDS = 17
_TUKEY_SHARE = 0.5  # of the inscribed radius: a middle farther off than this is a fin's doing


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """The size and place of one fish, in pixels of its image.

    Attributes:
        area_px: pixels of the mask.
        length_px: length along the body axis, snout to tail tip.
        width_px: greatest depth of the body across the axis, under its fins, and at most the
            diameter of the largest circle within the mask.
        orientation_degrees: direction of the line between the two ends of the axis,
            counter-clockwise as seen, 0 (level) up to but not including 180.
        box: left, top, width, height of the smallest upright box around it.
        centroid: centre of the area, ``(x, y)``.
        axis: points along the body axis from one end to the other, ``(N, 2)``. Which end is the
            head is not known.
    """

    area_px: int
    length_px: float
    width_px: float
    orientation_degrees: float
    box: tuple[int, int, int, int]
    centroid: tuple[float, float]
    axis: Floats = dataclasses.field(repr=False)


def measure(mask: Mask, *, origin: tuple[int, int] = (0, 0)) -> Measurement:
    """Measure one fish.

    Args:
        mask: ``(H, W)``, True on the fish and on at least one pixel. Where it has several parts,
            length and width are those of the largest.
        origin: ``(x, y)`` of the mask's top left corner in its image.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    body = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    x, y = np.nonzero(body)[::-1]
    corner = np.array([left + origin[0], top + origin[1]])
    small, factor = _reduced(body)
    axis, length, width = _measure_along_axis(small)
    # A margin of one pixel lies around the reduced mask, and its pixels' centres are whole numbers.
    axis = (axis - 0.5) * factor + corner
    run, rise = axis[-1] - axis[0]
    return Measurement(
        area_px=len(x),
        length_px=length * factor,
        width_px=width * factor,
        orientation_degrees=_half_turn(math.degrees(math.atan2(-rise, run))),
        box=(int(corner[0]), int(corner[1]), body.shape[1], body.shape[0]),
        centroid=(float(x.mean() + 0.5 + corner[0]), float(y.mean() + 0.5 + corner[1])),
        axis=axis,
    )


def _half_turn(degrees: float) -> float:
    """An angle from 0 up to but not including 180; the rest of a tiny negative one would be 180."""
    rest = degrees % 180
    return 0.0 if rest >= 180 else rest


def _reduced(body: Mask) -> tuple[Mask, int]:
    """The mask at most ``LONGEST_SIDE_PX`` long and wide, and by what whole number it shrank."""
    factor = math.ceil(max(body.shape) / LONGEST_SIDE_PX)
    if factor == 1:
        return body, 1
    height, width = (math.ceil(side / factor) for side in body.shape)
    margin = ((0, height * factor - body.shape[0]), (0, width * factor - body.shape[1]))
    return _shrunk(np.pad(body, margin), (height, width)), factor


def _shrunk(mask: Mask, size: tuple[int, int]) -> Mask:
    """The mask at a smaller ``(height, width)``, in one piece if it was."""
    covered = resize_mask(mask, size)
    small: Mask = covered >= 128
    # A thread thinner than half a pixel of this would break or vanish.
    touched: Mask = covered > 0
    return small if np.count_nonzero(small) > 0.5 * np.count_nonzero(touched) else touched


def _measure_along_axis(body: Mask) -> tuple[Floats, float, float]:
    """Points of the axis (with a margin of one pixel), its length and the width."""
    mask = _largest_part(np.pad(body, 1))
    depth = _distance(mask)
    radius = float(depth.max())
    core = _largest_part(_distance(depth <= OPENING_SHARE * radius) <= OPENING_SHARE * radius)
    core &= mask
    # The distance to the nearest pixel outside exceeds that to the border by a half, and the
    # centre may lie between two pixels.
    circle = max(1.0, 2 * radius - 0.5)
    path = _longest_path(core)
    axis = _fit_axis(core, path, radius)
    low, high = _ends(axis, mask, core, radius)
    # From the outer pixels' centres to their borders.
    line, length = axis.between(low - 0.5, high + 0.5), high - low + 1
    plausible = _way(path)[-1] * np.array([_LEAST_SHARE, _MOST_SHARE]) + 1
    if not plausible[0] <= length <= plausible[1] or not _runs_within(line, mask):
        middle, way = _middle_line(mask)
        if not plausible[0] <= length <= _MOST_SHARE * way or not _runs_within(line, mask):
            return middle, way, min(circle, way)
    # No body is less deep at its deepest than in the mean.
    least = max(1.0, np.count_nonzero(core) / length)
    return line, length, min(max(_width(axis, core, radius), least), circle, length)


# The core


def _distance(mask: Mask) -> NDArray[np.float32]:
    """Distance of each pixel of the mask to the nearest one outside."""
    distance: NDArray[np.float32] = cv2.distanceTransform(
        mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    return distance


def _largest_part(mask: Mask) -> Mask:
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    largest: Mask = labels == 1 + np.argmax(statistics[1:, cv2.CC_STAT_AREA])
    return largest


def _outline(mask: Mask) -> Floats:
    """Centres of the pixels on the outer border, ``(N, 2)``."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.concatenate([contour[:, 0] for contour in contours]).astype(np.float64)


# The axis


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Axis:
    """A curve whose direction is a polynomial of the way along it, straight beyond its ends.

    Args:
        middle: the point half-way, ``(2,)``.
        direction: coefficients of the direction in radians, over -1 (one end) to 1 (the other).
        half_length: pixels from the middle to an end.
    """

    middle: Floats
    direction: Floats
    half_length: float

    def angles(self, u: Floats) -> Floats:
        """Direction at ``u``."""
        return np.asarray(polynomial.polyval(np.clip(u, -1, 1), self.direction))

    def line(self, margin: float) -> tuple[Floats, Floats]:
        """Positions in pixels from the middle ``(N,)``, and the points there ``(N, 2)``."""
        reach = 1 + margin / self.half_length
        u = np.linspace(-reach, reach, 2 * _STATIONS + 1)
        angles = self.angles(u)
        steps = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return u * self.half_length, self.middle + self.half_length * _integral(steps, u)

    def project(self, points: Floats, margin: float) -> tuple[Floats, Floats]:
        """Position along and distance across (signed) of the nearest place, both ``(N,)``."""
        positions, line = self.line(margin)
        step = np.diff(line, axis=0)
        length = np.hypot(step[:, 0], step[:, 1])
        away = points[:, None] - line[None, :-1]
        share = np.einsum("nkd,kd->nk", away, step) / length**2
        low, high = np.zeros(len(step)), np.ones(len(step))
        low[0], high[-1] = -np.inf, np.inf
        share = np.clip(share, low, high)
        miss = away - share[..., None] * step
        distance = np.hypot(miss[..., 0], miss[..., 1])
        nearest = distance.argmin(axis=1)
        each = np.arange(len(points))
        along = positions[nearest] + share[each, nearest] * length[nearest]
        side = step[nearest, 0] * away[each, nearest, 1] - step[nearest, 1] * away[each, nearest, 0]
        return along, np.copysign(distance[each, nearest], side)

    def trimmed(self, low: float, high: float) -> _Axis:
        """The same curve from one position to another; where it is longer, it bends on."""
        positions, line = self.line(max(0.0, -low - self.half_length, high - self.half_length) + 1)
        middle, half_length = (low + high) / 2, (high - low) / 2
        reach = polynomial.Polynomial([middle / self.half_length, half_length / self.half_length])
        direction = polynomial.Polynomial(self.direction)(reach).coef
        return _Axis(
            middle=np.array([np.interp(middle, positions, line[:, k]) for k in (0, 1)]),
            direction=np.pad(direction, (0, len(self.direction) - len(direction))),
            half_length=half_length,
        )

    def between(self, low: float, high: float) -> Floats:
        """Points at equal steps from one position to another, ``(N, 2)``."""
        positions, line = self.line(max(0.0, -low - self.half_length, high - self.half_length))
        at = np.linspace(low, high, _STATIONS)
        return np.stack([np.interp(at, positions, line[:, k]) for k in (0, 1)], axis=1)

    def moved(self, misfit: Floats, u: Floats, tolerance: float) -> _Axis:
        """The curve nearest to points that lie aside of this one.

        Args:
            misfit: how far each lies aside, pixels, ``(N,)``.
            u: where, ``(N,)``.
            tolerance: distance in pixels from which a point no longer counts.
        """
        jacobian = self._jacobian(u)
        stiffness = np.array([1e-6, 1e-6, *_STIFFNESS]) + 1e-9
        penalty = np.diag(stiffness * (0.1 * self.half_length) ** 2 * len(u))
        current = np.concatenate([[0, 0], self.direction])
        change = np.zeros_like(current)
        for _ in range(5):
            residual = (misfit - jacobian @ change) / tolerance
            tukey = np.clip(1 - residual**2, 0, None) ** 2
            change = np.linalg.solve(
                jacobian.T @ (tukey[:, None] * jacobian) + penalty,
                jacobian.T @ (tukey * misfit) - penalty @ current,
            )
        return dataclasses.replace(
            self, middle=self.middle + change[:2], direction=self.direction + change[2:]
        )

    def _jacobian(self, at: Floats) -> Floats:
        """How far the curve moves aside at ``at`` (N,) with each parameter, ``(N, 6)``."""
        u = np.linspace(-1, 1, _STATIONS)
        angles = self.angles(u)
        aside = np.stack([-np.sin(angles), np.cos(angles)], axis=1)
        moves = [aside[:, 0], aside[:, 1]]
        for power in range(len(self.direction)):
            turned = self.half_length * _integral(aside * (u**power)[:, None], u)
            moves.append((turned * aside).sum(axis=1))
        return np.stack([np.interp(at, u, move) for move in moves], axis=1)


def _integral(values: Floats, u: Floats) -> Floats:
    """Integral of ``(N, 2)`` over ``u`` (N,) from its middle, by the trapezoidal rule."""
    steps = (values[1:] + values[:-1]) / 2 * np.diff(u)[:, None]
    total = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    return np.asarray(total - total[len(u) // 2])


def _runs_within(line: Floats, mask: Mask) -> bool:
    """Whether most of an axis runs through the mask; its ends may lie between a fork's lobes."""
    x, y = np.floor(line + 0.5).astype(int).T
    height, width = mask.shape
    within = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    within[within] = mask[y[within], x[within]]
    places = np.flatnonzero(within)
    span = places[-1] - places[0] + 1 if len(places) else 0
    return bool(len(places) >= _INSIDE_SHARE * span and span >= _BETWEEN_FORKS * len(line))


def _middle_line(mask: Mask) -> tuple[Floats, float]:
    """The longest way through a mask, and its length from border to border."""
    path = _longest_path(mask)
    way = _way(path)
    # A few chords: the path itself goes in steps of 45 degrees.
    chords = _along(path, way, np.linspace(0, 1, max(2, min(_CHORDS, len(path))))).T
    length = _way(chords)[-1] + 1
    return _along(chords, _way(chords), np.linspace(0, 1, _STATIONS)).T, float(length)


def _fit_axis(core: Mask, path: Floats, radius: float) -> _Axis:
    """The line through the middle between the core's two sides."""
    axis = _first_axis(path, radius)
    longest = 1.4 * axis.half_length
    outline = _outline(core)
    for _ in range(_STEPS):
        along, across = axis.project(outline, 2 * radius)
        # A curled body comes near the line again where it has come round.
        near = (np.abs(across) < 2.5 * radius) & (np.abs(along) < longest)
        along, across = along[near], across[near]
        if len(along) == 0 or np.ptp(along) < 1:
            break
        axis = axis.trimmed(float(along.min()), float(along.max()))
        u, left, right = _sides(along, across)
        # At the very ends a slice holds a corner or one lobe of the tail.
        inner = np.abs(u) < 0.94
        u, misfit = u[inner], (left + right)[inner] / 2
        if len(u) == 0:
            break
        axis = axis.moved(misfit, u, _TUKEY_SHARE * radius)
    return axis


def _sides(along: Floats, across: Floats) -> tuple[Floats, Floats, Floats]:
    """The outermost places on both sides in slices of a body, cut across its axis.

    Args:
        along: positions of the outline's pixels along the axis, ``(N,)``.
        across: their distances from it, negative on one side, ``(N,)``.

    Returns:
        Middles of the slices from -1 (one end) to 1, and their lowest and highest ``across``.
    """
    low, span = along.min(), np.ptp(along)
    slices = int(min(_SLICES, max(3.0, span / _SLICE_PX)))
    place = ((along - low) / span * slices).astype(int).clip(0, slices - 1)
    left, right = np.full(slices, np.inf), np.full(slices, -np.inf)
    np.minimum.at(left, place, across)
    np.maximum.at(right, place, across)
    both = left < right
    u = (np.arange(slices) + 0.5) / slices * 2 - 1
    return u[both], left[both], right[both]


def _way(path: Floats) -> Floats:
    """How far each point of a path ``(N, 2)`` is from the first, along the path, ``(N,)``."""
    return np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])


def _first_axis(path: Floats, radius: float) -> _Axis:
    """A rough axis: the longest way through the core, without its ends, which end in corners."""
    way = _way(path)
    u = np.linspace(-1, 1, _STATIONS)
    direction = np.zeros(len(_STIFFNESS))
    if way[-1] < _FAT_BODY * radius:
        run, rise = path[-1] - path[0]
        direction[0] = math.atan2(rise, run)
    else:
        # Chords a fifth of the way long: the path itself goes in steps of 45 degrees.
        run, rise = _along(path, way, 0.5 + 0.4 * u + 0.1) - _along(path, way, 0.4 + 0.4 * u)
        direction[:3] = polynomial.polyfit(u, np.unwrap(np.arctan2(rise, run)), 2)
    middle = _along(path, way, np.array([0.5]))[:, 0]
    return _Axis(middle=middle, direction=direction, half_length=max(0.4 * way[-1], 0.5))


def _along(path: Floats, way: Floats, share: Floats) -> Floats:
    """``x`` and ``y``, ``(2, N)``, at shares ``(N,)`` of the way along a path."""
    return np.stack([np.interp(share * way[-1], way, path[:, k]) for k in (0, 1)])


def _longest_path(core: Mask) -> Floats:
    """The longest of the shortest paths between any two pixels of the core, ``(N, 2)``.

    Its ends are found by the double sweep: from anywhere to the farthest pixel, and from there to
    the farthest again. Between them the path keeps to the middle.
    """
    shrink = max(1.0, max(core.shape) / _GEODESIC_SIDE_PX)
    height, width = (max(1, round(side / shrink)) for side in core.shape)
    small = _largest_part(np.pad(_shrunk(core, (height, width)), 1))
    y, x = np.nonzero(small)
    depth = _distance(small)[y, x]
    detour = 1 + 3 * (1 - depth / depth.max()) ** 2
    plain, central = (_graph(small, cost) for cost in (np.ones_like(depth), detour))
    start = int(np.argmax(dijkstra(plain, directed=False, indices=0)))
    end = int(np.argmax(dijkstra(plain, directed=False, indices=start)))
    _, before = dijkstra(central, directed=False, indices=start, return_predecessors=True)
    path = [end]
    while path[-1] != start:
        path.append(int(before[path[-1]]))
    scale = np.array([core.shape[1] / width, core.shape[0] / height])
    return np.asarray((np.stack([x[path], y[path]], axis=1) - 0.5) * scale - 0.5)


def _graph(mask: Mask, cost: NDArray[np.floating]) -> coo_array:
    """Pixels of the mask, in reading order, joined to their eight neighbours."""
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(len(cost))
    starts, ends, lengths = [], [], []
    for start, end, length in _neighbours(number):
        starts.append(start)
        ends.append(end)
        lengths.append(length * (cost[start] + cost[end]) / 2)
    edges = (np.concatenate(lengths), (np.concatenate(starts), np.concatenate(ends)))
    return coo_array(edges, shape=(len(cost), len(cost))).tocsr()


def _neighbours(
    number: NDArray[np.int64],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], float]]:
    y, x = np.nonzero(number >= 0)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        other = number[y + down, x + right]
        joined = other >= 0
        yield number[y, x][joined], other[joined], math.hypot(down, right)


# The ends


def _ends(axis: _Axis, mask: Mask, core: Mask, radius: float) -> tuple[float, float]:
    """The positions where the fish ends."""
    margin = 2 * radius
    along, _ = axis.project(_outline(core), margin)
    low, high = first, last = float(along.min()), float(along.max())
    thin = mask & ~core
    labels, count = ndimage.label(thin, structure=np.ones((3, 3)))
    if not count:
        return low, high
    y, x = np.nonzero(thin)
    part = labels[y, x]
    along, _ = axis.project(np.stack([x, y], axis=1).astype(np.float64), margin)
    is_root = cv2.dilate(core.astype(np.uint8), np.ones((3, 3), np.uint8))[y, x] > 0
    for number in range(1, count + 1):
        here = along[part == number]
        root = along[(part == number) & is_root].mean()
        if root < first + END_SHARE * radius:
            low = min(low, float(here.min()))
        if root > last - END_SHARE * radius:
            high = max(high, float(here.max()))
    return low, high


def _width(axis: _Axis, core: Mask, radius: float) -> float:
    """Greatest depth of the body under its fins; infinite where too little of it can be seen.

    Each side is a smooth profile that fins stick out of, so it is fitted to lie low: by expectile
    regression (Newey and Powell, "Asymmetric least squares estimation and testing", Econometrica
    55(4), 1987).
    """
    along, across = axis.project(_outline(core), 2 * radius)
    near = np.abs(across) < 2.5 * radius
    along, across = along[near], across[near]
    if len(along) == 0 or np.ptp(along) < 1:
        return np.inf
    u, left, right = _sides(along, across)
    inner = np.abs(u) < _PROFILE_SHARE
    if np.count_nonzero(inner) < 4 * _PROFILE_DEGREE:
        return np.inf
    profiles = (_lower_profile(u[inner], side[inner]) for side in (-left, right))
    # From the outer pixels' centres to their borders.
    return float(sum(profiles, np.ones(1)).max())


def _lower_profile(u: Floats, height: Floats) -> Floats:
    """A polynomial of ``u`` (N,) that most of the heights ``(N,)`` lie above, a little."""
    powers = polynomial.polyvander(u, _PROFILE_DEGREE)
    weight = np.ones_like(u)
    fitted = height
    for _ in range(20):
        root = np.sqrt(weight)
        coefficients = np.linalg.lstsq(powers * root[:, None], height * root, rcond=None)[0]
        fitted = powers @ coefficients
        weight = np.where(height > fitted, _EXPECTILE, 1 - _EXPECTILE)
    return np.asarray(fitted)
