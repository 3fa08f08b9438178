from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fishseg.errors import DataError
from fishseg.params import RobustnessParams
from fishseg.robustness import measure
from fishseg.robustness.corruptions import CORRUPTIONS, SEVERITIES

PARAMS = RobustnessParams(images=3, seed=0)


class RedderThanBlue:
    """A model for orange fish on blue boards that knows no other light."""

    threshold = 0.5

    def probability(self, image: np.ndarray) -> np.ndarray:
        return (image[..., 0] > image[..., 2].astype(int) + 30).astype(np.float32)


@pytest.fixture
def inventory(tmp_path: Path) -> pd.DataFrame:
    """Twelve orange fish of three classes; two of each class are copies of one photograph."""
    rows = []
    for number in range(12):
        image = np.full((60, 80, 3), (40, 70, 130), np.uint8)
        mask = np.zeros((60, 80), np.uint8)
        cv2.ellipse(mask, (40, 30), (20 + number % 4, 9), 15 * number, 0, 360, 255, -1)
        image[mask > 0] = (220, 140, 60)
        for kind, pixels in (("image", image), ("mask", mask)):
            Image.fromarray(pixels).save(tmp_path / f"{kind}{number:02d}.png")
        class_name = "abc"[number // 4]
        rows.append(
            {
                "sample_id": f"{class_name}/{number:02d}",
                "class_name": class_name,
                "group_id": f"{class_name}{max(1, number % 4)}",
                "image_path": str(tmp_path / f"image{number:02d}.png"),
                "mask_path": str(tmp_path / f"mask{number:02d}.png"),
                "mask_rule": ">127",
                "height": 60,
                "width": 80,
            }
        )
    return pd.DataFrame(rows)


@pytest.fixture
def manifest(inventory: pd.DataFrame) -> pd.DataFrame:
    return inventory[["sample_id", "class_name", "group_id"]].assign(split="val")


@pytest.fixture
def result(inventory: pd.DataFrame, manifest: pd.DataFrame) -> measure.RobustnessResult:
    return measure.measure(inventory, manifest, RedderThanBlue(), PARAMS)


def test_one_image_of_each_class_before_a_second_of_any(inventory: pd.DataFrame) -> None:
    for seed in range(5):
        for n_images in range(1, 10):
            chosen = measure.choose_samples(inventory, n_images, seed=seed)
            assert len(chosen) == n_images
            assert chosen["group_id"].is_unique
            assert chosen["class_name"].value_counts().max() == -(-n_images // 3)


def test_no_more_images_than_photographs(inventory: pd.DataFrame) -> None:
    assert len(measure.choose_samples(inventory, 100, seed=0)) == 9


def test_the_choice_follows_the_seed_and_not_the_order_of_the_rows(
    inventory: pd.DataFrame,
) -> None:
    reversed_rows = inventory.iloc[::-1]
    chosen = [
        tuple(measure.choose_samples(rows, 3, seed=seed)["sample_id"])
        for rows in (inventory, reversed_rows)
        for seed in range(10)
    ]
    assert chosen[:10] == chosen[10:]
    assert len(set(chosen)) > 1


def test_only_val_is_looked_at(inventory: pd.DataFrame, manifest: pd.DataFrame) -> None:
    manifest["split"] = np.where(manifest["class_name"] == "b", "val", "test")
    result = measure.measure(inventory, manifest, RedderThanBlue(), PARAMS)
    assert {trial.sample_id[0] for trial in result.examples} == {"b"}


def test_every_corruption_at_every_severity(result: measure.RobustnessResult) -> None:
    expected = [
        ("clean", 0),
        *((name, severity) for name in CORRUPTIONS for severity in SEVERITIES),
    ]
    assert list(zip(result.table["corruption"], result.table["severity"], strict=True)) == expected
    assert [(trial.corruption, trial.severity) for trial in result.examples] == expected
    assert len({trial.sample_id for trial in result.examples}) == 1


def test_a_model_is_measured_against_what_is_to_be_seen(
    result: measure.RobustnessResult,
) -> None:
    summary = result.summary
    assert summary["n_images"] == 3
    assert summary["clean"] == {"mean_iou": 1.0, "boundary_iou": 1.0}
    # The truth turns and shrinks with the image; this model does not mind where fish are.
    assert summary["rotation"]["5"]["mean_iou"] > 0.95
    assert summary["zoom_out"]["4"]["mean_iou"] > 0.9
    # It minds their colour.
    assert summary["colour_cast"]["5"]["mean_iou"] < summary["rotation"]["5"]["mean_iou"]
    assert summary["glare"]["5"]["iou_retained"] < summary["glare"]["1"]["iou_retained"]
    kept = [
        summary[name][str(level)]["iou_retained"] for name in CORRUPTIONS for level in SEVERITIES
    ]
    assert summary["mean_iou_retained"] == pytest.approx(np.mean(kept), abs=1e-5)


def test_the_share_retained_of_a_case_worked_by_hand() -> None:
    rows = [("clean", 0, 0.9), ("clean", 0, 0.7), ("noise", 1, 0.8), ("noise", 1, 0.4)]
    scores = pd.DataFrame(rows, columns=["corruption", "severity", "iou"])
    table = measure.tabulate(scores.assign(boundary_iou=0.5))
    assert list(table["mean_iou"]) == [0.8, 0.6]
    assert list(table["worst_iou"]) == [0.7, 0.4]
    assert list(table["best_iou"]) == [0.9, 0.8]
    assert list(table["iou_retained"]) == [1.0, 0.75]
    summary = measure.summarise(table, 2)
    assert summary == {
        "n_images": 2,
        "mean_iou_retained": 0.75,
        "clean": {"mean_iou": 0.8, "boundary_iou": 0.5},
        "noise": {"1": {"mean_iou": 0.6, "iou_retained": 0.75}},
    }


def test_a_model_that_finds_nothing_retains_nothing() -> None:
    rows = [("clean", 0, 0.0), ("noise", 1, 0.3)]
    scores = pd.DataFrame(rows, columns=["corruption", "severity", "iou"])
    table = measure.tabulate(scores.assign(boundary_iou=0.0))
    assert list(table["iou_retained"]) == [0.0, 0.0]


def test_the_table_holds_the_corruptions_alone_and_the_same_bytes_twice(
    inventory: pd.DataFrame,
    manifest: pd.DataFrame,
    result: measure.RobustnessResult,
    tmp_path: Path,
) -> None:
    again = measure.measure(inventory, manifest, RedderThanBlue(), PARAMS)
    for name, found in (("first", result), ("second", again)):
        measure.write_table(found.table, tmp_path / name)
    written = pd.read_csv(tmp_path / "first/severity.csv")
    assert len(written) == len(CORRUPTIONS) * len(SEVERITIES)
    first, second = (
        (tmp_path / name / "severity.csv").read_bytes() for name in ("first", "second")
    )
    assert first == second


def test_a_file_that_is_gone_is_named(inventory: pd.DataFrame, manifest: pd.DataFrame) -> None:
    for path in inventory["image_path"]:
        Path(path).unlink()
    with pytest.raises(DataError, match=r"image\d\d.png"):
        measure.measure(inventory, manifest, RedderThanBlue(), PARAMS)
