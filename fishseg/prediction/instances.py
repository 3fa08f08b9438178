"""One picture's probabilities to its fish.

Each connected part of the mask is a fish, unless the decoder tells fish apart that touch (``train.
instances``): then its second map, which is low where one fish ends and another begins, is flooded
from its high parts (watershed), and each basin is a fish. Without such a decoder, fish that touch
or overlap are one part and counted as one. With or without it, a fish that something lies across
is as many as it is cut into. Both are for the eye to see in the overlay.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fishseg.metrics.confidence import confidence_of
from fishseg.metrics.familiarity import patches_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fishseg.metrics.familiarity import Seen
    from fishseg.prediction.model import Answer

Mask: TypeAlias = NDArray[np.bool_]

# A part smaller than this share of the picture's largest one is a speck: a piece of another fish's
# fin, a reflection. Two fish of one kind, one a fifth as long as the other, both count.
MIN_SHARE = 0.03
# The confidence of a fish also counts what lies around it, so far as this share of its box.
_SURROUNDINGS_SHARE = 0.25
# From which level of the second map on a basin is flooded.
SEED_LEVEL = 0.5
# A seed smaller than this share of the part that it lies in is noise, not a fish.
MIN_SEED_SHARE = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instance:
    """One fish of a picture.

    Attributes:
        mask: ``(h, w)``, the fish in the smallest upright box around it.
        origin: ``(x, y)`` of the box's top left corner in the picture.
        confidence: how sure its outline is, 0 to 1; see `fishseg.metrics.confidence.confidence_of`.
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

    @property
    def box(self) -> tuple[slice, slice]:
        """Where the mask lies: what indexes the picture."""
        (x, y), (height, width) = self.origin, self.mask.shape
        return slice(y, y + height), slice(x, x + width)


def fish_in(answer: Answer, threshold: float, *, min_share: float = MIN_SHARE) -> list[Instance]:
    """`find_fish`, by all that a model says of a picture."""
    return find_fish(
        answer.probability,
        threshold,
        interior=answer.interior,
        min_share=min_share,
        seen=answer.seen,
        first=answer.first,
    )


def find_fish(
    probability: NDArray[np.float32],
    threshold: float,
    *,
    interior: NDArray[np.float32] | None = None,
    min_share: float = MIN_SHARE,
    seen: Seen | None = None,
    first: Mask | None = None,
) -> list[Instance]:
    """The fish of a picture, largest first.

    Args:
        probability: how probably each pixel is fish, ``(H, W)``.
        threshold: from where on it is taken for one.
        interior: how far inside a fish of its own each pixel lies, 0 to 1, ``(H, W)``; None where
            nothing tells fish apart that touch.
        min_share: parts smaller than this share of the largest are left out; 0 keeps all.
        seen: how the picture looked to the backbone, where that is known.
        first: what was found ``(H, W)`` before a closer look, where there was one.
    """
    mask = probability >= threshold
    parts = _connected(mask) if interior is None else _numbered(split(mask, interior))
    return list(_instances(probability, threshold, parts, min_share, seen=seen, first=first))


def fish_of_mask(mask: Mask, *, min_share: float = MIN_SHARE) -> list[Instance]:
    """The fish of a mask ``(H, W)`` that no model made, as `find_fish` gives them."""
    return _given(_connected(mask), min_share)


def fish_of_objects(objects: NDArray[np.int32], *, min_share: float = MIN_SHARE) -> list[Instance]:
    """The fish that a mask ``(H, W)`` numbers from 1, as `find_fish` gives them."""
    return _given(_numbered(objects), min_share)


def split(mask: Mask, interior: NDArray[np.float32]) -> NDArray[np.int32]:
    """The fish of a mask by number, where those that touch are told apart; 0 is outside.

    Numbers begin at 1, and some are left out.

    Seeds are the connected parts of the mask in which ``interior`` is high; from them the rest of
    the mask is flooded (Meyer, "Color image segmentation", 1992, as OpenCV has it). A part of the
    mask with one seed or none is one fish.

    Args:
        mask: ``(H, W)``.
        interior: how far inside a fish of its own each pixel lies, 0 to 1, ``(H, W)``.
    """
    parts = _connected(mask)
    seeds, several = _seeds(parts, interior)
    if not several.any():
        return parts.labels
    inside = several[parts.labels]
    # What is outside is a basin of its own, so that nothing floods around a fish.
    markers = np.where(inside, np.where(seeds > 0, seeds + 1, 0), 1).astype(np.int32)
    relief = np.rint((1 - interior) * 255).clip(0, 255).astype(np.uint8)
    cv2.watershed(cv2.merge([relief, relief, relief]), markers)
    # OpenCV leaves -1 on a line between basins, and along the picture's border.
    basins = _nearest(np.where(inside & (markers > 1), markers - 1, 0).astype(np.int32))
    return np.where(inside, basins + len(parts.areas), parts.labels).astype(np.int32)


class _Parts(NamedTuple):
    """Parts of a picture: ``labels (H, W)``, 0 is outside; of each label its area and its box.

    Attributes:
        labels: ``(H, W)`` int32.
        areas: ``(n,)`` in pixels, of the labels 0 to n - 1; 0 of what does not occur.
        boxes: ``(n, 4)``: left, top, right, bottom.
    """

    labels: NDArray[np.int32]
    areas: NDArray[np.integer]
    boxes: NDArray[np.integer]


def _connected(mask: Mask) -> _Parts:
    """The connected parts of a mask."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    areas = statistics[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    boxes = statistics[:, :4].copy()
    boxes[:, 2:] += boxes[:, :2]
    return _Parts(np.asarray(labels, np.int32), areas, boxes)


def _numbered(objects: NDArray[np.int32]) -> _Parts:
    """The objects of a mask that numbers them."""
    areas = np.bincount(objects.ravel())
    areas[0] = 0
    boxes = np.zeros((len(areas), 4), np.int64)
    for label, place in enumerate(ndimage.find_objects(objects), start=1):
        if place is not None:
            rows, columns = place
            boxes[label] = columns.start, rows.start, columns.stop, rows.stop
    return _Parts(objects, areas, boxes)


def _given(parts: _Parts, min_share: float) -> list[Instance]:
    """Fish that no model found, and that have no confidence therefore."""
    probability = (parts.labels > 0).astype(np.float32)
    found = _instances(probability, 0.5, parts, min_share)
    return [dataclasses.replace(fish, confidence=None) for fish in found]


def _seeds(
    parts: _Parts, interior: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Where flooding begins, numbered from 1, ``(H, W)``; and of each part whether it has many."""
    found = _connected((parts.labels > 0) & (interior >= SEED_LEVEL))
    part_of = np.zeros(len(found.areas), np.int64)
    part_of[found.labels.ravel()] = parts.labels.ravel()  # the same all over a seed
    kept = found.areas >= MIN_SEED_SHARE * parts.areas[part_of]
    kept[0] = False
    several = np.bincount(part_of[kept], minlength=len(parts.areas)) > 1
    return np.where(kept[found.labels], found.labels, 0).astype(np.int32), several


def _instances(
    probability: NDArray[np.float32],
    threshold: float,
    parts: _Parts,
    min_share: float,
    *,
    seen: Seen | None = None,
    first: Mask | None = None,
) -> Iterator[Instance]:
    labels, areas, boxes = parts
    if not areas.any():
        return
    height, width = labels.shape
    # Stable: of equal parts, the upper and the left one come first.
    order = np.argsort(-areas, kind="stable")
    kept = [int(label) for label in order if areas[label] >= max(1, min_share * areas.max())]
    nearest = None
    if len(kept) > 1:
        nearest = _nearest(np.where(np.isin(labels, kept), labels, 0).astype(np.int32))
    for label in kept:
        left, top, right, bottom = (int(value) for value in boxes[label])
        margin = round(_SURROUNDINGS_SHARE * max(right - left, bottom - top))
        around = (
            slice(max(0, top - margin), bottom + margin),
            slice(max(0, left - margin), right + margin),
        )
        own = None if nearest is None else nearest[around] == label
        mask = labels[top:bottom, left:right] == label
        yield Instance(
            mask=mask,
            origin=(left, top),
            confidence=confidence_of(
                _own(probability[around], own),
                threshold,
                None if first is None else _own(first[around], own),
            ),
            cut_off=left == 0 or top == 0 or right == width or bottom == height,
            unlike_training=seen is not None
            and seen.familiarity.is_unlike(
                patches_of(mask, seen.embedding, (height, width), (left, top))
            ),
        )


def _own(values: NDArray[Any], own: Mask | None) -> NDArray[Any]:
    """What is said around a fish, 0 where another one is nearer; None where there is no other."""
    return values if own is None else np.where(own, values, values.dtype.type(0))


def _nearest(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """The label of the fish nearest to each pixel, of labels ``(H, W)`` with 0 between them."""
    is_fish = labels > 0
    _, zones = cv2.distanceTransformWithLabels(
        (~is_fish).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # OpenCV numbers the pixels in its own way.
    label_of = np.zeros(zones.max() + 1, np.int32)
    label_of[zones[is_fish]] = labels[is_fish]
    nearest: NDArray[np.int32] = label_of[zones]
    return nearest
