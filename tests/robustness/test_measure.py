from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fishseg.errors import DataError
from fishseg.params import RobustnessParams
from fishseg.robustness import measure
from fishseg.robustness.corruptions import CORRUPTIONS, MOVES
from fishseg.robustness.measure import DEGREES

PARAMS = RobustnessParams(images=9, corruptions=4, seed=0)


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
                "mask_status": "ok",
                "split": "val",
                "height": 60,
                "width": 80,
            }
        )
    return pd.DataFrame(rows)


@pytest.fixture
def result(inventory: pd.DataFrame) -> measure.RobustnessResult:
    return measure.measure(inventory, RedderThanBlue(), PARAMS)


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


def test_only_val_is_looked_at(inventory: pd.DataFrame) -> None:
    inventory["split"] = np.where(inventory["class_name"] == "b", "val", "test")
    result = measure.measure(inventory, RedderThanBlue(), PARAMS)
    assert {trial.sample_id[0] for trial in result.examples} == {"b"}


def test_examples_are_kept_as_the_model_saw_them(
    result: measure.RobustnessResult, tmp_path: Path
) -> None:
    measure.write_examples(result.examples, tmp_path / "examples")
    table = pd.read_csv(tmp_path / "examples/examples.csv")
    assert list(zip(table["corruption"], table["severity"], strict=True)) == CELLS
    for row, trial in zip(table.itertuples(), result.examples, strict=True):
        assert row.iou == pytest.approx(trial.scores["iou"], abs=1e-6)
        image = np.asarray(Image.open(tmp_path / "examples" / str(row.image)))
        prediction = np.asarray(Image.open(tmp_path / "examples" / str(row.prediction)))
        np.testing.assert_array_equal(image, trial.image)
        np.testing.assert_array_equal(prediction, trial.prediction)


CELLS = [(name, severity) for name in CORRUPTIONS for severity in DEGREES]


@pytest.mark.parametrize("seed", [0, 1, 42])
@pytest.mark.parametrize("n_corruptions", [1, 4, len(CORRUPTIONS), len(CELLS), 1000])
@pytest.mark.parametrize("n_photos", [1, 2, 9, len(CORRUPTIONS), len(CELLS), 50])
def test_photographs_together_meet_every_corruption_equally_often(
    n_photos: int, n_corruptions: int, seed: int
) -> None:
    ways = measure.deal(n_photos, n_corruptions, seed=seed)
    assert len(ways) == n_photos
    expected = min(max(n_corruptions, -(-len(CELLS) // n_photos)), len(CELLS))
    assert {len(own) for own in ways} == {expected}
    for own in ways:
        assert len(set(own)) == len(own)
        if len(own) <= len(CORRUPTIONS):
            assert len({name for name, _ in own}) == len(own)
    counts = Counter(cell for own in ways for cell in own)
    assert set(counts) == set(CELLS)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_deal_follows_the_seed() -> None:
    assert measure.deal(9, 4, seed=1) == measure.deal(9, 4, seed=1)
    assert measure.deal(9, 4, seed=1) != measure.deal(9, 4, seed=2)


def test_every_corruption_at_every_degree(result: measure.RobustnessResult) -> None:
    assert list(zip(result.table["corruption"], result.table["severity"], strict=True)) == CELLS
    assert [(trial.corruption, trial.severity) for trial in result.examples] == CELLS
    assert result.table["n_images"].sum() == result.summary["n_trials"] == 9 * 4
    assert result.summary["n_images"] == 9
    assert len({trial.sample_id for trial in result.examples}) == 9


def test_a_model_is_measured_against_what_is_to_be_seen(inventory: pd.DataFrame) -> None:
    every = RobustnessParams(images=3, corruptions=len(CELLS), seed=0)
    summary = measure.measure(inventory, RedderThanBlue(), every).summary
    assert (summary["n_images"], summary["n_trials"]) == (3, 3 * len(CELLS))
    assert summary["clean"] == {"mean_iou": 1.0, "boundary_iou": 1.0}
    # The truth turns and shrinks with the image; this model does not mind where fish are.
    assert summary["rotation"]["5"]["mean_iou"] > 0.95
    assert summary["zoom_out"]["3"]["mean_iou"] > 0.9
    # It minds their colour.
    assert summary["colour_cast"]["5"]["mean_iou"] < summary["rotation"]["5"]["mean_iou"]
    assert summary["glare"]["5"]["iou_retained"] < summary["glare"]["1"]["iou_retained"]
    kept = [summary[name][str(degree)]["iou_retained"] for name, degree in CELLS]
    assert summary["mean_iou_retained"] == pytest.approx(np.mean(kept), abs=1e-5)
    for one in (summary[name] for name in CORRUPTIONS):
        assert one["ci_low"] <= one["iou_retained"] <= one["ci_high"]
    assert summary["retained_ci_low"] < summary["mean_iou_retained"] < summary["retained_ci_high"]


def trial(photo: str, name: str, severity: int, iou: float, clean: float) -> dict[str, Any]:
    return {
        "group_id": photo,
        "corruption": name,
        "severity": severity,
        "iou": iou,
        "boundary_iou": 0.5,
        "clean_iou": clean,
        "clean_boundary_iou": 0.6,
    }


def test_the_share_retained_of_a_case_worked_by_hand() -> None:
    scores = pd.DataFrame(
        [
            trial("a", "noise", 1, 0.8, 0.9),
            trial("b", "noise", 1, 0.4, 0.7),
            trial("b", "glare", 5, 0.35, 0.7),
        ]
    )
    table = measure.tabulate(scores)
    assert list(table["corruption"]) == ["glare", "noise"]  # the order of the corruptions
    assert list(table["n_images"]) == [1, 2]
    assert list(table["mean_iou"]) == [0.35, 0.6]
    assert list(table["iou_retained"]) == [0.5, 0.75]
    summary = measure.summarise_trials(scores, table)
    # Of 0.9 + 0.7 + 0.7 it keeps 0.8 + 0.4 + 0.35; photograph b alone 0.75 of 1.4, a 0.8 of 0.9.
    assert summary["mean_iou_retained"] == pytest.approx(1.55 / 2.3, abs=1e-6)
    assert summary["retained_ci_low"] == pytest.approx(0.75 / 1.4, abs=1e-6)
    assert summary["retained_ci_high"] == pytest.approx(0.8 / 0.9, abs=1e-6)
    assert summary["clean"] == {"mean_iou": 0.8, "boundary_iou": 0.6}
    assert summary["glare"] == {
        "iou_retained": 0.5,
        "ci_low": 0.5,
        "ci_high": 0.5,
        "5": {"mean_iou": 0.35, "iou_retained": 0.5},
    }


def test_a_model_that_finds_nothing_retains_nothing() -> None:
    scores = pd.DataFrame([trial("a", "noise", 1, 0.3, 0.0), trial("b", "noise", 3, 0.0, 0.0)])
    table = measure.tabulate(scores)
    assert list(table["iou_retained"]) == [0.0, 0.0]
    assert measure.summarise_trials(scores, table)["mean_iou_retained"] == 0.0


def test_the_table_holds_the_corruptions_alone_and_the_same_bytes_twice(
    inventory: pd.DataFrame,
    result: measure.RobustnessResult,
    tmp_path: Path,
) -> None:
    again = measure.measure(inventory, RedderThanBlue(), PARAMS)
    for name, found in (("first", result), ("second", again)):
        measure.write_table(found.table, tmp_path / name)
    written = pd.read_csv(tmp_path / "first/severity.csv")
    assert len(written) == len(CELLS)
    first, second = (
        (tmp_path / name / "severity.csv").read_bytes() for name in ("first", "second")
    )
    assert first == second


def test_a_file_that_is_gone_is_named(inventory: pd.DataFrame) -> None:
    for path in inventory["image_path"]:
        Path(path).unlink()
    with pytest.raises(DataError, match=r"image\d\d.png"):
        measure.measure(inventory, RedderThanBlue(), PARAMS)


@pytest.mark.parametrize("name", sorted(MOVES))
def test_what_nobody_labelled_moves_with_the_picture(
    name: str, inventory: pd.DataFrame, tmp_path: Path
) -> None:
    """The model is right wherever a mask says anything, and wrong where it says nothing."""
    row = inventory.iloc[[0]].assign(mask_rule="fish: 255; ignore: 128")
    picture = np.array(Image.open(row["image_path"][0]))
    mask = np.array(Image.open(row["mask_path"][0]))
    picture[5:15, 5:20], mask[5:15, 5:20] = (220, 140, 60), 128  # may be a fish, or may not
    Image.fromarray(picture).save(tmp_path / "image00.png")
    Image.fromarray(mask).save(tmp_path / "mask00.png")
    ways = [[(name, degree) for degree in DEGREES]]
    for trial in measure.trials(row, ways, RedderThanBlue(), seed=0):
        # What is interpolated at the borders is a pixel of either side.
        assert trial.scores["iou"] > (0.9 if trial.corruption == name else 0.999)
