"""The guided filter: what a decoder says, fitted to the edges of the picture.

In each window the answer becomes a linear function of the colours there, so that a mask ends where
they change (He, Sun and Tang, "Guided image filtering", TPAMI 2013; the slopes are found on a
coarser grid, as in He and Sun, "Fast guided filter", 2015). Patch features know where a fish ends
only to some pixels, and nothing has to be learned for this.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fishseg.decoders.upsampling import upsample

CELL = 4  # pixels, of the grid on which slopes are found
# Variance of the colours, of 0 to 1, below which a window counts as of one colour.
_EPSILON = 1e-4


def guided_filter(answer: Tensor, pixels: Tensor, radius: int) -> Tensor:
    """An answer ``(B, 1, H, W)``, 0 to 1, that ends where the picture's colours do.

    Args:
        answer: float32.
        pixels: ``(B, 3, H, W)`` uint8.
        radius: of the square windows, in pixels, a multiple of `CELL`; 0 leaves the answer as it
            is.
    """
    if radius == 0:
        return answer
    height, width = answer.shape[-2:]
    guide = pixels.to(answer.dtype) / 255 - 0.5  # about zero, squares lose fewer digits
    cells = _pooled(torch.cat([guide, answer], dim=1))
    lines = upsample(_lines(cells[:, :3], cells[:, 3:], radius // CELL), _whole(height, width))
    slopes, offset = lines[..., :height, :width].split([3, 1], dim=1)
    filtered: Tensor = (slopes * guide).sum(dim=1, keepdim=True) + offset
    return filtered.clamp(0, 1)


def _lines(guide: Tensor, answer: Tensor, radius: int) -> Tensor:
    """Slopes and offset ``(B, 4, h, w)`` of the answer over the three colours around each cell."""
    red, green, blue = guide.split(1, dim=1)
    squares = [red * red, red * green, red * blue, green * green, green * blue, blue * blue]
    means = _mean(torch.cat([guide, answer, guide * answer, *squares], dim=1), radius)
    r, g, b, mean, xa, ya, za, *squares = means.split(1, dim=1)
    x, y, z = xa - r * mean, ya - g * mean, za - b * mean
    products = (r * r, r * g, r * b, g * g, g * b, b * b)
    rr, rg, rb, gg, gb, bb = (one - two for one, two in zip(squares, products, strict=True))
    # The 3x3 equations of each window, which are positive definite, by elimination.
    rr, gg, bb = rr + _EPSILON, gg + _EPSILON, bb + _EPSILON
    gg, gb, y = gg - rg / rr * rg, gb - rg / rr * rb, y - rg / rr * x
    bb, z = bb - rb / rr * rb - gb / gg * gb, z - rb / rr * x - gb / gg * y
    of_blue = z / bb
    of_green = (y - gb * of_blue) / gg
    of_red = (x - rg * of_green - rb * of_blue) / rr
    offset = mean - of_red * r - of_green * g - of_blue * b
    return _mean(torch.cat([of_red, of_green, of_blue, offset], dim=1), radius)


def _pooled(maps: Tensor) -> Tensor:
    """The mean of each cell; the last row and column are repeated to whole ones."""
    height, width = maps.shape[-2:]
    if height % CELL or width % CELL:
        maps = F.pad(maps, (0, -width % CELL, 0, -height % CELL), mode="replicate")
    return F.avg_pool2d(maps, CELL)


def _whole(height: int, width: int) -> tuple[int, int]:
    """The size in pixels of the cells that cover a picture."""
    return height + -height % CELL, width + -width % CELL


def _mean(maps: Tensor, radius: int) -> Tensor:
    """The mean of the cells around each, along one axis and then the other, without the outside."""
    size = 2 * radius + 1
    rows = F.avg_pool2d(maps, (1, size), stride=1, padding=(0, radius), count_include_pad=False)
    return F.avg_pool2d(rows, (size, 1), stride=1, padding=(radius, 0), count_include_pad=False)
