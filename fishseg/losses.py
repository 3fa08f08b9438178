"""Losses of a binary mask, by name.

Each takes logits (B, 1, H, W), before the sigmoid, and a target (B, 1, H, W) in [0, 1], and gives
one number to minimise. They compute in float32 or better, whatever precision the logits come in:
sums over 200,000 pixels overflow float16 and drown in the rounding of bfloat16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

if TYPE_CHECKING:
    from collections.abc import Callable

# In pixels. Small against any fish; it makes an empty prediction on an empty mask cost nothing.
DICE_SMOOTHING = 1.0


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, mean over all pixels of the batch."""
    return F.binary_cross_entropy_with_logits(_at_least_float32(logits), _at_least_float32(target))


def bce_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice loss.

    Cross-entropy treats pixels alike; Dice treats images alike, however small the fish.
    """
    return bce(logits, target) + soft_dice(logits, target)


def soft_dice(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of each image, mean over images; in [0, 1].

    With probabilities p, target t and smoothing s, summed over the pixels of an image:
    ``1 - (2 sum(p t) + s) / (sum(p^2) + sum(t^2) + s)``
    (Milletari et al., "V-Net", 3DV 2016, which has s = 0).
    """
    probabilities = _at_least_float32(logits).sigmoid()
    target = _at_least_float32(target)
    overlap = (probabilities * target).sum(dim=(1, 2, 3))
    total = probabilities.square().sum(dim=(1, 2, 3)) + target.square().sum(dim=(1, 2, 3))
    return (1 - (2 * overlap + DICE_SMOOTHING) / (total + DICE_SMOOTHING)).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bce": bce, "bce_dice": bce_dice}


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
