"""Which unlabelled pictures to label next; numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def uncertainty(probability: NDArray[np.floating], threshold: float) -> float:
    """How unsure a mask is: the share of fish pixels that are undecided, 0 to 1.

    1 minus the IoU that probabilities promise of the mask, taken as independent pixels: expected
    intersection over expected union. A picture without a mask has an uncertainty of 1: a fish may
    have been missed, and one without fish costs one look.
    """
    mask = probability >= threshold
    inside = float(probability[mask].sum(dtype=np.float64))
    union = float(mask.sum()) + float(probability[~mask].sum(dtype=np.float64))
    return 1 - inside / union if mask.any() else 1.0


def weighted_k_centre(
    descriptors: NDArray[np.floating], weights: NDArray[np.floating], n: int
) -> list[int]:
    """Pictures that are uncertain and unlike each other.

    Each next one has the largest product of its weight and its distance to the nearest that is
    chosen, the first the largest weight: the greedy k-centre of Sener and Savarese ("Active
    Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018), weighted.

    Args:
        descriptors: of each picture, ``(N, K)``.
        weights: of each, at least 0, ``(N,)``.
        n: how many; all, in their order, where there are fewer.

    Returns:
        Their numbers, the most wanted first.
    """
    points = np.asarray(descriptors, np.float64)
    nearest = np.ones(len(points))
    chosen: list[int] = []
    left = np.ones(len(points), np.bool_)
    for _ in range(min(n, len(points))):
        # Of equal ones the first, so that the same pictures give the same order.
        best = int(np.argmax(np.where(left, weights * nearest, -1.0)))
        distance = np.linalg.norm(points - points[best], axis=1)
        nearest = np.minimum(nearest, distance) if chosen else distance
        chosen.append(best)
        left[best] = False
    return chosen
