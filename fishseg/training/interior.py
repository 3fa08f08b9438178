"""What the decoder's second map learns: how far inside a fish of its own each pixel lies.

The map is 1 in the middle of a fish and falls towards other fish. Where fish touch or overlap, the
mask says nothing of where one ends; the map has a valley there, which a watershed then follows
(`fishseg.prediction.instances`). Two ways to make it:

- ``boundary``: 0 within a few pixels of another fish, 1 elsewhere on a fish. After the borders
  between touching cells of Ronneberger et al., "U-Net", MICCAI 2015.
- ``distance``: the distance to the nearest pixel that is not of the same fish, as a share of most
  of the largest one of that fish; 1 in its core. After Bai and Urtasun, "Deep watershed
  transform for instance segmentation", CVPR 2017.

It is learned on fish alone, since nothing else is asked of it.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fishseg.decoders import BOUNDARY

# At the working size: a valley of four pixels a side is seen at the stride that decoders work at.
BOUNDARY_PX = 4
# Few pixels lie between fish, and all depends on them: each counts as much as this many others.
VALLEY_WEIGHT = 4.0
# A fish's core, as a share of its largest distance: narrow enough to be apart from another's, and
# wide enough to be one from head to tail.
CORE_SHARE = 0.6


def interior_loss(logits: Tensor, objects: Tensor, instances: str) -> Tensor:
    """Binary cross-entropy of the second map, mean over the pixels of fish that have a number.

    Args:
        logits: ``(B, 1, H, W)``, of the second map.
        objects: ``(B, H, W)`` int16, which fish a pixel belongs to, from 1; 0 for none or unknown.
        instances: ``boundary`` or ``distance``.

    Returns:
        One number to minimise; 0 where no pixel has a number.
    """
    target = boundary_interior(objects) if instances == BOUNDARY else distance_interior(objects)
    known = (objects > 0)[:, None]
    cost = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    weight = known * (VALLEY_WEIGHT - (VALLEY_WEIGHT - 1) * target)
    return (weight * cost).sum() / weight.sum().clamp(min=1)


def boundary_interior(objects: Tensor) -> Tensor:
    """0 within `BOUNDARY_PX` (chessboard distance) of another fish, else 1; ``(B, 1, H, W)``."""
    numbers = objects[:, None].float()
    # The background takes no part: it is no other fish.
    highest = _largest_near(numbers)
    lowest = -_largest_near(torch.where(numbers > 0, -numbers, -torch.inf))
    return ((highest == numbers) & (lowest == numbers)).float()


def _largest_near(values: Tensor) -> Tensor:
    return F.max_pool2d(values, 2 * BOUNDARY_PX + 1, stride=1, padding=BOUNDARY_PX)


def distance_interior(objects: Tensor) -> Tensor:
    """Distance to what is not the same fish, 1 in each fish's core; ``(B, 1, H, W)``."""
    maps = [_distances(one) for one in objects.cpu().numpy()]
    return torch.from_numpy(np.stack(maps))[:, None].to(objects.device)


def _distances(objects: NDArray[np.int16]) -> NDArray[np.float32]:
    # One pass for all fish: the pixels that look at another fish are taken away from both.
    apart = objects > 0
    for axis in (0, 1):
        first, second = (np.moveaxis(objects, axis, 0)[part] for part in (np.s_[:-1], np.s_[1:]))
        meet = (first != second) & (first > 0) & (second > 0)
        along = np.moveaxis(apart, axis, 0)
        along[:-1] &= ~meet
        along[1:] &= ~meet
    distances = cv2.distanceTransform(apart.astype(np.uint8), cv2.DIST_L2, 5)
    numbers = np.arange(1, int(objects.max(initial=0)) + 1)
    largest = np.concatenate([[1.0], ndimage.maximum(distances, objects, numbers)])
    shares: NDArray[np.float32] = distances / (CORE_SHARE * np.maximum(largest, 1.0))[objects]
    return np.minimum(shares, 1).astype(np.float32)
