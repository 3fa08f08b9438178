"""The default decoder: the features know what is fish, the pixels know where it ends."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fishseg.decoders.upsampling import upsample

WIDTH = 96  # channels on the patch grid
FINE_WIDTH = 48  # channels of either branch where they meet
STRIDE = 4  # pixels, of the grid on which they meet
DROPOUT = 0.1


class Detail(nn.Module):
    """Patch features and pixels, joined at a quarter of the working resolution.

    On the patch grid, the features are normalised, projected and see their neighbours; a coarse
    answer is read off there. Upsampled to stride 4 they meet the pixels, which a lossless
    space-to-depth brings to the same grid; from both, sub-pixel convolution (Shi et al., "Real-time
    single image and video super-resolution", CVPR 2016) makes a correction to the upsampled coarse
    answer at full resolution. All convolutions run at stride 4 or coarser: a full-resolution layer
    of 16 channels would cost as much as the rest.
    """

    def __init__(self, in_channels: int, n_maps: int = 1) -> None:
        super().__init__()
        self.context = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Dropout2d(DROPOUT),
            _convolution(in_channels, WIDTH, 1),
            _convolution(WIDTH, WIDTH, 3),
        )
        self.coarse = nn.Conv2d(WIDTH, n_maps, 1)
        self.lateral = nn.Conv2d(WIDTH, FINE_WIDTH, 1)
        self.stem = _convolution(3 * STRIDE**2, FINE_WIDTH, 3)
        self.fuse = nn.Sequential(
            _convolution(FINE_WIDTH, FINE_WIDTH, 3), _convolution(FINE_WIDTH, FINE_WIDTH, 3)
        )
        self.correction = nn.Conv2d(FINE_WIDTH, n_maps * STRIDE**2, 3, padding=1)
        for parameter in self.correction.parameters():
            nn.init.zeros_(parameter)  # training starts from the coarse answer alone

    def forward(self, features: Tensor, pixels: Tensor) -> Tensor:
        """Logits ``(B, n_maps, H, W)`` of features ``(B, C, h, w)`` and pixels ``(B, 3, H, W)``."""
        height, width = pixels.shape[-2:]
        appearance = self.stem(_to_depth(pixels.to(features.dtype) / 127.5 - 1))
        context = self.context(features)
        # The last cells may reach into the padding; the features end where the picture does.
        covered = (height / STRIDE, width / STRIDE)
        lateral = upsample(self.lateral(context), appearance.shape[-2:], covered)
        correction = self.correction(self.fuse(lateral + appearance))
        correction = F.pixel_shuffle(correction, STRIDE)[..., :height, :width]
        return upsample(self.coarse(context), (height, width)) + correction


def _to_depth(pixels: Tensor) -> Tensor:
    """Pixels ``(B, 3, H, W)`` as ``(B, 48, ceil(H/4), ceil(W/4))``, none lost."""
    height, width = pixels.shape[-2:]
    if height % STRIDE or width % STRIDE:
        # Padding repeats the last row and column; what is answered there is cropped again.
        padding = (0, -width % STRIDE, 0, -height % STRIDE)
        pixels = F.pad(pixels, padding, mode="replicate")
    return F.pixel_unshuffle(pixels, STRIDE)


def _convolution(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
