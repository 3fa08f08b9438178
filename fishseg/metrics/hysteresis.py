"""Parts of a mask that are nowhere certain, and are therefore no fish; no torch.

A fish that a decoder knows has pixels of which it is sure; a patch of glare that looks a little
like fish has none. So a connected part of the mask counts only where it holds a pixel of a higher
probability: hysteresis thresholding (Canny, "A Computational Approach to Edge Detection", IEEE
PAMI 1986). How high, the validation pictures decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Where parts begin while val is asked: what is as likely fish as not.
_EVEN = 0.5
# What may be asked of a part's surest pixel; 0 is to ask nothing.
CANDIDATES = (0.0, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)


def keep_certain(
    maps: NDArray[np.float32], certainty: float, threshold: float
) -> NDArray[np.float32]:
    """Maps in which parts that are nowhere certain are no fish any more.

    Their probability is multiplied by the threshold, which brings it below that, and keeps what was
    surer than what.

    Args:
        maps: ``(n_maps, H, W)``, the first of them probabilities of fish; others stay as they are.
        certainty: what the surest pixel of a part must reach; 0 keeps all.
        threshold: the probability from which a pixel is fish, above 0 and below 1. Parts are what
            is connected from there on, over corners, too.
    """
    if not certainty:
        return maps
    labels, peaks = _parts(maps[0], threshold)
    unsure = peaks < certainty
    unsure[0] = False  # what lies outside of all parts
    if not unsure.any():
        return maps
    kept = maps.copy()
    kept[0][unsure[labels]] *= np.float32(threshold)
    return kept


class CertaintySearch:
    """Which of `CANDIDATES` gives the highest mean IoU of the pictures that were added."""

    def __init__(self) -> None:
        self._ious: list[NDArray[np.float64]] = []

    def add(
        self,
        probability: NDArray[np.float32],
        truth: NDArray[np.bool_],
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Measure a picture with each candidate.

        Args:
            probability: of fish, ``(H, W)``.
            truth: which pixels are fish, ``(H, W)``.
            valid: those that count, ``(H, W)``; all if not given.
        """
        labels, peaks = _parts(probability, _EVEN)
        counts = np.ones(labels.shape, np.float64) if valid is None else valid.astype(np.float64)
        areas, hits = (
            np.bincount(labels.ravel(), weights=weights.ravel(), minlength=len(peaks))
            for weights in (counts, counts * truth)
        )
        # 1 where neither has any fish, as everywhere.
        n_true = hits.sum()
        ious = []
        for certainty in CANDIDATES:
            kept = peaks >= certainty
            kept[0] = False
            found = hits[kept].sum()
            union = areas[kept].sum() + n_true - found
            ious.append(found / union if union else 1.0)
        self._ious.append(np.array(ious))

    def best(self) -> float:
        """The candidate of the highest mean IoU, the smallest of equal ones; 0 of no picture."""
        if not self._ious:
            return CANDIDATES[0]
        means = np.mean(self._ious, axis=0)
        # Nine digits: what rounding makes of the same sums decides nothing.
        return CANDIDATES[int(np.argmax(means.round(9)))]


def _parts(
    probability: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The part each pixel belongs to, from 1, ``(H, W)``, and each part's highest probability.

    Part 0 is what lies outside of all.
    """
    n_parts, labels = cv2.connectedComponents((probability >= threshold).astype(np.uint8))
    peaks = np.zeros(n_parts, np.float32)
    np.maximum.at(peaks, labels.ravel(), probability.ravel())
    return np.asarray(labels, np.int32), peaks
