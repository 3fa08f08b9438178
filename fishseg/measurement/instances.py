"""One picture's probabilities to its fish: each connected part of the mask is one.

Fish that touch or overlap are one part and counted as one; a fish that something lies across is
as many as it is cut into. Both are for the eye to see in the overlay.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from fishseg.metrics.confidence import stability
from fishseg.metrics.familiarity import patches_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fishseg.metrics.familiarity import Seen

Mask: TypeAlias = NDArray[np.bool_]

# A part smaller than this share of the picture's largest one is a speck: a piece of another fish's
# fin, a reflection. Two fish of one kind, one a fifth as long as the other, both count.
MIN_SHARE = 0.03
# The confidence of a fish also counts what lies around it, so far as this share of its box.
_SURROUNDINGS_SHARE = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instance:
    """One fish of a picture.

    Attributes:
        mask: ``(h, w)``, the fish in the smallest upright box around it.
        origin: ``(x, y)`` of the box's top left corner in the picture.
        confidence: how sure its outline is, 0 to 1; see `fishseg.metrics.confidence.stability`.
            None where the mask was not predicted.
        cut_off: the fish touches the picture's border, so that some of it may lie beyond.
        unlike_training: it is unlike the fish that the model was trained on, see
            `fishseg.metrics.familiarity`.
    """

    mask: Mask
    origin: tuple[int, int]
    confidence: float | None
    cut_off: bool
    unlike_training: bool = False


def find_fish(
    probability: NDArray[np.float32],
    threshold: float,
    *,
    min_share: float = MIN_SHARE,
    seen: Seen | None = None,
) -> list[Instance]:
    """The fish of a picture, largest first.

    Args:
        probability: how probably each pixel is fish, ``(H, W)``.
        threshold: from where on it is taken for one.
        min_share: parts smaller than this share of the largest are left out; 0 keeps all.
        seen: how the picture looked to the backbone, where that is known.
    """
    mask = probability >= threshold
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    areas = statistics[1:, cv2.CC_STAT_AREA]
    if not len(areas):
        return []
    # Stable: of equal parts, the upper and the left one come first.
    order = 1 + np.argsort(-areas, kind="stable")
    kept = [int(label) for label in order if areas[label - 1] >= min_share * areas.max()]
    return list(_instances(probability, threshold, labels, statistics, kept, seen=seen))


def fish_of_mask(mask: Mask, *, min_share: float = MIN_SHARE) -> list[Instance]:
    """The fish of a mask ``(H, W)`` that no model made, as `find_fish` gives them."""
    found = find_fish(mask.astype(np.float32), 0.5, min_share=min_share)
    return [dataclasses.replace(fish, confidence=None) for fish in found]


def _instances(
    probability: NDArray[np.float32],
    threshold: float,
    labels: NDArray[np.int32],
    statistics: NDArray[np.int32],
    kept: list[int],
    *,
    seen: Seen | None,
) -> Iterator[Instance]:
    height, width = labels.shape
    nearest = _nearest(labels, kept)
    for label in kept:
        left, top, box_width, box_height = (int(value) for value in statistics[label][:4])
        right, bottom = left + box_width, top + box_height
        margin = round(_SURROUNDINGS_SHARE * max(box_width, box_height))
        around = (
            slice(max(0, top - margin), bottom + margin),
            slice(max(0, left - margin), right + margin),
        )
        near = probability[around] if nearest is None else _own(probability, nearest, around, label)
        mask = labels[top:bottom, left:right] == label
        yield Instance(
            mask=mask,
            origin=(left, top),
            confidence=stability(near, threshold),
            cut_off=left == 0 or top == 0 or right == width or bottom == height,
            unlike_training=seen is not None
            and seen.familiarity.is_unlike(
                patches_of(mask, seen.embedding, (height, width), (left, top))
            ),
        )


def _own(
    probability: NDArray[np.float32],
    nearest: NDArray[np.int32],
    around: tuple[slice, slice],
    label: int,
) -> NDArray[np.float32]:
    """Probabilities around a fish, 0 where another one is nearer."""
    return np.where(nearest[around] == label, probability[around], np.float32(0))


def _nearest(labels: NDArray[np.int32], kept: list[int]) -> NDArray[np.int32] | None:
    """The label of the fish nearest to each pixel; None where there is only one."""
    if len(kept) == 1:
        return None
    is_fish = np.isin(labels, kept)
    _, zones = cv2.distanceTransformWithLabels(
        (~is_fish).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    # OpenCV numbers the parts in its own way.
    label_of = np.zeros(zones.max() + 1, np.int32)
    label_of[zones[is_fish]] = labels[is_fish]
    nearest: NDArray[np.int32] = label_of[zones]
    return nearest
