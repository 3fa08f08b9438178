"""Bilinear upsampling as two matrix products."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample maps ``(B, C, h, w)`` to ``(B, C, H, W)``, bilinear, ``align_corners=False``.

    The same values as `torch.nn.functional.interpolate`, whose backward pass is not deterministic
    on CUDA (it adds atomically); that of a matrix product is.
    """
    if torch.compiler.is_exporting():
        # Sizes are symbols then, which no cache can hold, and ONNX has one node for all of this.
        return functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    rows = _interpolation(maps.shape[-2], size[0], maps.device, maps.dtype)
    columns = _interpolation(maps.shape[-1], size[1], maps.device, maps.dtype)
    return rows @ maps @ columns.T


@functools.lru_cache(maxsize=64)
@torch.inference_mode(mode=False)  # a cached inference tensor would be of no use in training
def _interpolation(n_in: int, n_out: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The matrix ``(n_out, n_in)`` of one axis; pixel centres lie at half-integers."""
    centre = (torch.arange(n_out, dtype=torch.float64) + 0.5) * (n_in / n_out) - 0.5
    centre = centre.clamp(0, n_in - 1)
    below = centre.floor().long()
    above = (below + 1).clamp(max=n_in - 1)
    weight = centre - below
    matrix = torch.zeros(n_out, n_in, dtype=torch.float64)
    row = torch.arange(n_out)
    matrix[row, below] += 1 - weight
    matrix[row, above] += weight
    return matrix.to(device=device, dtype=dtype)
