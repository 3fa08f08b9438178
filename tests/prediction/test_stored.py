from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from fishseg.prediction import stored


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
