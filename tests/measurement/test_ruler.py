"""Rulers that are drawn to a known scale, and what is ticked and is none."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from benchmarks.drawn_rulers import DECOYS, Drawing, Ruler, any_decoy, draw_ruler
from fishseg.measurement.ruler import CONFIDENT, Search, find_ruler
from fishseg.measurement.ruler.ticks import Projective
from fishseg.measurement.ruler.units import PATTERNS, tell_unit


def drawn(ruler: Ruler, seed: int = 0, **how: object) -> Drawing:
    how = {"size": (600, 900), "px_per_mm": 7.3, **how}
    return draw_ruler(ruler, np.random.default_rng(seed), **how)  # type: ignore[arg-type]


def error(drawing: Drawing, search: Search) -> float:
    """Relative error at the middle of what was found."""
    assert search.ruler is not None
    middle = len(search.ruler.places) // 2
    along = search.ruler.places[middle] - search.ruler.places[middle - 1]
    true = drawing.mm_per_px_at(search.ruler.places[middle], along)
    return search.ruler.mm_per_px / true - 1


MM = Ruler(edges=("mm", None))


@pytest.mark.parametrize(
    ("ruler", "how"),
    [
        (MM, {}),
        (MM, {"degrees": 90.0, "size": (900, 600)}),
        (MM, {"degrees": 217.0}),
        (Ruler(edges=("mm", None), material="black"), {"noise": 8}),
        (Ruler(edges=("mm", None), material="steel", margin_mm=1), {"blur_px": 1.0}),
        (Ruler(edges=("mm", "mm"), material="yellow"), {"ground": "wood", "quality": 60}),
        (Ruler(edges=("mm", None), lined=True), {"slant_degrees": 15.0}),
        (MM, {"hidden": 0.5}),
        (MM, {"glare": 0.9}),
        (MM, {"centre": (0.5, 0.98)}),
        (MM, {"centre": (0.75, 0.5)}),
        (Ruler(edges=("half mm", None)), {"px_per_mm": 15}),
        (Ruler(edges=("inch/16", None)), {"px_per_mm": 6}),
        (Ruler(edges=("mm", "inch/16, halves")), {}),
    ],
    ids=[
        "plain", "upright", "turned", "white on black", "steel", "two edges", "slant", "hidden",
        "glare", "cut lengthwise", "cut across", "half mm", "inch", "mm and inch",
    ],
)  # fmt: skip
def test_the_scale_is_within_one_percent(ruler: Ruler, how: dict[str, Any]) -> None:
    drawing = drawn(ruler, **how)
    search = find_ruler(drawing.picture)
    assert search.doubt == ""
    assert abs(error(drawing, search)) < 0.01
    assert search.mm_per_px is not None
    assert search.ruler is not None
    assert CONFIDENT <= search.ruler.confidence <= 1


def test_a_slant_is_said() -> None:
    level, aslant = (find_ruler(drawn(MM, slant_degrees=d).picture) for d in (0.0, 15.0))
    assert level.remark == ""
    assert "over the ruler" in aslant.remark


@pytest.mark.parametrize("kind", sorted(DECOYS))
def test_what_is_ticked_and_no_ruler_has_no_scale(kind: str) -> None:
    search = find_ruler(any_decoy(kind, np.random.default_rng(4)))
    assert search.mm_per_px is None
    assert search.doubt


def test_a_tape_that_curves_is_named() -> None:
    assert "not straight" in find_ruler(any_decoy("curved tape", np.random.default_rng(1))).doubt


def test_an_empty_picture_has_no_ruler() -> None:
    search = find_ruler(np.full((300, 400, 3), 128, np.uint8))
    assert search == Search(ruler=None, doubt="no ruler was found")
    assert find_ruler(np.zeros((1, 1, 3), np.uint8)).ruler is None


def test_two_rulers_that_disagree_give_no_scale() -> None:
    same, other = drawn(MM), drawn(MM, seed=1, px_per_mm=8.5)
    search = find_ruler(np.concatenate([same.picture, other.picture]))
    assert search.mm_per_px is None
    assert search.doubt.startswith("two rulers disagree: 0.1")
    twice = find_ruler(np.concatenate([same.picture, same.picture]))
    assert twice.doubt == ""


def test_the_edges_of_one_ruler_may_differ_as_far_as_a_slant_explains() -> None:
    ruler = Ruler(edges=("mm", "mm"), width_mm=40)
    differ = []
    for seed in range(4):
        search = find_ruler(drawn(ruler, seed=seed, slant_degrees=15.0).picture)
        assert search.doubt == ""
        assert search.ruler is not None
        differ.append(search.ruler.spread)
    assert max(differ) > 0.05


def test_halves_of_an_inch_marked_like_inches_leave_it_open() -> None:
    search = find_ruler(drawn(Ruler(edges=("inch/16, halves", None))).picture)
    assert search.mm_per_px is None
    assert "halves" in search.doubt


def test_ticks_of_one_length_tell_no_unit() -> None:
    assert find_ruler(drawn(Ruler(edges=("mm", None), growth=1.0)).picture).mm_per_px is None


def test_a_search_survives_its_record() -> None:
    for search in (find_ruler(drawn(MM).picture), Search(ruler=None, doubt="none")):
        again = Search.of_record(json.loads(json.dumps(search.as_record())))
        assert again.as_record() == search.as_record()
        assert again.mm_per_px == search.mm_per_px


def test_a_slanted_scale_is_fitted_exactly() -> None:
    index = np.arange(5.0, 60)
    place = (9 * index + 30) / (0.003 * index + 1)
    place[::15] += 2  # what is no tick
    fitted = Projective.fit(index, place)
    exact = 9 * (20 + 30 / 9) / (0.003 * 20 + 1)
    assert fitted.at(np.array([20.0]))[0] == pytest.approx(exact, abs=0.15)
    assert fitted.step(np.array([20.0]))[0] == pytest.approx((9 - 0.09) / 1.06**2, rel=0.01)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda one: f"{one.name} by {one.period}")
def test_each_pattern_is_told_from_the_others(pattern: object) -> None:
    rng = np.random.default_rng(0)
    index = np.delete(np.arange(7, 7 + 90), [3, 30, 31])
    lengths = 30 * 1.3 ** -np.array([pattern.rank(k) for k in index.tolist()])  # type: ignore[attr-defined]
    unit = tell_unit(index, lengths * rng.normal(1, 0.03, len(index)))
    assert unit is not None
    assert unit.pattern.tick_mm == pattern.tick_mm  # type: ignore[attr-defined]
    assert unit.whole
    assert unit.margin > 8
    assert unit.explained > 0.8


def test_lengths_at_random_have_no_unit() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        unit = tell_unit(np.arange(60), np.exp(rng.normal(0, 0.4, 60)))
        assert unit is None or unit.margin < 8 or unit.explained < 0.5
