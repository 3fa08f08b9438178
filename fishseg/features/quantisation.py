"""Features in eight bits: half the disk and memory of float16, at a small loss of accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 127
SMALLEST_SCALE = 2.0**-14  # the smallest normal float16
# Between half a unit in the last place and one and a half, wherever in its binade a normal float16
# lies: what it is multiplied with rounds to the next one. ONNX knows no `nextafter`.
NEXT_HALF = 1 + 1.25 * 2.0**-11


def quantise(features: Tensor) -> tuple[Tensor, Tensor]:
    """Round features to whole steps, each channel of each sample on a scale of its own.

    Scales of its own make a sample's bytes independent of what it is computed or stored with.

    Args:
        features: ``(B, C, h, w)`` of any float type.

    Returns:
        int8 features ``(B, C, h, w)``, and the worth of a step ``(B, C)`` float16.
    """
    steps, scales = _in_steps(features.float())
    return steps.to(torch.int8), scales


def dequantise(steps: Tensor, scales: Tensor) -> Tensor:
    """Float16 features of what `quantise` gave."""
    return steps.half() * scales[:, :, None, None]


def rounded(features: Tensor) -> Tensor:
    """Features ``(B, C, h, w)`` float32 as they come back from the cache, for exported graphs.

    The same numbers as `dequantise` of `quantise`: a product of 7 and 11 bits is exact in float32.
    """
    steps, scales = _in_steps(features)
    return (steps * scales.float()[:, :, None, None]).half().float()


def _in_steps(features: Tensor) -> tuple[Tensor, Tensor]:
    """Whole steps ``(B, C, h, w)`` float32, and the worth of one ``(B, C)`` float16."""
    exact = (features.abs().amax(dim=(2, 3)) / STEPS).clamp(min=SMALLEST_SCALE)
    # The next float16 above, so that no value needs more than 127 steps.
    scales = (exact.half().float() * NEXT_HALF).half()
    return (features / scales.float()[:, :, None, None]).round(), scales
