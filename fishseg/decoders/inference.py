"""A decoder in use: features and pixels to probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def decode(
    decoder: nn.Module,
    features: Tensor,
    pixels: Tensor,
    device: torch.device,
    *,
    temperature: float,
) -> Tensor:
    """Probability of fish ``(B, 1, H, W)`` float32 on the CPU, at the working resolution.

    Args:
        decoder: in evaluation mode, on ``device``.
        features: ``(B, C, h, w)`` float16.
        pixels: ``(B, 3, H, W)`` uint8.
        device: where to compute.
        temperature: what the logits are divided by (see `fishseg.metrics.calibration`).
    """
    with torch.inference_mode():
        logits: Tensor = decoder(features.to(device).float(), pixels.to(device))
        return (logits.float() / temperature).sigmoid().cpu()
