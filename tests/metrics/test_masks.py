from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import scipy.stats
import sklearn.metrics
import torch

from fishseg.errors import DataError
from fishseg.metrics import masks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

EMPTY = np.zeros((4, 5), bool)
FULL = np.ones((4, 5), bool)
SMALL = np.array([[1, 1, 0, 0, 0]] + [[0, 0, 0, 0, 0]] * 3, bool)


def blob(seed: int, shape: tuple[int, int] = (89, 118)) -> Mask:
    """A smooth random shape that reaches the frame."""
    noise = np.random.default_rng(seed).normal(size=shape)
    mask: Mask = scipy.ndimage.gaussian_filter(noise, min(shape) / 10) > 0
    return mask


def table(ious: list[float], groups: list[str], **columns: Any) -> pd.DataFrame:
    """Scores of images that share one value for everything that a test does not look at."""
    rows = pd.DataFrame({"iou": ious, "group_id": groups})
    plain: dict[str, Any] = {
        "sample_id": [f"Trout/{i:05d}" for i in range(len(ious))],
        "class_name": "Trout",
        "dice": 0.5,
        "precision": 0.5,
        "recall": 0.5,
        "boundary_iou": 0.5,
        "intersection": 1,
        "union": 2,
        "batch_intersection": 1,
        "batch_union": 2,
    }
    return rows.assign(**{**plain, **columns})


def test_scores_of_a_case_worked_by_hand() -> None:
    truth = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]], bool)
    prediction = np.array([[0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]], bool)

    counts = masks.overlap_counts(prediction, truth)

    assert counts == masks.Counts(intersection=4, union=9, predicted=7, actual=6)
    assert masks.iou(counts) == 4 / 9
    assert masks.dice(counts) == 8 / 13
    assert masks.precision(counts) == 4 / 7
    assert masks.recall(counts) == 4 / 6


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_scikit_learn(seed: int) -> None:
    prediction, truth = blob(seed), blob(seed + 100)
    counts = masks.overlap_counts(prediction, truth)
    flat = (truth.ravel(), prediction.ravel())

    assert masks.iou(counts) == pytest.approx(sklearn.metrics.jaccard_score(*flat))
    assert masks.dice(counts) == pytest.approx(sklearn.metrics.f1_score(*flat))
    assert masks.precision(counts) == pytest.approx(sklearn.metrics.precision_score(*flat))
    assert masks.recall(counts) == pytest.approx(sklearn.metrics.recall_score(*flat))


@pytest.mark.parametrize(
    ("prediction", "truth", "overlap", "precision", "recall"),
    [
        (EMPTY, EMPTY, 1, 1, 1),
        (EMPTY, SMALL, 0, 0, 0),
        (SMALL, EMPTY, 0, 0, 0),
        (SMALL, SMALL, 1, 1, 1),
        (FULL, FULL, 1, 1, 1),
        (SMALL, ~SMALL, 0, 0, 0),
    ],
)
def test_empty_and_extreme_masks(
    prediction: Mask, truth: Mask, overlap: int, precision: int, recall: int
) -> None:
    score = masks.score_image(prediction, truth)

    assert score["iou"] == score["dice"] == score["boundary_iou"] == overlap
    assert score["precision"] == precision
    assert score["recall"] == recall


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="118x89 pixels and its ground truth 10x20"):
        masks.overlap_counts(blob(0), np.ones((20, 10), bool))
    with pytest.raises(DataError):
        masks.boundary_iou(blob(0), blob(0).T)


def test_boundary_iou_sees_an_outline_that_iou_forgives() -> None:
    # 10 x 10 pixels: the band is one pixel wide. The rings of the frame and of the square
    # one pixel inside it do not touch.
    whole = np.ones((10, 10), bool)
    inside = np.zeros((10, 10), bool)
    inside[1:9, 1:9] = True

    assert masks.iou(masks.overlap_counts(inside, whole)) == 0.64
    assert masks.boundary_iou(inside, whole) == 0


def test_boundary_band_is_two_per_cent_of_the_diagonal_and_runs_along_the_frame() -> None:
    # 590 x 445 has a diagonal of 739.0 pixels, so the band is 15 wide. Of the whole image it
    # leaves 560 x 415; the right half keeps its own band at the cut.
    whole = np.ones((445, 590), bool)
    half = whole.copy()
    half[:, :295] = False
    band_of_whole = 590 * 445 - 560 * 415
    band_of_half = 295 * 445 - 265 * 415
    shared = band_of_half - 415 * 15  # all but the part at the cut, which lies inside the whole

    expected = shared / (band_of_whole + band_of_half - shared)

    assert masks.boundary_iou(half, whole) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(445, 590), (89, 118), (31, 200), (7, 5)])
def test_boundary_iou_agrees_with_scipy_step_by_step_and_by_distance(
    shape: tuple[int, int],
) -> None:
    prediction, truth = blob(1, shape), blob(2, shape)
    width_px = max(1, round(0.02 * math.hypot(*shape)))

    def band_by_erosion(mask: Mask) -> Mask:
        core = scipy.ndimage.binary_erosion(
            mask, np.ones((3, 3)), iterations=width_px, border_value=0
        )
        band: Mask = mask & ~core
        return band

    def band_by_distance(mask: Mask) -> Mask:
        distance = scipy.ndimage.distance_transform_cdt(np.pad(mask, 1), "chessboard")[1:-1, 1:-1]
        band: Mask = mask & (distance <= width_px)
        return band

    for band_of in (band_by_erosion, band_by_distance):
        expected = masks.iou(masks.overlap_counts(band_of(prediction), band_of(truth)))
        assert masks.boundary_iou(prediction, truth) == expected


def test_boundary_iou_takes_the_width_it_is_given() -> None:
    # A band as wide as the image is the mask itself.
    prediction, truth = blob(3), blob(4)
    plain = masks.iou(masks.overlap_counts(prediction, truth))
    assert masks.boundary_iou(prediction, truth, dilation_ratio=1.0) == plain


def test_score_image_leaves_its_masks_alone_and_is_json_ready() -> None:
    prediction, truth = blob(5), blob(6)
    before = prediction.copy(), truth.copy()

    score = masks.score_image(prediction, truth)

    assert np.array_equal(prediction, before[0])
    assert np.array_equal(truth, before[1])
    assert json.loads(json.dumps(score)) == score
    assert score["iou"] == score["intersection"] / score["union"]


def test_summary_of_a_table_worked_by_hand() -> None:
    scores = table(
        [0.5, 0.7, 0.9],
        ["a", "b", "b"],
        class_name=["Gilt-Head Bream", "Sea Bass", "Sea Bass"],
        boundary_iou=[0.3, 0.4, 0.6],
        dice=[0.6, 0.7, 0.8],
        precision=[0.1, 0.2, 0.3],
        recall=[1.0, 0.9, 0.8],
        intersection=[10, 70, 900],
        union=[20, 100, 1000],
    )

    summary = masks.summarise(scores, bootstrap_samples=200, seed=0)

    # Drawn are a a, a b, b a or b b: the mean is 0.5, 2.1 / 3 or 0.8.
    assert (summary.pop("iou_ci_low"), summary.pop("iou_ci_high")) == (0.5, 0.8)
    assert summary == {
        "mean_iou": 0.7,
        "iou_std": round(math.sqrt(0.08 / 3), 6),
        "dataset_iou": 0.875,
        "batch8_iou": 0.5,
        "dice": 0.7,
        "precision": 0.2,
        "recall": 0.9,
        "boundary_iou": round(1.3 / 3, 6),
        "worst_iou": 0.5,
        "best_iou": 0.9,
        "n_images": 3,
        "n_groups": 2,
        "per_class": {
            "gilt_head_bream": {"mean_iou": 0.5, "boundary_iou": 0.3, "n_images": 1},
            "sea_bass": {"mean_iou": 0.8, "boundary_iou": 0.5, "n_images": 2},
        },
    }


def test_summary_holds_plain_numbers_only() -> None:
    summary = masks.summarise(table([0.25, 1 / 3], ["a", "b"]), bootstrap_samples=10, seed=0)
    assert json.loads(json.dumps(summary)) == summary
    assert summary["mean_iou"] == 0.291667


def test_classes_that_differ_in_spelling_only_are_one() -> None:
    scores = table([0.2, 0.4], ["a", "b"], class_name=["Sea Bass", "sea_bass"])
    summary = masks.summarise(scores, bootstrap_samples=10, seed=0)
    assert summary["per_class"] == {
        "sea_bass": {"mean_iou": 0.3, "boundary_iou": 0.5, "n_images": 2}
    }


def test_summary_of_no_images_counts_them() -> None:
    nothing = masks.summarise(table([], []), bootstrap_samples=10, seed=0)
    assert nothing == {"n_images": 0, "n_groups": 0}


def test_summary_of_images_without_fish() -> None:
    scores = table([1.0] * 9, list("abcdefghi"), intersection=0, union=0)
    scores = scores.assign(batch_intersection=0, batch_union=0)
    summary = masks.summarise(scores, bootstrap_samples=10, seed=0)
    assert summary["dataset_iou"] == summary["batch8_iou"] == 1


@pytest.mark.parametrize("n_images", [1, 8, 16, 19])
def test_batch8_iou_against_the_loop_it_stands_for(n_images: int) -> None:
    rng = np.random.default_rng(n_images)
    unions = rng.integers(1, 1000, n_images)
    intersections = rng.integers(0, unions + 1)
    scores = table(
        [0.5] * n_images,
        [str(i) for i in range(n_images)],
        batch_intersection=intersections,
        batch_union=unions,
    )
    # Rows that were selected from a longer table keep their old labels.
    scores.index = pd.Index(range(100, 100 + n_images))

    batches = []
    inside = outside = 0
    for position in range(n_images):
        inside += int(intersections[position])
        outside += int(unions[position])
        if position % 8 == 7 or position == n_images - 1:
            batches.append(inside / outside)
            inside = outside = 0

    summary = masks.summarise(scores, bootstrap_samples=10, seed=0)
    assert summary["batch8_iou"] == round(sum(batches) / len(batches), 6)


def test_batch_counts_agree_with_the_masks_image_by_image() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 6, 7, generator=generator)
    target = (torch.rand(3, 1, 6, 7, generator=generator) > 0.5).float()
    target[2] = 0

    intersection, union = masks.batch_counts(logits, target)

    assert intersection.shape == union.shape == (3,)
    assert intersection.dtype == union.dtype == torch.int64
    for i in range(3):
        prediction, truth = logits[i, 0].numpy() >= 0, target[i, 0].numpy() == 1
        counts = masks.overlap_counts(prediction, truth)
        assert (int(intersection[i]), int(union[i])) == (counts.intersection, counts.union)


def test_a_logit_of_zero_is_fish_in_training_as_in_evaluation() -> None:
    intersection, union = masks.batch_counts(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    assert intersection.tolist() == union.tolist() == [4]


# Pixels that do not count


def test_ignored_pixels_count_in_no_score() -> None:
    # Fish: columns 2 to 5; ignored: 5 to 7. Predicted: columns 2 to 6. What counts agrees.
    truth = np.zeros((10, 12), bool)
    truth[2:8, 2:5] = True
    valid = np.ones_like(truth)
    valid[:, 5:8] = False
    prediction = np.zeros_like(truth)
    prediction[2:8, 2:7] = True
    scores = masks.score_image(prediction, truth, valid)
    assert scores["intersection"] == scores["union"] == 18
    assert scores["iou"] == scores["dice"] == scores["boundary_iou"] == 1
    # Without the ignored pixels known: 18 of 30.
    assert masks.score_image(prediction, truth)["iou"] == 18 / 30
    # A false column beyond, by hand: 18 of 18 + 6.
    prediction[2:8, 9] = True
    scores = masks.score_image(prediction, truth, valid)
    assert scores["iou"] == 18 / 24
    assert scores["precision"] == 18 / 24
    assert scores["recall"] == 1
    assert scores["boundary_iou"] < 1


def test_batch_counts_leave_ignored_pixels_out() -> None:
    logits = torch.tensor([1.0, 1.0, -1.0, 1.0]).view(1, 1, 1, 4)
    target = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(1, 1, 1, 4)
    valid = torch.tensor([True, True, True, False]).view(1, 1, 1, 4)
    assert [int(count) for count in masks.batch_counts(logits, target, valid)] == [1, 3]
    assert [int(count) for count in masks.batch_counts(logits, target)] == [1, 4]
