"""Mask files to what a mask shard holds.

All that decides the bytes of a mask shard is here and in what this imports.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from fishseg.features.mask_bits import pack_mask
from fishseg.images.masks import read_truth
from fishseg.images.resizing import resize_mask


def read_packed_mask(
    path: Path, size: tuple[int, int], rule: str, working: tuple[int, int], *, with_valid: bool
) -> dict[str, Tensor]:
    """The mask of an image of ``size`` at the working size: bits ``(H, ceil(W / 8))`` uint8.

    A pixel is fish where the mask covers half of it, and counts unless half of it is ignored.

    Returns:
        ``masks`` and, if asked for, ``valid``, the pixels that count.
    """
    truth = read_truth(path, size, rule)
    packed = {"masks": pack_mask(resize_mask(truth.fish, working) >= 128)}
    if with_valid:
        valid = np.ones(size, bool) if truth.valid is None else truth.valid
        packed["valid"] = pack_mask(resize_mask(valid, working) >= 128)
    return packed
