from __future__ import annotations

import numpy as np
import pytest

from fishseg.audit.grouping import Aligned, align, merge, place
from fishseg.audit.matching import Match

MIRROR = np.diag([-1.0, 1.0, 1.0])


def shift(x: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, 0], [0, 0, 1]], np.float64)


def found(source: int, affine: np.ndarray, likeness: float) -> Match:
    return Match(source, affine, likeness, residual_px=0.1)


def test_pictures_are_aligned_along_chains() -> None:
    # 1 lies on 0 shifted by 3, 3 on 1 by 4; 2 is like nothing enough.
    matches = [
        [],
        [found(0, shift(3), 0.9)],
        [found(0, shift(7), 0.39)],
        [found(1, shift(4), 0.8)],
    ]
    same = align(matches, 0.4)
    assert same.root == [0, 0, 2, 0]
    np.testing.assert_allclose(same.from_root[3], shift(7))
    np.testing.assert_allclose(same.from_root[2], np.eye(3))


def test_a_link_counts_from_either_side() -> None:
    same = align([[found(2, shift(-5), 0.9)], [], []], 0.4)
    assert same.root == [0, 1, 0]
    np.testing.assert_allclose(same.from_root[2], shift(5))


def test_a_copy_is_placed_on_what_it_is_most_like() -> None:
    alone = Aligned([0, 1, 2], [np.eye(3)] * 3)
    placement = place([found(1, shift(2), 0.9), found(0, shift(1), 0.5)], alone, 0.4)
    assert placement is not None
    assert placement.source == 1
    assert placement.confidence == pytest.approx(0.4)
    np.testing.assert_allclose(placement.affine, shift(2))
    assert place([found(1, shift(2), 0.39)], alone, 0.4) is None
    assert place([], alone, 0.4) is None


def test_without_a_rival_likeness_is_confidence() -> None:
    alone = Aligned([0, 1], [np.eye(3)] * 2)
    placement = place([found(1, shift(2), 0.9), found(0, shift(1), -0.2)], alone, 0.4)
    assert placement is not None
    assert placement.confidence == pytest.approx(0.9)


def test_the_mirror_image_is_a_rival() -> None:
    alone = Aligned([0], [np.eye(3)])
    placement = place([found(0, MIRROR, 0.8), found(0, np.eye(3), 0.7)], alone, 0.4)
    assert placement is not None
    assert np.linalg.det(placement.affine) < 0
    assert placement.confidence == pytest.approx(0.1)


def test_twins_are_no_rivals_and_share_a_frame() -> None:
    # 1 is 0 shifted by 10.
    twins = Aligned([0, 0], [np.eye(3), shift(10)])
    placement = place([found(1, shift(2), 0.9), found(0, shift(12), 0.89)], twins, 0.4)
    assert placement is not None
    assert placement.source == 0
    assert placement.confidence == pytest.approx(0.9)
    np.testing.assert_allclose(placement.affine, shift(12))


def test_groupings_merge_to_the_finest_that_holds_all() -> None:
    groups = merge(
        [
            ["a", "a", None, None, None, None],
            [None, "x", "x", "y", "y", None],
            [None, None, None, None, None, None],
        ]
    )
    assert groups == [0, 0, 0, 3, 3, 5]
