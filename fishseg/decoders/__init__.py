"""Decoders: features of a frozen backbone to logits, one file each.

A decoder is a module whose ``forward`` takes ``features (B, C, h, w)`` and the ``pixels
(B, 3, H, W)`` uint8 they were computed from, and gives ``logits (B, 1, H, W)``. Adding one takes
its file and its line in `DECODERS`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from fishseg.decoders.cnn3 import Cnn3
from fishseg.decoders.detail import Detail
from fishseg.decoders.linear import Linear
from fishseg.params import choose

DECODERS: dict[str, Callable[[int], nn.Module]] = {
    "detail": Detail,
    "cnn3": Cnn3,
    "linear": Linear,
}


def build(name: str, in_channels: int) -> nn.Module:
    """A decoder with fresh weights for feature maps of ``in_channels`` channels.

    Raises:
        ParameterError: there is no decoder of that name.
    """
    return choose(DECODERS, name, "train.decoder")(in_channels)
