"""Mask files to what a mask shard holds.

All that decides the bytes of a mask shard is here and in what this imports.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from fishseg.features.mask_bits import pack_mask
from fishseg.images.masks import read_mask
from fishseg.images.resizing import resize_mask


def read_packed_mask(path: Path, size: tuple[int, int], working: tuple[int, int]) -> Tensor:
    """The mask of an image of ``size`` at the working size: bits ``(H, ceil(W / 8))`` uint8.

    A pixel is fish where the mask covers half of it.
    """
    return pack_mask(resize_mask(read_mask(path, size), working) >= 128)
