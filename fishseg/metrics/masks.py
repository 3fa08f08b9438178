"""Scores of binary masks: pixel counts first, ratios after, the table of a split last.

Masks are (H, W) bool arrays at the original resolution of the image, True is fish. Every score
lies in [0, 1]. Where a ratio is 0/0 it is written out below what it means: agreeing that there is
no fish is right, so two empty masks score 1 everywhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from fishseg.errors import DataError
from fishseg.metrics.bootstrap import bootstrap_interval
from fishseg.tables import slug

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor

    Mask = NDArray[np.bool_]

# The starting project reported the mean over batches of this many images.
BASELINE_BATCH_SIZE = 8


class Counts(NamedTuple):
    """Pixels of two masks: in both, in either, in the prediction, in the ground truth."""

    intersection: int
    union: int
    predicted: int
    actual: int


def overlap_counts(prediction: Mask, truth: Mask, valid: Mask | None = None) -> Counts:
    """Count the pixels that two masks share and cover.

    Args:
        prediction: (H, W) bool.
        truth: (H, W) bool.
        valid: (H, W) bool, the pixels that count; all if not given.

    Raises:
        DataError: the masks differ in size.
    """
    if prediction.shape != truth.shape:
        raise DataError(
            f"a predicted mask is {_size(prediction)} pixels and its ground truth {_size(truth)}",
            expected="two masks of one size, width x height",
            remedy="bring the prediction to the size of the original image before scoring it",
        )
    if valid is not None:
        prediction, truth = prediction & valid, truth & valid
    return Counts(
        intersection=int(np.count_nonzero(np.logical_and(prediction, truth))),
        union=int(np.count_nonzero(np.logical_or(prediction, truth))),
        predicted=int(np.count_nonzero(prediction)),
        actual=int(np.count_nonzero(truth)),
    )


def iou(counts: Counts) -> float:
    """Intersection over union (Jaccard index); 1 where both masks are empty."""
    return _ratio(counts.intersection, counts.union, if_undefined=1.0)


def dice(counts: Counts) -> float:
    """Dice coefficient (F1 of the pixels); 1 where both masks are empty."""
    return _ratio(2 * counts.intersection, counts.predicted + counts.actual, if_undefined=1.0)


def precision(counts: Counts) -> float:
    """Share of the predicted pixels that are fish.

    Where nothing was predicted: 1 if there is no fish, 0 if there is one.
    """
    undefined = 1.0 if counts.actual == 0 else 0.0
    return _ratio(counts.intersection, counts.predicted, if_undefined=undefined)


def recall(counts: Counts) -> float:
    """Share of the fish's pixels that were predicted.

    Where there is no fish: 1 if nothing was predicted, 0 if something was.
    """
    undefined = 1.0 if counts.predicted == 0 else 0.0
    return _ratio(counts.intersection, counts.actual, if_undefined=undefined)


def boundary_iou(
    prediction: Mask, truth: Mask, dilation_ratio: float = 0.02, *, valid: Mask | None = None
) -> float:
    """IoU of the two bands that lie just inside the outlines of the masks.

    The plain IoU of a large object hardly notices a ragged outline; this one does (Cheng et al.,
    "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021).

    Args:
        prediction: (H, W) bool.
        truth: (H, W) bool.
        dilation_ratio: width of the band as a share of the image diagonal; at least one pixel.
        valid: (H, W) bool, the pixels that count; all if not given. Where nothing is known, the
            truth is taken to go on as the prediction does: no outline runs along the unknown.

    Raises:
        DataError: the masks differ in size.
    """
    width_px = max(1, round(dilation_ratio * math.hypot(*truth.shape)))
    if valid is not None:
        truth = np.where(valid, truth, prediction)
    bands = [_inner_band(mask, width_px) for mask in (prediction, truth)]
    return iou(overlap_counts(bands[0], bands[1], valid))


def score_image(prediction: Mask, truth: Mask, valid: Mask | None = None) -> dict[str, float]:
    """Every score of one image over the pixels that count, and the counts to pool over images.

    Returns:
        ``iou``, ``dice``, ``precision``, ``recall``, ``boundary_iou`` and, as whole numbers,
        ``intersection`` and ``union``.

    Raises:
        DataError: the masks differ in size.
    """
    counts = overlap_counts(prediction, truth, valid)
    return {
        "iou": iou(counts),
        "dice": dice(counts),
        "precision": precision(counts),
        "recall": recall(counts),
        "boundary_iou": boundary_iou(prediction, truth, valid=valid),
        "intersection": counts.intersection,
        "union": counts.union,
    }


def summarise(scores: pd.DataFrame, *, bootstrap_samples: int, seed: int) -> dict[str, Any]:
    """The metrics of one split, ready for JSON and rounded to six digits.

    Args:
        scores: a row an image in manifest order: ``class_name``, ``group_id``, the scores and
            counts of `score_image`, and ``batch_intersection`` and ``batch_union``, the counts
            at the working resolution.
        bootstrap_samples: resamples of the confidence interval.
        seed: seed of the resampling.

    Returns:
        ``mean_iou``, ``iou_std`` (divisor N: the spread of these very images), ``iou_ci_low``
        and ``iou_ci_high`` (95%), ``dataset_iou`` (pooled over all pixels), ``batch8_iou``, means
        over images of ``dice``, ``precision``, ``recall`` and ``boundary_iou``, ``worst_iou``,
        ``best_iou``, ``n_images``, ``n_groups``, and ``per_class``: for each class's slug its
        ``mean_iou``, ``boundary_iou`` and ``n_images``. Of an empty table ``n_images`` and
        ``n_groups`` only.
    """
    if scores.empty:
        return {"n_images": 0, "n_groups": 0}
    low, high = bootstrap_interval(
        scores["iou"], scores["group_id"], samples=bootstrap_samples, seed=seed
    )
    metrics = {
        "mean_iou": scores["iou"].mean(),
        "iou_std": scores["iou"].std(ddof=0),
        "iou_ci_low": low,
        "iou_ci_high": high,
        "dataset_iou": _pooled_iou(scores["intersection"], scores["union"]),
        "batch8_iou": _batched_iou(scores["batch_intersection"], scores["batch_union"]),
        "dice": scores["dice"].mean(),
        "precision": scores["precision"].mean(),
        "recall": scores["recall"].mean(),
        "boundary_iou": scores["boundary_iou"].mean(),
        "worst_iou": scores["iou"].min(),
        "best_iou": scores["iou"].max(),
    }
    return {
        **{key: round(float(value), 6) for key, value in metrics.items()},
        "n_images": len(scores),
        "n_groups": int(scores["group_id"].nunique()),
        "per_class": {
            str(name): {
                "mean_iou": round(float(rows["iou"].mean()), 6),
                "boundary_iou": round(float(rows["boundary_iou"].mean()), 6),
                "n_images": len(rows),
            }
            for name, rows in scores.groupby(scores["class_name"].map(slug), sort=True)
        },
    }


def batch_counts(
    logits: Tensor, target: Tensor, valid: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Intersection and union of each image of a batch, for following a training run.

    Fish is what is as likely fish as not, a logit of 0: no temperature changes that. Nothing leaves
    the device, so the loop need not wait for it.

    Args:
        logits: (B, 1, H, W), before the sigmoid.
        target: (B, 1, H, W) in [0, 1]; 0.5 and above is fish.
        valid: (B, 1, H, W) bool, the pixels that count; all if not given.

    Returns:
        Two (B,) int64 tensors.
    """
    predicted = logits >= 0
    actual = target >= 0.5
    if valid is not None:
        predicted, actual = predicted & valid, actual & valid
    return (predicted & actual).sum(dim=(1, 2, 3)), (predicted | actual).sum(dim=(1, 2, 3))


def _ratio(numerator: int, denominator: int, *, if_undefined: float) -> float:
    return numerator / denominator if denominator else if_undefined


def _inner_band(mask: Mask, width_px: int) -> Mask:
    """The mask's pixels at most ``width_px`` (chessboard distance) from a pixel outside it.

    Beyond the frame counts as outside, as in the authors' code: a fish cut off by the frame has
    an outline there.
    """
    square = np.ones((2 * width_px + 1, 2 * width_px + 1), np.uint8)
    core = cv2.erode(
        mask.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=(0,)
    )
    band: Mask = np.logical_and(mask, core == 0)
    return band


def _pooled_iou(intersection: pd.Series[int], union: pd.Series[int]) -> float:
    return _ratio(int(intersection.sum()), int(union.sum()), if_undefined=1.0)


def _batched_iou(intersection: pd.Series[int], union: pd.Series[int]) -> float:
    """Mean over batches of the pooled IoU; a last, shorter batch counts as much as the others."""
    starts = range(0, len(union), BASELINE_BATCH_SIZE)
    batches = [slice(start, start + BASELINE_BATCH_SIZE) for start in starts]
    return sum(_pooled_iou(intersection.iloc[b], union.iloc[b]) for b in batches) / len(batches)


def _size(mask: Mask) -> str:
    return "x".join(str(length) for length in reversed(mask.shape))
