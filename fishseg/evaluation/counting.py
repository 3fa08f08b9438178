"""Are fish that touch told apart? What `fishseg predict` would count, against numbered masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fishseg.metrics.panoptic import ImageMatches, match_image
from fishseg.prediction.instances import Instance, find_fish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fishseg.prediction.model import Answer

# What a fish is: a connected part of the mask, or what the decoder's second map makes of it.
CONNECTED, SPLIT = "connected", "split"


def match_fish(
    answer: Answer,
    threshold: float,
    truth: NDArray[np.int32],
    valid: NDArray[np.bool_] | None,
) -> dict[str, ImageMatches]:
    """The fish found in an image against the true ones.

    Args:
        answer: what a model says of the image, ``(H, W)``.
        threshold: the probability from which a pixel is fish.
        truth: ``(H, W)``, the fish numbered from 1; 0 is none.
        valid: ``(H, W)``, the pixels that count; None if all do.

    Returns:
        By what was taken for a fish: always ``connected``; ``split`` where the model tells fish
        apart that touch.
    """
    found = {CONNECTED: find_fish(answer.probability, threshold)}
    if answer.interior is not None:
        found[SPLIT] = find_fish(answer.probability, threshold, interior=answer.interior)
    return {
        way: match_image(labels_of(fish, truth.shape), _confidences(fish), truth, valid)
        for way, fish in found.items()
    }


def labels_of(fish: Sequence[Instance], size: tuple[int, ...]) -> NDArray[np.int32]:
    """Which fish each pixel of an image of ``size`` belongs to, from 1; 0 is none."""
    labels = np.zeros(size, np.int32)
    for number, one in enumerate(fish, start=1):
        labels[one.box][one.mask] = number
    return labels


def _confidences(fish: Sequence[Instance]) -> list[float]:
    return [one.confidence or 0.0 for one in fish]
