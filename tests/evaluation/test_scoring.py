from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from fishseg.evaluation import files, scoring
from fishseg.metrics.calibration import LogitHistogram


def predicted(
    logits: np.ndarray,
    truth: np.ndarray,
    *,
    split: str = "val",
    mask_status: str = "ok",
    temperature: float = 1.0,
) -> scoring.Predicted:
    probability = expit(logits / temperature).astype(np.float32)
    return scoring.Predicted(
        sample=SimpleNamespace(split=split, mask_status=mask_status),
        mask=probability >= 0.5,
        confidence=0.9,
        working_probability=probability,
        working_mask=probability >= 0.5,
        working_truth=truth,
    )


def scores(confidence: list[float], iou: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"split": "val", "confidence": confidence, "iou": iou})


def test_logits_are_counted_as_they_were_before_the_temperature() -> None:
    logits = np.linspace(-4, 4, 81).reshape(9, 9)
    truth = logits > 0
    histograms = {"val": LogitHistogram()}
    given = [predicted(logits, truth, temperature=0.25)]
    assert list(scoring.count_logits(given, histograms, 0.25)) == given
    table = histograms["val"].reliability(1.0)
    mean = (table["probability"] * table["n_pixels"]).sum() / table["n_pixels"].sum()
    assert mean == pytest.approx(expit(logits).mean(), abs=1e-3)
    assert table["n_pixels"].iloc[0] == (expit(logits) < 1 / 15).sum()


def test_other_splits_and_rejected_masks_are_passed_on_but_not_counted() -> None:
    logits, truth = np.zeros((2, 3)), np.zeros((2, 3), np.bool_)
    given = [
        predicted(logits, truth),
        predicted(logits, truth, split="train"),
        predicted(logits, truth, mask_status="rejected"),
    ]
    histograms = {"val": LogitHistogram(), "test": LogitHistogram()}
    assert list(scoring.count_logits(given, histograms, 1.0)) == given
    assert histograms["val"].reliability(1.0)["n_pixels"].sum() == 6
    assert histograms["test"].reliability(1.0)["n_pixels"].sum() == 0


def test_a_confidence_in_the_order_of_the_iou_is_as_good_as_can_be() -> None:
    found = scoring.summarise_confidence(scores([0.1, 0.3, 0.2], [0.5, 0.9, 0.8]))
    # Best first: risks 0.1, 0.2, 0.5; means of the first one, two and three: 0.1, 0.15, 0.8 / 3.
    area = (0.1 + 0.15 + 0.8 / 3) / 3
    assert found == {
        "spearman": 1.0,
        "aurc": pytest.approx(area, abs=1e-6),
        "aurc_optimal": pytest.approx(area, abs=1e-6),
        "aurc_random": pytest.approx(0.8 / 3, abs=1e-6),
    }


def test_a_confidence_in_the_reverse_order_is_worse_than_chance() -> None:
    found = scoring.summarise_confidence(scores([0.3, 0.1, 0.2], [0.5, 0.9, 0.8]))
    assert found["spearman"] == -1.0
    assert found["aurc"] > found["aurc_random"] > found["aurc_optimal"]


def test_a_rank_correlation_that_is_not_defined_is_left_out() -> None:
    assert "spearman" not in scoring.summarise_confidence(scores([0.5, 0.5], [0.8, 0.9]))
    assert "spearman" not in scoring.summarise_confidence(scores([0.5], [0.8]))


def test_the_risk_coverage_table_says_what_is_kept(tmp_path: Path) -> None:
    files.write_risk_coverage(scores([0.3, 0.2], [0.6, 0.8]), tmp_path)
    table = pd.read_csv(tmp_path / "risk_coverage.csv")
    assert table.to_dict("list") == {
        "split": ["val", "val"],
        "coverage": [0.5, 1.0],
        "risk": [0.4, 0.3],
        "optimal_risk": [0.2, 0.3],
    }
    assert (tmp_path / "pictures/risk_coverage.png").exists()


def test_the_reliability_table_has_both_temperatures_of_each_split(tmp_path: Path) -> None:
    histograms = {"val": LogitHistogram(), "test": LogitHistogram()}
    logits = np.linspace(-4, 4, 80).reshape(8, 10)
    list(scoring.count_logits([predicted(logits, logits > 0)], histograms, 1.0))
    files.write_reliability(histograms, 0.5, tmp_path)
    table = pd.read_csv(tmp_path / "reliability.csv")
    n_pixels = table.groupby(["split", "calibrated"])["n_pixels"].sum()
    assert n_pixels.to_dict() == {("test", 0): 0, ("test", 1): 0, ("val", 0): 80, ("val", 1): 80}
    assert (tmp_path / "pictures/reliability.png").exists()
