"""Mask files to what a mask shard holds.

All that decides the bytes of a mask shard is here and in what this imports.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fishseg.errors import DataError
from fishseg.features.mask_bits import pack_mask
from fishseg.images.masks import read_objects, read_truth
from fishseg.images.resizing import resize_mask

MAX_OBJECTS = 2**15 - 1


def read_packed_mask(
    path: Path,
    size: tuple[int, int],
    rule: str,
    working: tuple[int, int],
    *,
    with_valid: bool,
    with_objects: bool = False,
) -> dict[str, Tensor]:
    """The mask of an image of ``size`` at the working size: bits ``(H, ceil(W / 8))`` uint8.

    A pixel is fish where the mask covers half of it, and counts unless half of it is ignored.

    Returns:
        ``masks`` and, if asked for, ``valid``, the pixels that count, and ``objects``, the number
        of the fish ``(H, W)`` int16; 0 where there is none, or nobody has said which.

    Raises:
        DataError: the mask can no longer be read, or numbers more fish than an image has.
    """
    truth = read_truth(path, size, rule)
    fish = resize_mask(truth.fish, working) >= 128
    packed = {"masks": pack_mask(fish)}
    if with_valid:
        valid = np.ones(size, bool) if truth.valid is None else truth.valid
        packed["valid"] = pack_mask(resize_mask(valid, working) >= 128)
    if with_objects:
        numbers = read_objects(path, size, rule)
        objects = np.zeros(working, np.int16) if numbers is None else _at(numbers, working, path)
        packed["objects"] = torch.from_numpy(objects * fish)
    return packed


def _at(numbers: NDArray[np.int32], working: tuple[int, int], path: Path) -> NDArray[np.int16]:
    """Numbers ``(H0, W0)`` of fish at the working size, from the middle of each of its pixels."""
    if numbers.max(initial=0) > MAX_OBJECTS:
        raise DataError(
            f"the mask numbers {numbers.max()} fish",
            where=path,
            expected=f"{MAX_OBJECTS} at most",
            remedy="check that it is a mask",
        )
    height, width = working
    return np.array(
        Image.fromarray(numbers).resize((width, height), Image.Resampling.NEAREST)
    ).astype(np.int16)
