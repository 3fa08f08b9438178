"""A decoder in use: features and pixels to probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fishseg.decoders.guided import guided_filter

_TINY = 1e-6  # beyond, a probability has no finite logit


def decode(
    decoder: nn.Module,
    features: Tensor,
    pixels: Tensor,
    device: torch.device,
    *,
    temperature: float,
    guided_radius: int,
) -> Tensor:
    """What a decoder says ``(B, n_maps, H, W)`` float32, 0 to 1, on the CPU, at the working size.

    The first map is the probability of fish; the second, where there is one, how far inside a fish
    of its own a pixel lies (see `fishseg.training.interior`).

    Args:
        decoder: in evaluation mode, on ``device``.
        features: ``(B, C, h, w)`` float16.
        pixels: ``(B, 3, H, W)`` uint8.
        device: where to compute.
        temperature: what the logits of fish are divided by (see `fishseg.metrics.calibration`).
        guided_radius: see `fishseg.decoders.guided`.
    """
    with torch.inference_mode():
        pixels = pixels.to(device)
        logits: Tensor = decoder(features.to(device).float(), pixels).float()
        return calibrated(filtered(logits, pixels, guided_radius), temperature).sigmoid().cpu()


def filtered(logits: Tensor, pixels: Tensor, guided_radius: int) -> Tensor:
    """Logits ``(B, n_maps, H, W)``, the first map of them fitted to the edges of the pixels."""
    if guided_radius == 0:
        return logits
    probability = guided_filter(logits[:, :1].sigmoid(), pixels, guided_radius)
    probability = probability.clamp(_TINY, 1 - _TINY)
    return torch.cat([torch.log(probability / (1 - probability)), logits[:, 1:]], dim=1)


def calibrated(logits: Tensor, temperature: float) -> Tensor:
    """Logits ``(B, n_maps, H, W)``, the first map of them divided by the temperature."""
    if logits.shape[1] == 1:
        return logits / temperature
    return torch.cat([logits[:, :1] / temperature, logits[:, 1:]], dim=1)
