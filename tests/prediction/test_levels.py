from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from fishseg.metrics.hysteresis import keep_certain
from fishseg.prediction import stored
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
    kept = keep_certain(probability, 0.99, level_start(threshold))
    assert not (from_levels(to_levels(kept[0])) >= threshold).any()


def test_a_shard_of_large_answers_holds_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of pictures at their own size, 64 would not be held in memory."""
    monkeypatch.setattr(stored, "_SHARD_BYTES", 250)
    sample = namedtuple("sample", ["sample_id", "width", "height"])
    levels = [np.full((10, 10), number, np.uint8) for number in range(7)]
    said = [
        stored.Predicted(sample=sample(str(number), 10, 10), levels=one)
        for number, one in enumerate(levels)
    ]
    stored.write_predictions(said, tmp_path, {})
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    read = stored.Predictions(tmp_path)
    assert [int(one.levels[0, 0]) for one in read] == list(range(7))
