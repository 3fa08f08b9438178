"""Two rows of ticks that are one, with something lying on the ruler between them.

How many ticks are hidden follows from where those beside the gap are: seen by a pinhole camera,
equal steps are a projective function of their number, and of the counts that are possible one alone
fits. Each part may be too short to tell its unit, or be seen at another scale, for the slant.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fishseg.measurement.ruler.combs import Floats
from fishseg.measurement.ruler.ticks import Projective, Ticks

_COS_ONE_LINE = math.cos(math.radians(2.0))
_STEPS_DIFFER = 0.5  # as a logarithm: more is no slant
_WIDEST_GAP = 3.0  # times what is seen of both
_OFF = 0.06  # steps by which ticks may miss the scale that both are on
_CLEARLY = 2.0  # by how much worse any other count must fit


def join(one: Ticks, other: Ticks) -> Ticks | None:
    """Both as one row; None where they are not, or the number of hidden ticks is open."""
    origin = one.places.mean(axis=0)
    run = other.places.mean(axis=0) - origin
    ways = [ticks.places[-1] - ticks.places[0] for ticks in (one, other)]
    if ways[0] @ run < 0:
        return join(other, one) if ways[1] @ run < 0 else None
    direction = run / max(float(np.hypot(*run)), 1e-9)
    if any(way @ direction < _COS_ONE_LINE * np.hypot(*way) for way in ways):
        return None
    across = np.array([-direction[1], direction[0]])
    inwards = [float(((ticks.tips - ticks.places) @ across).mean()) for ticks in (one, other)]
    start, end = (ticks.places @ direction for ticks in (one, other))
    step = math.sqrt(float(one.steps_px[-1] * other.steps_px[0]))
    gap = float(end[0] - start[-1])
    if (
        inwards[0] * inwards[1] < 0
        or abs(math.log(one.steps_px[-1] / other.steps_px[0])) > _STEPS_DIFFER
        or not step < gap < _WIDEST_GAP * sum(float(np.hypot(*way)) for way in ways)
    ):
        return None
    places = np.concatenate([start, end])
    fits = [
        (_misses(fitted, index, places), hidden, fitted, index)
        for hidden in _counts(gap / step)
        for index in [_numbered(one, other, hidden)]
        for fitted in [Projective.fit(index.astype(np.float64), places)]
    ]
    fits.sort(key=lambda fit: fit[:2])
    least, _, fitted, index = fits[0]
    if least > _OFF or (len(fits) > 1 and fits[1][0] < _CLEARLY * least):
        return None
    return Ticks(
        index=index,
        places=np.concatenate([one.places, other.places]),
        lengths_px=np.concatenate([one.lengths_px, other.lengths_px]),
        tips=np.concatenate([one.tips, other.tips]),
        steps_px=fitted.step(index),
        misfit=max(one.misfit, other.misfit),
        seen=len(index) / float(index[-1] - index[0] + 1),
        bend=max(one.bend, other.bend),
        parts=max(one.parts, other.parts),
    )


def _counts(about: float) -> range:
    """How many steps the gap may be wide."""
    doubt = max(2.0, 0.06 * about)
    return range(max(1, round(about - doubt)), round(about + doubt) + 1)


def _numbered(one: Ticks, other: Ticks, steps: int) -> NDArray[np.int_]:
    return np.concatenate([one.index, one.index[-1] + steps + other.index - other.index[0]])


def _misses(fitted: Projective, index: NDArray[np.int_], places: Floats) -> float:
    """By how many steps ticks are off the scale, in the mean."""
    off = np.abs(fitted.at(index.astype(np.float64)) - places) / fitted.step(index)
    return float(np.mean(np.minimum(off, 1.0)))
