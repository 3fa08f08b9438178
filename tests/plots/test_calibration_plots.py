from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fishseg import plots
from fishseg.metrics.calibration import LogitHistogram

if TYPE_CHECKING:
    from pathlib import Path


def table(splits: list[str]) -> pd.DataFrame:
    rng = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(5000, generator=rng)
    target = (torch.rand(5000, generator=rng) < (logits / 2).sigmoid()).float()
    histogram = LogitHistogram()
    histogram.add(logits, target)
    return pd.concat(histogram.reliability(2.0).assign(split=split) for split in splits)


def kept(splits: list[str]) -> pd.DataFrame:
    coverage = np.arange(1, 21) / 20
    columns = {"coverage": coverage, "risk": 0.1 * coverage, "optimal_risk": 0.1 * coverage**2}
    return pd.concat(pd.DataFrame({"split": split, **columns}) for split in splits)


@pytest.mark.parametrize("splits", [["val"], ["val", "test"]])
def test_a_column_a_split_and_the_same_bytes_twice(tmp_path: Path, splits: list[str]) -> None:
    for name in ("first", "second"):
        plots.reliability(table(splits), tmp_path / name / "reliability.png")
        plots.risk_coverage(kept(splits), tmp_path / name / "risk.png")
    for picture in ("reliability.png", "risk.png"):
        width = Image.open(tmp_path / "first" / picture).width
        assert width == pytest.approx(110 * (0.6 + 4.2 * len(splits)), abs=1)
        first, second = ((tmp_path / name / picture).read_bytes() for name in ("first", "second"))
        assert first == second


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    empty = LogitHistogram().reliability(1.0).assign(split="val")
    plots.reliability(empty, tmp_path / "reliability.png")
    plots.risk_coverage(kept(["val"]).iloc[:0], tmp_path / "risk.png")
    assert (tmp_path / "reliability.png").exists()
    assert (tmp_path / "risk.png").exists()
