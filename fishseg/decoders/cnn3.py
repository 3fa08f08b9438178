"""The baseline's decoder: three convolutions on the patch grid."""

from __future__ import annotations

from torch import Tensor, nn

from fishseg.decoders.upsampling import upsample


class Cnn3(nn.Module):
    """Conv 3x3 to 128, BN, ReLU; conv 3x3 to 64, BN, ReLU; conv 1x1 to 1 a map; bilinear.

    The decoder of ColdVI/Fish-Segmentation-DINOv3, layer by layer. It sees no pixels, so its
    answer is as fine as the patch grid.
    """

    def __init__(self, in_channels: int, n_maps: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 128, kernel_size=3, padding=1),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 64, kernel_size=3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, n_maps, kernel_size=1),
        )

    def forward(self, features: Tensor, pixels: Tensor) -> Tensor:
        """Logits ``(B, n_maps, H, W)`` of features ``(B, C, h, w)``; of the pixels, the size."""
        logits: Tensor = self.layers(features)
        return upsample(logits, (pixels.shape[-2], pixels.shape[-1]))
