"""DINOv3's linear segmentation head."""

from __future__ import annotations

from torch import Tensor, nn

from fishseg.decoders.upsampling import upsample

DROPOUT = 0.1


class Linear(nn.Module):
    """Dropout of whole channels, batch norm, one 1x1 convolution; bilinear upsampling.

    The linear probe of Siméoni et al. 2025 (DINOv3), with a class a map.
    """

    def __init__(self, in_channels: int, n_maps: int = 1) -> None:
        super().__init__()
        head = nn.Conv2d(in_channels, n_maps, kernel_size=1)
        nn.init.normal_(head.weight, std=0.01)
        self.layers = nn.Sequential(nn.Dropout2d(DROPOUT), nn.BatchNorm2d(in_channels), head)

    def forward(self, features: Tensor, pixels: Tensor) -> Tensor:
        """Logits ``(B, n_maps, H, W)`` of features ``(B, C, h, w)``; of the pixels, the size."""
        logits: Tensor = self.layers(features)
        return upsample(logits, (pixels.shape[-2], pixels.shape[-1]))
