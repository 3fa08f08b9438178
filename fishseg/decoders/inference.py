"""A decoder in use: features and pixels to probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fishseg.decoders.guided import guided_filter

if TYPE_CHECKING:
    from fishseg.decoders.files import DecoderCard

_TINY = 1e-6  # beyond, a probability has no finite logit


def decode(
    decoder: nn.Module,
    features: Tensor,
    pixels: Tensor,
    card: DecoderCard,
    device: torch.device,
) -> Tensor:
    """What a decoder says ``(B, n_maps, H, W)`` float32, 0 to 1, on the CPU, at the working size.

    The first map is the probability of fish; the second, where there is one, how far inside a fish
    of its own a pixel lies (see `fishseg.training.interior`).

    Args:
        decoder: in evaluation mode, on ``device``.
        features: ``(B, C, h, w)`` float16.
        pixels: ``(B, 3, H, W)`` uint8.
        card: of the decoder.
        device: where to compute.
    """
    with torch.inference_mode():
        pixels = pixels.to(device)
        logits: Tensor = decoder(features.to(device).float(), pixels).float()
        return to_maps(logits, pixels, card).cpu()


def to_maps(logits: Tensor, pixels: Tensor, card: DecoderCard) -> Tensor:
    """What logits ``(B, n_maps, H, W)`` say, 0 to 1, as the card has it."""
    return calibrated(filtered(logits, pixels, card.guided_radius), card.temperature).sigmoid()


def filtered(logits: Tensor, pixels: Tensor, guided_radius: int) -> Tensor:
    """Logits ``(B, n_maps, H, W)``, the first map of them fitted to the edges of the pixels."""
    if guided_radius == 0:
        return logits
    probability = guided_filter(logits[:, :1].sigmoid(), pixels, guided_radius)
    probability = probability.clamp(_TINY, 1 - _TINY)
    return torch.cat([torch.log(probability / (1 - probability)), logits[:, 1:]], dim=1)


def calibrated(logits: Tensor, temperature: float) -> Tensor:
    """Logits ``(B, n_maps, H, W)``, the first map of them divided by the temperature.

    See `fishseg.metrics.calibration`.
    """
    if logits.shape[1] == 1:
        return logits / temperature
    return torch.cat([logits[:, :1] / temperature, logits[:, 1:]], dim=1)
