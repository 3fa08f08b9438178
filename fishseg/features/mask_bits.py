"""Masks as a mask shard holds them: at the working size, a bit a pixel.

Everything that decides the bytes of a mask shard is here and in `fishseg.images`.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fishseg.images.masks import read_truth
from fishseg.images.resizing import resize_mask


def read_packed_mask(
    path: Path, size: tuple[int, int], rule: str, working: tuple[int, int], *, with_valid: bool
) -> dict[str, Tensor]:
    """The mask of an image of ``size`` at the working size: bits ``(H, ceil(W / 8))`` uint8.

    A pixel is fish where the mask covers half of it, and valid unless half of it is ignored.

    Returns:
        ``masks``, and ``valid`` if asked for.
    """
    truth = read_truth(path, size, rule)
    packed = {"masks": pack_mask(resize_mask(truth.fish, working) >= 128)}
    if with_valid:
        whole = np.ones(size, bool)
        valid = resize_mask(whole if truth.valid is None else truth.valid, working) >= 128
        packed["valid"] = pack_mask(valid)
    return packed


def pack_mask(mask: NDArray[np.bool_]) -> Tensor:
    """A mask ``(H, W)`` as bits ``(H, ceil(W / 8))`` uint8, the leftmost in the highest bit."""
    return torch.from_numpy(np.packbits(mask, axis=1))


def unpack_masks(masks: Tensor, width: int) -> Tensor:
    """Masks ``(B, H, ceil(W / 8))`` uint8 as ``(B, 1, H, W)`` float32, 0 or 1."""
    # A table lookup unpacks about three times as fast as shifts and ands.
    bits = functional.embedding(masks.int(), _bits_of_bytes(masks.device))
    return bits.flatten(2)[:, None, :, :width].contiguous()


@functools.lru_cache(maxsize=8)
def _bits_of_bytes(device: torch.device) -> Tensor:
    """The eight bits of every byte ``(256, 8)`` float32, the highest first."""
    shifts = torch.arange(7, -1, -1)
    return ((torch.arange(256)[:, None] >> shifts) & 1).float().to(device)
