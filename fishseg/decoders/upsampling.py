"""Bilinear upsampling as two matrix products."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


def upsample(
    maps: Tensor, size: tuple[int, int], covered: tuple[float, float] | None = None
) -> Tensor:
    """Resample maps ``(B, C, h, w)`` to ``(B, C, H, W)``, bilinear, ``align_corners=False``.

    The same values as `torch.nn.functional.interpolate`, whose backward pass is not deterministic
    on CUDA (it adds atomically); that of a matrix product is.

    Args:
        maps: ``(B, C, h, w)``.
        size: ``(H, W)``.
        covered: how many of the rows and columns of the result the maps lie under; all of them
            unless told. Beyond, their last row and column go on.
    """
    # While exporting, sizes are symbols, which no cache can hold.
    interpolation = _interpolation if torch.compiler.is_exporting() else _kept
    length = covered or size
    rows, columns = (
        interpolation(maps.shape[axis], size[axis], length[axis], maps.device, maps.dtype)
        for axis in (-2, -1)
    )
    return rows @ maps @ columns.T


def _interpolation(
    n_in: int, n_out: int, covered: float, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """The matrix ``(n_out, n_in)`` of one axis; pixel centres lie at half-integers."""
    centre = (torch.arange(n_out, dtype=torch.float64) + 0.5) * (n_in / covered) - 0.5
    distance = centre.clamp(0, n_in - 1)[:, None] - torch.arange(n_in, dtype=torch.float64)
    return (1 - distance.abs()).clamp(min=0).to(device=device, dtype=dtype)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(mode=False)  # a cached inference tensor would be of no use in training
def _kept(
    n_in: int, n_out: int, covered: float, device: torch.device, dtype: torch.dtype
) -> Tensor:
    return _interpolation(n_in, n_out, covered, device, dtype)
