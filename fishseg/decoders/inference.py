"""A decoder in use: features and pixels to probabilities, at whatever size is asked for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate


def decode(decoder: nn.Module, features: Tensor, pixels: Tensor, device: torch.device) -> Tensor:
    """Probability of fish ``(B, 1, H, W)`` float32 on the CPU, at the working resolution.

    Args:
        decoder: in evaluation mode, on ``device``.
        features: ``(B, C, h, w)`` float16.
        pixels: ``(B, 3, H, W)`` uint8.
        device: where to compute.
    """
    with torch.inference_mode():
        logits: Tensor = decoder(features.to(device).float(), pixels.to(device))
        return logits.float().sigmoid().cpu()


def at_size(probability: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    """One image's probability ``(1, 1, H, W)`` resampled to ``size`` ``(H0, W0)``.

    Probabilities rather than logits, and antialiased: where the original is smaller than the
    working size, a pixel gets the mean over the area it covers.
    """
    resampled = interpolate(probability, size=size, mode="bilinear", antialias=True)
    image: NDArray[np.float32] = resampled[0, 0].numpy()
    return image
