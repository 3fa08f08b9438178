"""What varies during training, though features are cached: the decoder's inputs.

Nothing here needs a backbone pass. Drawn on the CPU with torch's global generator, so that the
device does not change what is drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor


def jitter_colors(pixels: Tensor, strength: float) -> Tensor:
    """Vary brightness, contrast, saturation and colour cast of each image.

    A decoder that looks at pixels shall find edges, not learn the colours of a few boards.

    Args:
        pixels: ``(B, 3, H, W)`` uint8.
        strength: the largest relative change, in [0, 1]; half of that for the cast.

    Returns:
        Pixels of the same shape, float32, 0 to 255.
    """
    brightness, contrast, saturation = (_factors(pixels, 1, strength) for _ in range(3))
    cast = _factors(pixels, 3, strength / 2)
    flat = pixels.flatten(2).float()  # (B, 3, HW)
    mean = flat.mean(dim=(1, 2), keepdim=True)
    # All four are linear in the colours of a pixel, so they are one matrix and one offset.
    grey = torch.full((3, 3), 1 / 3, device=pixels.device)
    own = torch.eye(3, device=pixels.device)
    matrix = cast * brightness * contrast * torch.lerp(grey, own, saturation)
    offset = cast * brightness * (1 - contrast) * mean
    return torch.baddbmm(offset, matrix, flat).clamp_(0, 255).view(pixels.shape)


def _factors(pixels: Tensor, n_rows: int, largest: float) -> Tensor:
    """Factors ``(B, n_rows, 1)`` between ``1 - largest`` and ``1 + largest``."""
    factors = 1 + largest * (2 * torch.rand(len(pixels), n_rows, 1) - 1)
    return factors.to(pixels.device, non_blocking=True)


def add_noise(features: Tensor, strength: float) -> Tensor:
    """Add Gaussian noise to features ``(B, C, h, w)``, in deviations of each channel."""
    noise = torch.randn(features.shape).to(features.device, non_blocking=True)
    return features + strength * features.std(dim=(0, 2, 3), keepdim=True) * noise
