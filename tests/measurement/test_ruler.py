"""Rulers that are drawn to a known scale, and what is ticked and is none."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from benchmarks.drawn_rulers import DECOYS, Drawing, Ruler, any_decoy, draw_ruler
from fishseg.measurement.ruler import CONFIDENT, Search, find_ruler
from fishseg.measurement.ruler.joins import join
from fishseg.measurement.ruler.ticks import LONGEST_PX, Projective, Ticks
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


@pytest.mark.parametrize("seed", [1, [3158, 11, 7]], ids=["all of it", "a piece is about straight"])
def test_a_tape_that_curves_is_named(seed: Any) -> None:
    assert "not straight" in find_ruler(any_decoy("curved tape", np.random.default_rng(seed))).doubt


def test_marks_half_of_which_are_as_long_as_on_a_scale_are_none() -> None:
    assert find_ruler(any_decoy("net", np.random.default_rng([3122, 3, 7]))).mm_per_px is None


def test_rows_of_ticks_side_by_side_are_a_net() -> None:
    strip = drawn(MM, size=(260, 900)).picture
    four, nine = (find_ruler(np.concatenate(n * [strip])) for n in (4, 9))
    assert four.doubt == ""
    assert "more rows side by side" in nine.doubt
    scales = any_decoy("fish scales", np.random.default_rng([2024, 64, 0]))
    assert "more rows side by side" in find_ruler(scales).doubt


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


def inches(parts: int, n: int, first: int) -> tuple[Any, Any]:
    """Numbers and lengths of ticks of an inch that is halved down to so many parts."""
    pattern = next(one for one in PATTERNS if one.name == f"1/{parts} inch")
    index = np.arange(first, first + n)
    return index, 20 * 1.3 ** -np.array([float(pattern.rank(k)) for k in index.tolist()])


def test_a_tick_without_a_length_at_the_end_changes_no_unit() -> None:
    index, lengths = inches(16, 42, 5)
    lengths[[0, -1]] = 0
    unit = tell_unit(index, lengths)
    assert unit is not None
    assert unit.pattern.name == "1/16 inch"
    assert unit.whole
    assert unit.margin > 8
    assert unit.fitting == pytest.approx(40 / 42)
    assert tell_unit(index, np.zeros(len(index))) is None


@pytest.mark.parametrize("n", [41, 60])
def test_one_inch_of_a_finer_scale_is_not_taken_for_a_coarser_one(n: int) -> None:
    index, lengths = inches(32, n, 1)
    unit = tell_unit(index, lengths)
    assert unit is not None
    assert not unit.whole or unit.margin < 8


def row(index: Any, slant: float = 0.0, *, up: float = 0.0, shift: float = 0.0) -> Ticks:
    """Ticks by their true numbers on a line that leans, seen aslant; they are numbered from 0."""
    number = index + shift
    scale = Projective(a=9.0, b=0.0, c=slant, middle=0, half=1)
    direction, inwards = np.array([0.8, 0.6]), np.array([-0.6, 0.8])
    places = 400 + scale.at(number)[:, None] * direction + up * inwards
    return Ticks(
        index=index - index[0],
        places=places,
        lengths_px=np.full(len(index), 20.0),
        tips=places + 20 * inwards,
        steps_px=scale.step(number),
        misfit=0.01,
        seen=1.0,
        bend=0.02,
        parts=1,
    )


@pytest.mark.parametrize("slant", [0.0, 0.001, -0.0008])
def test_rows_on_both_sides_of_what_is_hidden_are_one(slant: float) -> None:
    left, right = np.arange(3, 30), np.arange(64, 90)
    for one, other in ((left, right), (right, left)):
        joined = join(row(one, slant), row(other, slant))
        assert joined is not None
        assert joined.index.tolist() == [*range(27), *range(61, 87)]
        assert joined.steps_px[0] == pytest.approx(row(left, slant).steps_px[0], rel=2e-3)
        assert joined.steps_px[-1] == pytest.approx(row(right, slant).steps_px[-1], rel=2e-3)
        assert joined.seen == pytest.approx(53 / 87)


def test_rows_that_are_not_of_one_scale_are_not_joined() -> None:
    left, right = np.arange(27), np.arange(60, 90)
    assert join(row(left), row(right, up=30)) is None
    assert join(row(left), row(right, shift=0.5)) is None
    assert join(row(left), row(np.arange(20, 60))) is None


def test_a_unit_that_neither_side_of_what_is_hidden_tells_is_told_by_both() -> None:
    ruler = Ruler(edges=("inch/16", None))
    drawing = drawn(ruler, px_per_mm=6, hidden=0.45, slant_degrees=10.0)
    search = find_ruler(drawing.picture)
    assert search.doubt == ""
    assert abs(error(drawing, search)) < 0.01


def test_every_third_tick_is_no_second_ruler() -> None:
    # Every third tick of a scale by tens is long where every tick of one would be.
    ruler = Ruler(edges=("half mm", None), tick_mm=2.8, growth=1.3)
    drawing = drawn(ruler, px_per_mm=8.3, size=(1000, 1000), degrees=3.7)
    search = find_ruler(drawing.picture)
    assert search.doubt == ""
    assert abs(error(drawing, search)) < 0.01


def test_lengths_at_random_have_no_unit() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        unit = tell_unit(np.arange(60), np.exp(rng.normal(0, 0.4, 60)))
        assert unit is None or unit.margin < 8 or unit.explained < 0.5


@pytest.mark.parametrize("size", [(1, 3300), (3300, 1), (2, LONGEST_PX + 1)])
def test_pictures_of_odd_shapes_have_no_ruler(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 200, np.uint8)
    image[:, ::20] = 0
    assert find_ruler(image).mm_per_px is None
