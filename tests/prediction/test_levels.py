from __future__ import annotations

import numpy as np
import pytest

from fishseg.prediction.base import certain_levels
from fishseg.prediction.model import from_levels, level_start, to_levels


@pytest.mark.parametrize("threshold", [0.02, 0.2, 0.4, 0.5, 0.7, 0.9, 0.98])
def test_a_stored_pixel_is_fish_where_it_began_to_be(threshold: float) -> None:
    probability = np.linspace(0, 1, 100_001, dtype=np.float32)
    stored = from_levels(to_levels(probability)) >= threshold
    assert np.array_equal(stored, probability >= np.float32(level_start(threshold)))
    assert abs(level_start(threshold) - threshold) < 1 / 256


@pytest.mark.parametrize("threshold", [0.2, 0.4, 0.5, 0.7, 0.9])
def test_nothing_of_a_part_that_is_nowhere_certain_is_left(threshold: float) -> None:
    """Pixels just below the threshold are rounded to just above it: they are parts, too."""
    probability = np.full((1, 9, 9), threshold - 0.0005, np.float32)
    probability[0, 3:6, 3:6] = threshold + 0.01
    kept = certain_levels(probability, 0.99, threshold)
    assert not (from_levels(kept[0]) >= threshold).any()
