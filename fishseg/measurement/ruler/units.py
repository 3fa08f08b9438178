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
_NESTED = 5.0  # nats
_NESTED_LONE = 7.0  # nats: a number that touches its tick may lengthen one
_LONE = 10.0  # nats
_FITS = 0.15
_LOW = 0.7  # below the median, as a logarithm, is what is hidden
_PHASES = 4  # that are tried of each pattern
_FEW = 4  # ticks, whose median one that is hidden may spoil
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
        fitting: share of the ticks that are about as long as it says.
        margin: how much better it is than the best of another unit, in nats.
        whole: whether enough of the pattern was seen: two of the longest ticks, since one alone may
            be the half of something longer; or one between two fives, which only tens have.
    """

    pattern: Pattern
    explained: float
    fitting: float
    margin: float
    whole: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fit:
    pattern: Pattern
    cost: float
    residual: float
    fitting: float
    counts: tuple[int, ...]  # of ticks by their rank, without those of another length

    @property
    def whole(self) -> bool:
        tens = self.pattern.period == 10 and len(self.counts) == 3
        return self.counts[0] >= 2 or (tens and self.counts[1] >= 2)


def tell_unit(index: NDArray[np.int_], lengths: Floats) -> Unit | None:
    """The unit of ticks by their numbers and lengths; None where no pattern fits at all."""
    # A tick at the border, or half hidden, may have no length that could be told.
    told = lengths > 0
    if not told.any():
        return None
    index, logs = index[told], np.log(lengths[told])
    fits = [fit for pattern in PATTERNS if (fit := _fit(pattern, index, logs)) is not None]
    if not fits:
        return None
    # One long tick may be long by chance: a pattern that hangs on it must be much better.
    best = min(fits, key=lambda fit: fit.cost + (0 if fit.whole else _LONE))
    total = _spread(logs, float(np.median(logs)))
    alone = _cost(total, len(logs), 1)
    # A coarser inch is a part of a finer one, which only a few long ticks tell apart: be it one.
    others = []
    for fit in fits:
        nested = _are_inches(fit.pattern, best.pattern)
        finer = nested and fit.pattern.period > best.pattern.period
        if (fit.whole or finer) and fit.pattern.tick_mm != best.pattern.tick_mm:
            others.append(fit.cost + ((_NESTED if fit.whole else _NESTED_LONE) if nested else 0))
    return Unit(
        pattern=best.pattern,
        explained=1 - best.residual / max(total, 1e-9),
        fitting=best.fitting * float(np.mean(told)),
        margin=min([alone, *others]) - best.cost,
        whole=best.whole,
    )


def _are_inches(one: Pattern, other: Pattern) -> bool:
    return one.name.endswith("inch") and other.name.endswith("inch")


def _fit(pattern: Pattern, index: NDArray[np.int_], logs: Floats) -> _Fit | None:
    """The best fit of a pattern; None where a rank is not seen, or no longer than the next."""
    table = np.array([pattern.rank(k) for k in range(pattern.period)])
    n_ranks = int(table.max()) + 1
    phases = np.arange(pattern.period)[:, None]
    ranks = table[(index[None, :] - phases) % pattern.period]
    # One tick that is hidden must not decide: the shortest are at least half as long as most.
    low, high = np.percentile(logs, [2, 98])
    tame = np.clip(logs, max(low, float(np.median(logs)) - _LOW), high)
    cells = (ranks + n_ranks * phases).ravel()
    counts = np.bincount(cells, minlength=n_ranks * pattern.period).reshape(-1, n_ranks)
    sums = np.bincount(
        cells, np.tile(tame, pattern.period), minlength=n_ranks * pattern.period
    ).reshape(-1, n_ranks)
    means = sums / np.maximum(counts, 1)
    gain = (counts * means**2).sum(axis=1)
    gain[(counts == 0).any(axis=1)] = -math.inf
    best: _Fit | None = None
    for phase in np.argsort(-gain)[:_PHASES]:
        if not math.isfinite(gain[phase]):
            break
        groups = [logs[ranks[phase] == n] for n in range(n_ranks)]
        levels = [_level(group) for group in groups]
        if min(np.subtract(levels[:-1], levels[1:])) < _DISTINCT:
            continue
        residual = sum(_spread(g, level) for g, level in zip(groups, levels, strict=True))
        cost = _cost(residual, len(logs), n_ranks)
        if best is None or cost < best.cost:
            off = [np.abs(g - level) for g, level in zip(groups, levels, strict=True)]
            best = _Fit(
                pattern=pattern,
                cost=cost,
                residual=residual,
                fitting=float(np.mean(np.concatenate(off) < _FITS)),
                counts=tuple(int(np.sum(of_rank < _DISTINCT)) for of_rank in off),
            )
    return best


def _level(logs: Floats) -> float:
    """The length of ticks of one rank; where few differ, that of the longest: others are hidden."""
    tried = np.append(np.median(logs), np.sort(logs)[::-1] if len(logs) <= _FEW else [])
    return float(tried[int(np.argmin([_spread(logs, float(level)) for level in tried]))])


def _spread(logs: Floats, level: float) -> float:
    return float(np.minimum((logs - level) ** 2, _CAP**2).sum())


def _cost(residual: float, n: int, levels: int) -> float:
    """Schwarz's criterion, where lengths are never more even than `_EVEN`."""
    return 0.5 * n * math.log(residual / n + _EVEN**2) + 0.5 * levels * math.log(n)
