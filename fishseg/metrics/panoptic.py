"""Scores of fish that are told apart: panoptic quality, count error, average precision.

A predicted fish is the true one where their IoU is high enough; each belongs to one at most. All
counts are pooled over the images of a split, ratios come last. Pixels that count in no metric are
taken away from both before (as "void" is in panoptic segmentation).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Above one half, no fish overlaps two others so much: nothing has to be chosen.
PANOPTIC_IOU = 0.5
AP_IOUS = (0.5, 0.75)
# The recalls at which COCO reads the precision.
_RECALLS = np.linspace(0, 1, 101)


class ImageMatches(NamedTuple):
    """What the predicted fish of one image have to do with the true ones.

    Attributes:
        ious: of each predicted fish with each true one, ``(P, T)``.
        confidences: of the predicted fish, ``(P,)``.
    """

    ious: NDArray[np.float64]
    confidences: NDArray[np.float64]


def match_image(
    predicted: NDArray[np.int32],
    confidences: Sequence[float],
    truth: NDArray[np.int32],
    valid: NDArray[np.bool_] | None = None,
) -> ImageMatches:
    """Compare the fish of one image.

    Args:
        predicted: ``(H, W)``, the fish numbered from 1; 0 is none.
        confidences: of the fish 1, 2, …
        truth: ``(H, W)``, likewise; numbers may be left out.
        valid: ``(H, W)``, the pixels that count; all if not given. A predicted fish more than half
            of which does not count is no mistake: it is left out.
    """
    n_predicted, n_true = len(confidences), int(truth.max(initial=0))
    whole = np.bincount(predicted.ravel(), minlength=n_predicted + 1)
    if valid is not None:
        predicted, truth = predicted * valid, truth * valid
    shape = (n_predicted + 1, n_true + 1)
    pairs = (predicted.ravel(), truth.ravel())
    together = sparse.coo_array((np.ones(truth.size, np.int64), pairs), shape=shape).toarray()
    areas, true_areas = together.sum(axis=1), together.sum(axis=0)
    union = areas[:, None] + true_areas[None] - together
    ious = together / np.maximum(union, 1)
    counted = np.flatnonzero(2 * areas[1:] >= whole[1:])
    present = np.flatnonzero(true_areas[1:])
    return ImageMatches(
        ious[1:, 1:][np.ix_(counted, present)], np.asarray(confidences, np.float64)[counted]
    )


@dataclasses.dataclass(frozen=True)
class Panoptic:
    """Panoptic quality: segmentation quality times recognition quality, each in [0, 1].

    Kirillov et al., "Panoptic Segmentation", CVPR 2019, of the one class fish. 1 where there are
    no fish and none was found.
    """

    iou_sum: float
    n_matched: int
    n_predicted: int
    n_true: int

    @classmethod
    def of(cls, images: Sequence[ImageMatches]) -> Panoptic:
        """Of the images of a split."""
        matched = [image.ious[image.ious > PANOPTIC_IOU] for image in images]
        return cls(
            iou_sum=float(sum(ious.sum() for ious in matched)),
            n_matched=sum(len(ious) for ious in matched),
            n_predicted=sum(image.ious.shape[0] for image in images),
            n_true=sum(image.ious.shape[1] for image in images),
        )

    @property
    def segmentation(self) -> float:
        """Mean IoU of the fish that were recognised; 0 where none of some was."""
        if not self.n_predicted + self.n_true:
            return 1.0
        return self.iou_sum / self.n_matched if self.n_matched else 0.0

    @property
    def recognition(self) -> float:
        """F1 of the fish."""
        total = self.n_predicted + self.n_true
        return 2 * self.n_matched / total if total else 1.0

    @property
    def quality(self) -> float:
        """Both together."""
        return self.segmentation * self.recognition


def average_precision(images: Sequence[ImageMatches], iou: float) -> float:
    """The area under precision over recall, as COCO reads it: at 101 recalls, interpolated.

    In each image the surer fish choose first, each the free true fish that it overlaps most, if
    their IoU is ``iou`` or more. Lin et al., "Microsoft COCO", ECCV 2014; the same number as
    `pycocotools` gives. 1 where there are no fish and none was found, 0 where only some were found.
    """
    n_true = sum(image.ious.shape[1] for image in images)
    confidences, right = [np.zeros(0)], [np.zeros(0, bool)]
    for image in images:
        order = np.argsort(-image.confidences, kind="stable")
        confidences.append(image.confidences[order])
        right.append(_chosen(image.ious[order], iou))
    order = np.argsort(-np.concatenate(confidences), kind="stable")
    hits = np.concatenate(right)[order]
    if not n_true:
        return 0.0 if len(hits) else 1.0
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    # The best precision at this recall or a higher one.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(found / n_true, _RECALLS, side="left")
    return float(np.append(best, 0.0)[np.minimum(place, len(hits))].mean())


def _chosen(ious: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    """Which predicted fish, the surest first, find a true one that is still free."""
    free = np.ones(ious.shape[1], bool)
    right = np.zeros(len(ious), bool)
    for number, row in enumerate(ious):
        candidates = np.where(free, row, -1.0)
        if len(candidates) and candidates.max() >= least:
            # Of equal ones COCO takes the last.
            best = len(candidates) - 1 - int(candidates[::-1].argmax())
            free[best] = False
            right[number] = True
    return right


def summarise_instances(images: Sequence[ImageMatches]) -> dict[str, float]:
    """The scores of a split, ready for JSON and rounded to six digits.

    Returns:
        ``panoptic_quality`` and its factors ``segmentation_quality`` and ``recognition_quality``;
        ``count_error``, the mean over images of how many fish too many or too few were counted;
        ``count_exact``, the share of the images with neither; ``ap50`` and ``ap75``; ``n_fish``,
        how many there are, and ``n_predicted``. Without images ``n_fish`` and ``n_predicted`` only.
    """
    panoptic = Panoptic.of(images)
    counts: dict[str, float] = {"n_fish": panoptic.n_true, "n_predicted": panoptic.n_predicted}
    if not images:
        return counts
    off = np.array([abs(image.ious.shape[0] - image.ious.shape[1]) for image in images])
    scores = {
        "panoptic_quality": panoptic.quality,
        "segmentation_quality": panoptic.segmentation,
        "recognition_quality": panoptic.recognition,
        "count_error": off.mean(),
        "count_exact": (off == 0).mean(),
        **{f"ap{round(100 * iou)}": average_precision(images, iou) for iou in AP_IOUS},
    }
    return {name: round(float(value), 6) for name, value in scores.items()} | counts
