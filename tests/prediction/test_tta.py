from __future__ import annotations

import numpy as np
import pytest

from fishseg.prediction import tta

PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def test_the_views_are_all_eight_and_differ() -> None:
    turned = [tta.turn(PICTURE, view) for view in range(tta.N_VIEWS)]
    assert len({(image.shape, image.tobytes()) for image in turned}) == 8
    np.testing.assert_array_equal(turned[0], PICTURE)
    np.testing.assert_array_equal(turned[4], PICTURE[:, ::-1])
    np.testing.assert_array_equal(turned[6], PICTURE[::-1])
    assert tta.TTA_VIEWS[4] == (0, 4, 2, 6)
    assert all(turned[view].shape == PICTURE.shape for view in tta.TTA_VIEWS[4])


@pytest.mark.parametrize("view", range(tta.N_VIEWS))
def test_turning_back(view: int) -> None:
    np.testing.assert_array_equal(tta.turn_back(tta.turn(PICTURE, view), view), PICTURE)


@pytest.mark.parametrize("n", tta.TTA_VIEWS)
def test_the_average_is_taken_of_views_turned_back(n: int) -> None:
    truth = np.random.default_rng(0).random((5, 7), np.float32)
    asked = []

    def probability_of(view: int) -> np.ndarray:
        asked.append(view)
        # A model that is right but for one corner, which is another one in each view.
        turned = tta.turn(truth, view).copy()
        turned[0, 0] = 0
        return turned

    found = tta.average(probability_of, n)
    assert len(asked) == len(set(asked)) == n
    assert found.dtype == np.float32
    inside = np.ones_like(truth, bool)
    inside[[0, 0, -1, -1], [0, -1, 0, -1]] = False
    np.testing.assert_allclose(found[inside], truth[inside], rtol=1e-6)
    assert found[0, 0] == pytest.approx(truth[0, 0] * (1 - max(1, n // 4) / n))


def test_views_of_another_resolution_are_brought_to_that_of_the_picture() -> None:
    found = tta.average(lambda view: np.full((4 + view, 6), 0.25, np.float32), 8)
    np.testing.assert_allclose(found, np.full((4, 6), 0.25), rtol=1e-6)
