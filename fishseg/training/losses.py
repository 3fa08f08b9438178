"""Losses of a binary mask, by name.

Each takes logits (B, 1, H, W), before the sigmoid, a target (B, 1, H, W) in [0, 1], and which
pixels count (B, 1, H, W) bool, None if all do, and gives one number to minimise. A pixel that does
not count has a target of 0, no influence and no gradient.

They compute in float32 or better, whatever precision the logits come in: sums over 200,000 pixels
overflow float16 and drown in the rounding of bfloat16.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

# In pixels. Small against any fish; it makes an empty prediction on an empty mask cost nothing.
DICE_SMOOTHING = 1.0
# A contour pixel counts as much as this many others, within this distance at the working size.
BOUNDARY_WEIGHT = 4.0
BOUNDARY_PX = 3


class Loss(Protocol):
    """What all losses have in common."""

    def __call__(self, logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """One number to minimise."""


def bce(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, mean over all pixels of the batch that count."""
    if valid is not None:
        logits, target = _at_least_float32(logits), _at_least_float32(target)
        cost = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (cost * valid).sum() / valid.sum().clamp(min=1)
    return F.binary_cross_entropy_with_logits(_at_least_float32(logits), _at_least_float32(target))


def bce_dice(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy plus soft Dice loss.

    Cross-entropy treats pixels alike; Dice treats images alike, however small the fish.
    """
    return bce(logits, target, valid) + soft_dice(logits, target, valid)


def soft_dice(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """One minus the soft Dice coefficient of each image, mean over images; in [0, 1].

    With probabilities p, target t and smoothing s, summed over the pixels of an image:
    ``1 - (2 sum(p t) + s) / (sum(p^2) + sum(t^2) + s)``
    (Milletari et al., "V-Net", 3DV 2016, which has s = 0).
    """
    probabilities = _at_least_float32(logits).sigmoid()
    target = _at_least_float32(target)
    if valid is not None:
        probabilities = probabilities * valid
    overlap = (probabilities * target).sum(dim=(1, 2, 3))
    total = probabilities.square().sum(dim=(1, 2, 3)) + target.square().sum(dim=(1, 2, 3))
    return (1 - (2 * overlap + DICE_SMOOTHING) / (total + DICE_SMOOTHING)).mean()


def bce_lovasz(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy plus the Lovász hinge loss."""
    return bce(logits, target, valid) + lovasz_hinge(logits, target, valid)


def lovasz_hinge(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """The Lovász extension of the Jaccard loss with hinge errors, mean over images; at least 0.

    Convex in the logits, and equal to one minus the IoU where every logit is -1 or 1
    (Berman, Rannen Triki and Blaschko, "The Lovász-Softmax loss", CVPR 2018).
    """
    logits, target = (_at_least_float32(tensor).flatten(1) for tensor in (logits, target))
    errors = 1 - logits * (2 * target - 1)
    if valid is not None:
        # Behind all others, where the hinge is flat.
        errors = errors.masked_fill(~valid.flatten(1), -torch.inf)
    errors, order = errors.sort(dim=1, descending=True)
    # Sums of whole numbers: those of floats are not deterministic on CUDA.
    fish = (target >= 0.5).gather(1, order).long()
    n_fish = fish.sum(dim=1, keepdim=True)
    # IoU when the pixels with the largest errors, up to each one, are taken as wrong.
    intersection = n_fish - fish.cumsum(dim=1)
    union = n_fish + (1 - fish).cumsum(dim=1)
    jaccard = 1 - intersection / union
    gradient = torch.cat([jaccard[:, :1], jaccard.diff(dim=1)], dim=1)
    return (errors.relu() * gradient).sum(dim=1).mean()


def boundary_bce_dice(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy with the pixels along the contour weighted up, plus soft Dice loss."""
    logits, target = _at_least_float32(logits), _at_least_float32(target)
    cost = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = 1 + (BOUNDARY_WEIGHT - 1) * _boundary_band(target, valid)
    if valid is not None:
        weight = weight * valid
        total = weight.sum().clamp(min=1)
    else:
        total = weight.sum()
    return (weight * cost).sum() / total + soft_dice(logits, target, valid)


def _boundary_band(target: Tensor, valid: Tensor | None) -> Tensor:
    """True within `BOUNDARY_PX` of the contour, on either side, and False elsewhere.

    Between what is fish and what nobody knows there is no contour.
    """
    fish = target >= 0.5
    background = ~fish if valid is None else ~fish & valid
    return _grown(fish) & _grown(background)


def _grown(mask: Tensor) -> Tensor:
    """The mask ``(B, 1, H, W)``, dilated by a square of `BOUNDARY_PX`; a byte a pixel, so fast."""
    for axis in (2, 3):
        length = mask.shape[axis]
        grown = mask.clone()
        for shift in range(1, min(BOUNDARY_PX, length - 1) + 1):
            grown.narrow(axis, shift, length - shift).logical_or_(
                mask.narrow(axis, 0, length - shift)
            )
            grown.narrow(axis, 0, length - shift).logical_or_(
                mask.narrow(axis, shift, length - shift)
            )
        mask = grown
    return mask


LOSSES: dict[str, Loss] = {
    "bce": bce,
    "bce_dice": bce_dice,
    "bce_lovasz": bce_lovasz,
    "boundary_bce_dice": boundary_bce_dice,
}


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
