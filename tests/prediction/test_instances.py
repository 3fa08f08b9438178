from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fishseg.metrics.confidence import stability
from fishseg.prediction.instances import MIN_SHARE, find_fish, fish_of_objects, split


def picture(*boxes: tuple[int, int, int, int, float]) -> NDArray[np.float32]:
    """Probability 0 with boxes ``left, top, width, height, probability``."""
    probability = np.zeros((60, 100), np.float32)
    for left, top, width, height, value in boxes:
        probability[top : top + height, left : left + width] = value
    return probability


def test_nothing_in_an_empty_picture() -> None:
    assert find_fish(picture(), 0.5) == []


def test_each_part_is_a_fish_the_largest_first() -> None:
    found = find_fish(picture((5, 5, 10, 4, 0.9), (40, 20, 30, 8, 0.8)), 0.5)
    assert [(fish.origin, fish.mask.shape) for fish in found] == [
        ((40, 20), (8, 30)),
        ((5, 5), (4, 10)),
    ]
    assert all(fish.mask.all() and not fish.cut_off for fish in found)


def test_parts_that_touch_at_a_corner_are_one() -> None:
    (fish,) = find_fish(picture((10, 10, 10, 10, 1), (20, 20, 10, 10, 1)), 0.5)
    assert fish.mask.shape == (20, 20)
    assert fish.mask.sum() == 200


def test_specks_are_left_out_and_the_share_is_the_caller_s() -> None:
    probability = picture((10, 10, 50, 20, 1), (80, 40, 5, 5, 1))  # 1000 and 25 pixels
    assert MIN_SHARE * 1000 > 25
    assert len(find_fish(probability, 0.5)) == 1
    assert len(find_fish(probability, 0.5, min_share=0.025)) == 2
    assert len(find_fish(probability, 0.5, min_share=0)) == 2


def test_the_threshold_itself_is_fish() -> None:
    assert len(find_fish(picture((10, 10, 5, 5, 0.5)), 0.5)) == 1


@pytest.mark.parametrize("box", [(0, 9, 5, 5), (9, 0, 5, 5), (95, 9, 5, 5), (9, 55, 5, 5)])
def test_a_fish_at_the_border_is_cut_off(box: tuple[int, int, int, int]) -> None:
    (fish,) = find_fish(picture((*box, 1.0)), 0.5)
    assert fish.cut_off


def test_confidence_of_one_fish_by_hand() -> None:
    # 100 sure pixels, and a seam of 20 that only the generous mask takes.
    (fish,) = find_fish(picture((40, 20, 10, 10, 0.9), (50, 20, 2, 10, 0.4)), 0.5)
    assert fish.confidence == pytest.approx(100 / 120)


def test_another_fish_does_not_lower_the_confidence() -> None:
    # The right one is all above the threshold, but below that of the strict mask.
    both = picture((40, 20, 20, 10, 0.9), (61, 20, 20, 9, 0.6))
    assert stability(both, 0.5) < 0.6
    sure, unsure = find_fish(both, 0.5)
    assert sure.confidence == 1
    assert unsure.confidence == 0


# Fish that touch


def interior_of(*cores: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """A second map that is low but for boxes ``left, top, width, height``."""
    return picture(*((*core, 1.0) for core in cores)) * np.float32(0.8) + np.float32(0.1)


def test_two_that_touch_are_told_apart_where_the_second_map_is_low() -> None:
    both = picture((10, 20, 60, 10, 0.9))
    found = find_fish(both, 0.5, interior=interior_of((12, 20, 20, 10), (40, 20, 28, 10)))
    assert [fish.mask.sum() for fish in found] == [
        pytest.approx(340, abs=20),
        pytest.approx(260, abs=20),
    ]
    assert sum(fish.mask.sum() for fish in found) == 600  # nothing is lost between them
    assert len(find_fish(both, 0.5)) == 1


def test_the_line_between_fish_follows_the_valley() -> None:
    mask = np.ones((40, 60), bool)
    rows, columns = np.mgrid[:40, :60]
    # A valley from the top at column 15 to the bottom at column 45.
    off = np.abs(columns - 15 - 30 * rows / 39)
    interior = np.clip(off / 6, 0, 1).astype(np.float32)
    labels = split(mask, interior)
    assert len(np.unique(labels)) == 2
    sides = columns > 15 + 30 * rows / 39
    clear = off > 2
    assert len(np.unique(labels[sides & clear])) == len(np.unique(labels[~sides & clear])) == 1


def test_a_part_with_one_seed_or_none_stays_whole() -> None:
    probability = picture((5, 5, 20, 10, 0.9), (40, 5, 20, 10, 0.9), (5, 30, 40, 10, 0.9))
    interior = interior_of((10, 7, 5, 5), (6, 31, 15, 8), (28, 31, 15, 8))
    found = find_fish(probability, 0.5, interior=interior)
    upper = [fish for fish in found if fish.origin[1] == 5]
    lower = [fish for fish in found if fish.origin[1] == 30]
    assert [fish.mask.sum() for fish in upper] == [200, 200]
    assert [fish.mask.sum() for fish in lower] == [pytest.approx(200, abs=12)] * 2
    assert sum(fish.mask.sum() for fish in lower) == 400


def test_a_speck_of_a_seed_splits_nothing() -> None:
    probability = picture((5, 5, 80, 40, 0.9))
    interior = interior_of((8, 8, 40, 30), (70, 20, 3, 3))
    (fish,) = find_fish(probability, 0.5, interior=interior)
    assert fish.mask.all()


def test_without_a_valley_the_fish_are_those_of_the_mask() -> None:
    probability = picture((5, 5, 10, 4, 0.9), (40, 20, 30, 8, 0.8), (0, 50, 100, 10, 0.7))
    plain = find_fish(probability, 0.5)
    apart = find_fish(probability, 0.5, interior=np.ones_like(probability))
    assert len(plain) == len(apart) == 3
    for one, other in zip(plain, apart, strict=True):
        assert (one.origin, one.confidence, one.cut_off) == (
            other.origin,
            other.confidence,
            other.cut_off,
        )
        np.testing.assert_array_equal(one.mask, other.mask)


def test_a_fish_beside_another_keeps_its_own_confidence() -> None:
    # The left one is sure; the right one is above the threshold, but not the strict mask's.
    both = picture((10, 20, 30, 10, 0.95), (40, 20, 20, 10, 0.6))
    found = find_fish(both, 0.5, interior=interior_of((12, 21, 24, 8), (44, 21, 14, 8)))
    left, right = sorted(found, key=lambda fish: fish.origin)
    assert left.confidence == pytest.approx(1, abs=0.15)
    assert right.confidence == pytest.approx(0, abs=0.15)


def test_fish_that_a_mask_numbers() -> None:
    objects = np.zeros((60, 100), np.int32)
    objects[10:20, 10:40] = 5
    objects[10:20, 40:80] = 2
    objects[58:60, 97:100] = 9  # a speck
    first, second = fish_of_objects(objects)
    assert (first.origin, first.mask.shape, first.confidence) == ((40, 10), (10, 40), None)
    assert (second.origin, second.mask.shape, second.cut_off) == ((10, 10), (10, 30), False)
    assert len(fish_of_objects(objects, min_share=0)) == 3
    assert fish_of_objects(np.zeros((5, 5), np.int32)) == []
