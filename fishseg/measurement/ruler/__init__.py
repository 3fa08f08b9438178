"""The scale of a picture from the ruler in it.

A ruler is what is long, straight and evenly ticked, and whose ticks are long and short as those of
a scale are. What is ticked otherwise (a fence, a net, a barcode, a checkerboard) has no answer, and
neither has a ruler that leaves doubt: a wrong scale is worse than none.

1. `combs`: rows of parallel strokes at equal distances, at several sizes of the picture.
2. `ticks`: where each of a row's ticks is, to a fraction of a pixel, and how long it is.
3. `joins`: rows that are one ruler, with something lying on it.
4. `units`: millimetres or inches, from the pattern of the lengths.

Coordinates are ``(x, y)`` in pixels from the image's top left corner; a pixel is an area.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fishseg import store
from fishseg.measurement.ruler.combs import Floats, find_combs
from fishseg.measurement.ruler.joins import join
from fishseg.measurement.ruler.ticks import LONGEST_PX, Ticks, measure_ticks
from fishseg.measurement.ruler.units import Unit, tell_unit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CONFIDENT", "Ruler", "Search", "find_ruler"]

CONFIDENT = 0.5
"""From which confidence on a scale is used."""

_ENLARGED_BELOW_PX = 1_500_000  # ticks of small pictures are too small for segments
_SIDES_PX = (1600, 3200)  # the picture is searched small first: most ticks are large enough
_DISAGREE = 0.02
_ACROSS = 0.15  # by which a slant may make the edges of one ruler differ
_CLEAR_DEPTH = 4
_BENT = "what is ticked is not straight, a tape perhaps: it gives no scale"
_ANY_UNIT = "the ruler's ticks do not tell millimetres from inches"
_NET = "what is ticked lies in more rows side by side than rulers have: a net or scales, perhaps"
_HALVES = "the ruler's longest ticks may be inches or halves of one"
_MOST_READ = 8  # combs; the others only tell a net
_MOST_ROWS = 8  # of two rulers, side by side: the ticks of each edge begin and end in a row
_MOST_BENT = 0.6  # steps that a row of ticks may leave a straight line
_BENT_SEEN = 0.8  # share of a bent row's ticks without which it is no row
_MARGIN = 8.0  # nats between two units
_EXPLAINED = 0.4  # of the variance of the ticks' lengths
_FITTING = 0.7  # of the ticks; half of those whose lengths are ragged fit some pattern
_SLANT = 0.05  # a scale that changes by more is worth a remark
_SPREAD = 0.5  # a scale that changes by more along the ruler says little of the fish


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ruler:
    """What was taken for a ruler.

    Attributes:
        mm_per_px: its scale, the median along it.
        confidence: 0 to 1; see `CONFIDENT`.
        unit: of its finest ticks: ``mm``, ``half mm``, ``1/16 inch``, …
        spread: by what share the scale changes from one end to the other, for the slant of the
            camera.
        places, tips: (N, 2), the ticks, from within the shortest to the end of each.
    """

    mm_per_px: float
    confidence: float
    unit: str
    spread: float
    places: Floats
    tips: Floats


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What came of looking for a ruler.

    Attributes:
        ruler: the best; None where there is none to be taken seriously.
        doubt: why its scale is not to be used; empty where it is.
    """

    ruler: Ruler | None
    doubt: str

    @property
    def mm_per_px(self) -> float | None:
        """The scale, where there is no doubt."""
        return None if self.ruler is None or self.doubt else self.ruler.mm_per_px

    @property
    def remark(self) -> str:
        """What to know of a scale that is used; empty for nothing."""
        if self.ruler is None or self.ruler.spread < _SLANT:
            return ""
        return (
            f"the scale changes by {self.ruler.spread:.0%} over the ruler, for the camera looked "
            "aslant: that of its middle was taken"
        )

    @property
    def strokes(self) -> tuple[Floats, bool] | None:
        """Ends of the ticks of what was taken for a ruler, ``(N, 2, 2)``, and whether it is used.

        None where there is nothing like one.
        """
        if self.ruler is None:
            return None
        return np.stack([self.ruler.places, self.ruler.tips], axis=1), not self.doubt

    def as_record(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        about = {"doubt": self.doubt, "code": _code()}
        if self.ruler is None:
            return about
        values = dataclasses.asdict(self.ruler)
        points = {name: np.round(values[name], 2).tolist() for name in ("places", "tips")}
        return {**about, **values, **points}

    @staticmethod
    def is_of_today(record: Mapping[str, Any]) -> bool:
        """Whether this code would say the same of the same picture."""
        return record.get("code") == _code()

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Search:
        """What `as_record` gave."""
        values = dict(record)
        doubt = values.pop("doubt")
        values.pop("code", None)
        if not values:
            return cls(ruler=None, doubt=doubt)
        points = {name: np.array(values[name], np.float64) for name in ("places", "tips")}
        return cls(ruler=Ruler(**{**values, **points}), doubt=doubt)


def _code() -> str:
    return store.code_sha256((__name__,))[:16]


def find_ruler(image: NDArray[np.uint8]) -> Search:
    """Look for a ruler and read its scale.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    side = max(grey.shape)
    if side > LONGEST_PX:
        return Search(ruler=None, doubt=f"of {side} pixels in a row no ruler is read")
    factors = sorted({min(1.0, size / side) for size in (*_SIDES_PX, side)})
    if grey.size < _ENLARGED_BELOW_PX:
        factors.append(2.0)
    tried: list[_Reading] = []
    search: Search | None = None
    for factor in factors:
        tried = _without_parts(tried + _read_all(grey, factor))
        before, search = search, _agreed([one for one in tried if not one.doubt])
        # Once more, closer: a second ruler may be finer than the first.
        if before is not None and search is not None:
            return search
    if search is not None:
        return search
    if not tried:
        return Search(ruler=None, doubt="no ruler was found")
    best = max(tried, key=_merit)
    return Search(ruler=best.ruler, doubt=best.doubt or _HALVES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Reading:
    ticks: Ticks
    ruler: Ruler | None
    doubt: str
    stage: int  # how far it came
    explained: float = 0.0  # share of the variance of the ticks' lengths
    joined: bool = False  # of two rows with a gap between them
    depth: int = 0  # how often the ticks halve the longest distance; 0 where they count by tens


def _read_all(grey: NDArray[np.uint8], factor: float) -> list[_Reading]:
    if factor != 1:
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        height, width = (max(1, round(side * factor)) for side in grey.shape)
        sized = np.asarray(cv2.resize(grey, (width, height), interpolation=how))
    else:
        sized = grey
    readings, nets = [], []
    combs = find_combs(sized.astype(np.uint8), factor)
    for comb in combs[:_MOST_READ]:
        of_inks = [_read(ticks) for ticks in measure_ticks(grey, comb)]
        if not of_inks:
            continue
        # Between ticks of one ink there are ticks of the other, whose lengths say less.
        best = max(of_inks, key=lambda one: (one.ruler is not None, one.explained))
        if sum(comb.has_rows_like(other) for other in combs) > _MOST_ROWS:
            nets.append(_Reading(ticks=best.ticks, ruler=None, stage=1, doubt=_NET))
        else:
            readings.append(best)
    joined = [
        dataclasses.replace(_read(ticks), joined=True)
        for one, other in itertools.combinations(readings, 2)
        if (ticks := join(one.ticks, other.ticks)) is not None
    ]
    # Where the whole leaves doubt, so much as each part says is left.
    return [one for one in joined if not one.doubt] + readings + nets


def _merit(one: _Reading) -> tuple[int, float, int]:
    # A bow is worth naming before what is unclear, of which it has some.
    bent = CONFIDENT if one.ticks.bend > _MOST_BENT else 0.0
    sure = bent if one.ruler is None else one.ruler.confidence
    return one.stage, sure, len(one.ticks.index)


def _read(ticks: Ticks) -> _Reading:
    if ticks.bend > _MOST_BENT:
        return _Reading(ticks=ticks, ruler=None, stage=2, doubt=_BENT)
    # What is farther away is smaller: across the slant by the root of what the steps are.
    far = np.sqrt(ticks.steps_px / np.median(ticks.steps_px))
    unit = tell_unit(ticks.index, ticks.lengths_px / far)
    if unit is None or ticks.parts > 1:
        return _Reading(ticks=ticks, ruler=None, stage=0, doubt=(
            "no ruler was found: what is evenly ticked has no long and short ticks as of a scale"
        ))  # fmt: skip
    ruler = _ruler(ticks, unit)
    if not unit.whole:
        doubt = "too little of the ruler can be seen to tell its unit"
    elif unit.margin < _MARGIN or unit.explained < _EXPLAINED or unit.fitting < _FITTING:
        doubt = _ANY_UNIT
    elif ruler.spread > _SPREAD:
        doubt = (
            f"the ruler's scale changes by {ruler.spread:.0%} along it: the camera is too aslant"
        )
    elif ruler.confidence < CONFIDENT:
        doubt = f"what may be a ruler is too unclear (confidence {ruler.confidence:.2f})"
    else:
        doubt = ""
    depth = int(math.log2(unit.pattern.period)) if unit.pattern.name.endswith("inch") else 0
    return _Reading(
        ticks=ticks,
        ruler=ruler,
        stage=2 + (not doubt),
        doubt=doubt,
        explained=unit.explained,
        depth=depth,
    )


def _ruler(ticks: Ticks, unit: Unit) -> Ruler:
    steps = ticks.steps_px
    # Ticks that were not seen, places that are uneven, lengths that do not fit: each takes away.
    even = math.exp(-((ticks.misfit / 0.12) ** 2))
    confidence = ticks.seen**0.5 * even * unit.fitting
    return Ruler(
        mm_per_px=unit.pattern.tick_mm / float(np.median(steps)),
        confidence=round(min(confidence, 1.0), 4),
        unit=unit.pattern.name,
        spread=float(np.ptp(steps) / np.median(steps)),
        places=ticks.places,
        tips=ticks.tips,
    )


def _are_edges(one: Ruler, other: Ruler) -> bool:
    """Whether two rows of ticks are the edges of one ruler: they face each other, side by side."""
    inwards = (one.tips - one.places).mean(axis=0)
    towards = other.places.mean(axis=0) - one.places.mean(axis=0)
    back = (other.tips - other.places).mean(axis=0)
    apart = abs(towards @ inwards) / max(float(np.hypot(*inwards)), 1e-9)
    length = min(float(np.hypot(*(ruler.places[-1] - ruler.places[0]))) for ruler in (one, other))
    facing = inwards @ towards > 0 and back @ towards < 0
    return bool(facing and apart < length)


def _share_ticks(best: Ruler, other: Ruler) -> bool:
    gap, _ = cKDTree(best.tips).query(other.tips)
    step_px = float(np.median(np.hypot(*np.diff(best.places, axis=0).T)))
    return bool(np.mean(gap < step_px) > 0.5)


def _without_parts(readings: list[_Reading]) -> list[_Reading]:
    """The same, with doubt of each row that is a part of another one.

    Every third tick of a scale by tens is as long as the pattern says of the next one, and a short
    piece of a tape that curves is about straight.
    """
    checked = []
    for one in readings:
        doubt = one.doubt
        if not doubt and any(_is_part(one, other) for other in readings):
            doubt = _ANY_UNIT
        if not doubt and any(_is_bent_further_on(one, other) for other in readings):
            doubt = _BENT
        checked.append(
            dataclasses.replace(one, stage=2, doubt=doubt) if doubt != one.doubt else one
        )
    return checked


def _is_bent_further_on(one: _Reading, other: _Reading) -> bool:
    """Whether most ticks are those of a row that is bent."""
    of_all, of_part = other.ticks, one.ticks
    if of_all.bend <= _MOST_BENT or of_all.seen < _BENT_SEEN:
        return False
    step_px = float(np.median(of_all.steps_px))
    if abs(float(np.median(of_part.steps_px)) / step_px - 1) > 0.1:
        return False
    gap, _ = cKDTree(of_all.tips).query(of_part.tips)
    return bool(np.mean(gap < step_px) > 0.5)


def _is_part(one: _Reading, other: _Reading) -> bool:
    if one.ruler is None or other.ruler is None or other.ruler.confidence < CONFIDENT:
        return False
    ratio = float(np.median(one.ticks.steps_px) / np.median(other.ticks.steps_px))
    times = round(ratio)
    if times < 2 or abs(ratio / times - 1) > 0.1:
        return False
    return _on_one_line(one.ticks, other.ticks)


def _on_one_line(one: Ticks, other: Ticks) -> bool:
    """Whether most of a row's ticks stand where another row's do."""
    way = other.places[-1] - other.places[0]
    length = max(float(np.hypot(*way)), 1e-9)
    offset = one.places - other.places[0]
    along = offset @ way / length
    across = offset @ np.array([-way[1], way[0]]) / length
    reach = max(float(np.percentile(ticks.lengths_px, 90)) for ticks in (one, other))
    return bool(np.mean((along > 0) & (along < length) & (np.abs(across) < reach)) > 0.5)


def _agreed(good: list[_Reading]) -> Search | None:
    """The scale that all readings agree on; None where they leave it open.

    On many rulers the half of an inch is marked as long as the whole. Ticks that halve three times
    may thus be eighths or sixteenths: only a metric scale beside them tells.
    """
    readings = sorted(good, key=lambda one: (one.depth > 0, not one.joined, -_merit(one)[1]))
    if not readings or 0 < readings[0].depth < _CLEAR_DEPTH:
        return None
    best = readings[0].ruler
    assert best is not None  # noqa: S101 - without doubt there is one
    for one in readings[1:]:
        other = one.ruler
        assert other is not None  # noqa: S101
        most = _DISAGREE + 0.5 * (best.spread + other.spread)
        same = _share_ticks(best, other)
        across = not same and _are_edges(best, other)
        if across:
            most = max(most, _ACROSS)
        factors = (1.0, 0.5) if one.depth else (1.0,)
        off = min(abs(math.log(factor * other.mm_per_px / best.mm_per_px)) for factor in factors)
        if off > most:
            if same:
                return Search(ruler=best, doubt=_ANY_UNIT)
            two = f"{best.mm_per_px:.4g} and {other.mm_per_px:.4g}"
            return Search(ruler=best, doubt=f"two rulers disagree: {two} mm in a pixel")
        if across:
            best = dataclasses.replace(best, spread=max(best.spread, off))
    return Search(ruler=best, doubt="")
