from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fishseg.evaluation import files, scoring
from fishseg.prediction.stored import Predicted


def scores(confidence: list[float], iou: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"split": "val", "confidence": confidence, "iou": iou})


def predicted(folder: Path, name: str, *, split: str = "val", status: str = "ok") -> Predicted:
    """A prediction of half a picture; the mask's left half is fish, and so is a third of ours."""
    mask = np.zeros((8, 12), np.uint8)
    mask[:, :6] = 255
    Image.fromarray(mask).save(folder / f"{name}.png")
    levels = np.zeros((4, 6), np.uint8)
    levels[:, :2] = 204  # 0.8
    sample = SimpleNamespace(
        sample_id=name,
        class_name="Trout",
        group_id=name,
        mask_status=status,
        split=split,
        mask_rule=">127",
        raw_mask_rule=">127",
        mask_path=str(folder / f"{name}.png"),
        raw_mask_path=str(folder / f"{name}.png"),
        width=12,
        height=8,
    )
    return Predicted(sample=sample, levels=levels)


def test_pixels_are_counted_by_split_without_rejected_masks(tmp_path: Path) -> None:
    given = [
        predicted(tmp_path, "a"),
        predicted(tmp_path, "b", split="train"),
        predicted(tmp_path, "c", status="rejected"),
    ]
    found = scoring.score(given, 3, threshold=0.5)
    assert list(found.table["sample_id"]) == ["a", "b", "c"]
    # Of the working size's 24 pixels 8 are said to be fish, and are; of the others, 4 are.
    assert list(found.table["batch_intersection"]) == [8, 8, 8]
    assert list(found.table["batch_union"]) == [12, 12, 12]
    table = found.levels["val"].reliability()
    assert list(table["n_pixels"][table["n_pixels"] > 0]) == [16, 8]
    assert list(table["fish_fraction"].dropna()) == [0.25, 1.0]
    assert set(found.levels) == {"val", "train"}


def test_the_threshold_decides_what_is_fish(tmp_path: Path) -> None:
    half, nothing = (
        scoring.score([predicted(tmp_path, "a")], 1, threshold=threshold).table.iloc[0]
        for threshold in (0.5, 0.9)
    )
    # At the original size the outline lies between columns 4 and 5, of 6 columns of fish.
    assert half["iou"] == pytest.approx(4 / 6)
    assert nothing["iou"] == nothing["batch_intersection"] == 0


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


def test_the_risk_coverage_table_says_what_is_kept() -> None:
    table = files.tabulate_risk_coverage(scores([0.3, 0.2], [0.6, 0.8])).round(6)
    assert table.to_dict("list") == {
        "split": ["val", "val"],
        "coverage": [0.5, 1.0],
        "risk": [0.4, 0.3],
        "optimal_risk": [0.2, 0.3],
    }


def test_the_summary_holds_what_people_compare() -> None:
    val = {"mean_iou": 0.9, "iou_ci_low": 0.8, "iou_ci_high": 1.0, "boundary_iou": 0.7}
    more = {"n_groups": 3, "dice": 0.5, "per_class": {"trout": {"mean_iou": 0.9}}}
    found = files.headline(
        {"train": val, "val": {**val, **more}, "test": {"n_images": 0, "n_groups": 0}}
    )
    assert found == {
        "val": {
            "mean_iou": 0.9,
            "iou_ci_low": 0.8,
            "iou_ci_high": 1.0,
            "boundary_iou": 0.7,
            "n_groups": 3,
        },
        "test": {"n_groups": 0},
    }


def test_the_risk_coverage_table_of_many_images_stays_small() -> None:
    n = 3 * files.CURVE_POINTS
    table = files.tabulate_risk_coverage(scores([0.5] * n, [i / n for i in range(n)]))
    assert len(table) == files.CURVE_POINTS
    assert table["coverage"].iloc[-1] == 1
