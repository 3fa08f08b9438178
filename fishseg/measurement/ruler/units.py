"""Millimetres or inches: what the long and the short ticks of a ruler say.

A metric scale counts by tens, its fives are longer than its ones; an inch is halved again and
again. Which of the patterns explains the lengths, and how much better than all others, tells the
unit; ticks of one length tell nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fishseg.measurement.ruler.combs import Floats

INCH_MM = 25.4
_EVEN = 0.06  # lengths of equal ticks differ by so much, as a logarithm
_DISTINCT = 0.08  # and those of unequal ones by more
_CAP = 0.3  # what hides or lengthens a tick counts for no more


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pattern:
    """How the lengths of ticks repeat.

    Attributes:
        name: of the unit, for the user.
        tick_mm: from one tick to the next.
        period: in ticks.
        rank: of tick k, 0 for the longest.
    """

    name: str
    tick_mm: float
    period: int
    rank: Callable[[int], int]


def _halving(times: int) -> Pattern:
    period = 2**times
    return Pattern(
        name=f"1/{period} inch",
        tick_mm=INCH_MM / period,
        period=period,
        rank=lambda k: next(n for n in range(times + 1) if k % (period >> n) == 0),
    )


PATTERNS = (
    Pattern(name="mm", tick_mm=1, period=10,
            rank=lambda k: 0 if k % 10 == 0 else 1 if k % 5 == 0 else 2),
    Pattern(name="mm", tick_mm=1, period=10, rank=lambda k: 0 if k % 10 == 0 else 1),
    Pattern(name="mm", tick_mm=1, period=5, rank=lambda k: 0 if k % 5 == 0 else 1),
    Pattern(name="half mm", tick_mm=0.5, period=20,
            rank=lambda k: 0 if k % 20 == 0 else 1 if k % 10 == 0 else 2 if k % 2 == 0 else 3),
    Pattern(name="half mm", tick_mm=0.5, period=20,
            rank=lambda k: 0 if k % 20 == 0 else 1 if k % 10 == 0 else 2),
    Pattern(name="half mm", tick_mm=0.5, period=20,
            rank=lambda k: 0 if k % 20 == 0 else 1 if k % 2 == 0 else 2),
    Pattern(name="half mm", tick_mm=0.5, period=10,
            rank=lambda k: 0 if k % 10 == 0 else 1 if k % 2 == 0 else 2),
    _halving(3), _halving(4), _halving(5),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
    """What the lengths say.

    Attributes:
        pattern: the best one.
        explained: share of the variance of the lengths that it explains, 0 to 1.
        margin: how much better it is than the best of another unit, in nats.
        longest: how many of the longest ticks were seen.
    """

    pattern: Pattern
    explained: float
    margin: float
    longest: int


def tell_unit(index: NDArray[np.int_], lengths: Floats) -> Unit | None:
    """The unit of ticks by their numbers and lengths; None where no pattern fits at all."""
    logs = np.log(np.maximum(lengths, 1e-3))
    scored = []
    for pattern in PATTERNS:
        if index[-1] - index[0] < pattern.period:
            continue
        fits = [_fit(pattern, phase, index, logs) for phase in range(pattern.period)]
        scored.append((min(fits), pattern))
    scored = [(fit, pattern) for fit, pattern in scored if math.isfinite(fit[0])]
    if not scored:
        return None
    (cost, residual, longest), best = min(scored, key=lambda one: one[0][0])
    alone = _cost(_spread(logs, float(np.median(logs))), len(logs), 1)
    others = [fit[0] for fit, pattern in scored if pattern.tick_mm != best.tick_mm]
    total = _spread(logs, float(np.median(logs)))
    return Unit(
        pattern=best,
        explained=1 - residual / max(total, 1e-9),
        margin=min([alone, *others]) - cost,
        longest=longest,
    )


def _fit(
    pattern: Pattern, phase: int, index: NDArray[np.int_], logs: Floats
) -> tuple[float, float, int]:
    """Cost, residual and number of the longest ticks of a pattern that begins at a tick."""
    table = np.array([pattern.rank(k) for k in range(pattern.period)])
    rank = table[(index - phase) % pattern.period]
    levels, residual = [], 0.0
    for n in range(table.max() + 1):
        here = logs[rank == n]
        if not len(here):
            return math.inf, math.inf, 0
        levels.append(float(np.median(here)))
        residual += _spread(here, levels[-1])
    if min(np.subtract(levels[:-1], levels[1:])) < _DISTINCT:
        return math.inf, math.inf, 0
    # Two of the longest at least: one alone may be the half of something longer.
    longest = int((rank == 0).sum())
    if longest < 2:
        return math.inf, math.inf, longest
    return _cost(residual, len(logs), len(levels)), residual, longest


def _spread(logs: Floats, level: float) -> float:
    return float(np.minimum((logs - level) ** 2, _CAP**2).sum())


def _cost(residual: float, n: int, levels: int) -> float:
    """Schwarz's criterion, where lengths are never more even than `_EVEN`."""
    return 0.5 * n * math.log(residual / n + _EVEN**2) + 0.5 * levels * math.log(n)
