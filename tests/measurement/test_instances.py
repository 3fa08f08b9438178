from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fishseg.measurement.instances import MIN_SHARE, find_fish
from fishseg.metrics.confidence import stability


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
