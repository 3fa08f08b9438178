"""What the benchmark of rulers counts."""

from __future__ import annotations

import numpy as np

from benchmarks.rulers import Answer, table


def test_answers_are_counted_by_kind() -> None:
    answers = [
        Answer(kind="ruler", number=0, error=0.002, doubt=""),
        Answer(kind="ruler", number=1, error=-0.004, doubt=""),
        Answer(kind="ruler", number=2, error=0.5, doubt=""),
        Answer(kind="ruler", number=3, error=None, doubt="no ruler was found"),
        Answer(kind="decoy", number=0, error=np.inf, doubt=""),
        Answer(kind="market", number=0, error=None, doubt="no ruler was found"),
    ]
    rows = [line.strip("| ").split(" | ") for line in table(answers)[2:]]
    assert rows[0] == ["a ruler", "4", "2", "1", "1", "0.40%"]
    assert rows[1][1:] == ["1", "0", "1", "0", "–"]
    assert rows[2][1:] == ["1", "0", "0", "1", "–"]
    assert rows[3][1:] == ["0", "0", "0", "0", "–"]
