"""Parts that are nowhere certain: taken back, and how certain is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from fishseg.metrics.hysteresis import CANDIDATES, CertaintySearch, keep_certain


def picture(*parts: tuple[slice, float]) -> np.ndarray:
    """``(8, 30)``, rows 2 to 5 of each part's columns of a probability, surest in its middle."""
    found = np.full((8, 30), 0.1, np.float32)
    for columns, peak in parts:
        found[2:6, columns] = 0.55
        found[4, (columns.start + columns.stop) // 2] = peak
    return found


def test_a_part_without_a_certain_pixel_is_taken_back_and_another_stays() -> None:
    fish, glare = slice(2, 12), slice(16, 26)
    maps = picture((fish, 0.99), (glare, 0.7))[None]
    kept = keep_certain(maps, 0.9, 0.5)
    assert np.array_equal(kept[0, :, fish], maps[0, :, fish])
    assert (kept[0, :, glare] < 0.5).all()
    assert kept[0, 4, 21] == np.float32(0.35), "what was surer stays surer"
    assert maps[0, 4, 21] == np.float32(0.7), "what is given is not changed"


def test_parts_that_touch_at_a_corner_are_one() -> None:
    maps = np.zeros((1, 4, 4), np.float32)
    maps[0, :2, :2], maps[0, 2:, 2:] = 0.95, 0.6
    assert np.array_equal(keep_certain(maps, 0.9, 0.5), maps)


def test_nothing_is_asked_of_a_certainty_of_0() -> None:
    maps = picture((slice(2, 12), 0.6))[None]
    assert keep_certain(maps, 0.0, 0.5) is maps


def test_a_second_map_stays_as_it_is() -> None:
    maps = np.stack([picture((slice(2, 12), 0.6)), picture((slice(2, 12), 0.7))])
    kept = keep_certain(maps, 0.9, 0.5)
    assert not (kept[0] >= 0.5).any()
    assert np.array_equal(kept[1], maps[1])


@given(
    arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=16)),
    st.sampled_from(CANDIDATES),
    st.sampled_from([0.125, 0.3, 0.5, 0.75]),
)
def test_a_part_is_kept_whole_or_left_out_whole_at_any_threshold(
    probability: np.ndarray, certainty: float, threshold: float
) -> None:
    labels, n_parts = ndimage.label(probability >= np.float32(threshold), structure=np.ones((3, 3)))
    expected = np.zeros(probability.shape, bool)
    for part in range(1, n_parts + 1):
        inside = labels == part
        expected |= inside & (probability[inside].max() >= certainty)
    kept = keep_certain(probability[None], certainty, threshold)[0]
    assert np.array_equal(kept >= np.float32(threshold), expected)


def test_val_asks_for_what_tells_fish_from_glare() -> None:
    search = CertaintySearch()
    fish, glare = slice(2, 12), slice(16, 26)
    truth = picture((fish, 0.99)) >= 0.5
    search.add(picture((fish, 0.97), (glare, 0.78)), truth)
    search.add(picture((glare, 0.65)), np.zeros_like(truth))
    assert search.best() == 0.8


def test_val_asks_for_nothing_where_fish_are_nowhere_certain() -> None:
    search = CertaintySearch()
    unsure = picture((slice(2, 12), 0.58))
    search.add(unsure, unsure >= 0.5)
    assert search.best() == 0.0


def test_pixels_that_do_not_count_decide_nothing() -> None:
    fish, glare = slice(2, 12), slice(16, 26)
    probability = picture((fish, 0.75), (glare, 0.62))
    truth = picture((fish, 0.99)) >= 0.5
    valid = np.ones(truth.shape, bool)
    valid[:, glare] = False
    all_count, some_count = CertaintySearch(), CertaintySearch()
    all_count.add(probability, truth)
    some_count.add(probability, truth, valid)
    assert (all_count.best(), some_count.best()) == (0.7, 0.0)


@given(
    st.lists(
        st.tuples(
            arrays(np.float32, (5, 6), elements=st.floats(0, 1, width=16)),
            arrays(np.bool_, (5, 6)),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_best_is_the_best_of_masks_cut_one_by_one(
    pictures: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    search = CertaintySearch()
    means = []
    for probability, truth in pictures:
        search.add(probability, truth)
    for certainty in CANDIDATES:
        ious = []
        for probability, truth in pictures:
            mask = keep_certain(probability[None], certainty, 0.5)[0] >= 0.5
            union = (mask | truth).sum()
            ious.append((mask & truth).sum() / union if union else 1.0)
        means.append(np.mean(ious))
    assert means[CANDIDATES.index(search.best())] == pytest.approx(max(means), abs=1e-8)
