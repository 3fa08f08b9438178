from __future__ import annotations

import numpy as np
import pytest

from fishseg.metrics.selection import uncertainty, weighted_k_centre


def test_uncertainty_by_hand() -> None:
    probability = np.array([[0.9, 0.6], [0.2, 0.0]])
    assert uncertainty(probability, 0.5) == pytest.approx(1 - 1.5 / 2.2)
    assert uncertainty(np.array([[1.0, 0.0]]), 0.5) == 0
    assert uncertainty(np.zeros((3, 3)), 0.5) == 1


def test_equal_weights_cover_what_there_is() -> None:
    points = np.array([[0.0, 0], [0.1, 0], [5, 0], [5, 0.1], [0, 9]])
    chosen = weighted_k_centre(points, np.ones(5), 3)
    assert chosen[0] == 0
    assert chosen[1] == 4
    assert chosen[2] in (2, 3)


def test_the_uncertain_of_what_is_alike_comes_first() -> None:
    points = np.array([[0.0, 0], [4, 0], [4, 3], [-4, 0]])
    assert weighted_k_centre(points, np.array([0.9, 0.1, 0.5, 0.2]), 2) == [0, 2]


def test_more_than_there_are_gives_all_once() -> None:
    points = np.zeros((4, 2))
    assert sorted(weighted_k_centre(points, np.zeros(4), 9)) == [0, 1, 2, 3]
