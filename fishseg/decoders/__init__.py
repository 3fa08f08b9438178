"""Decoders: features of a frozen backbone to logits, one file each.

A decoder is a module whose ``forward`` takes ``features (B, C, h, w)`` and the ``pixels
(B, 3, H, W)`` uint8 they were computed from, and gives ``logits (B, n_maps, H, W)``: the first map
is the mask's, a second one, where there is one, tells fish apart that touch (see
`fishseg.training.interior`). Adding a decoder takes its file and its line in `DECODERS`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import nn

from fishseg.decoders.cnn3 import Cnn3
from fishseg.decoders.detail import Detail
from fishseg.decoders.linear import Linear
from fishseg.errors import ParameterError
from fishseg.params import choose

# What tells fish apart that touch: nothing, or what the second map says.
NONE, BOUNDARY, DISTANCE = "none", "boundary", "distance"

DECODERS: dict[str, Callable[..., nn.Module]] = {
    "detail": Detail,
    "cnn3": Cnn3,
    "linear": Linear,
}


def build(name: str, in_channels: int, instances: str = NONE) -> nn.Module:
    """A decoder with fresh weights for feature maps of ``in_channels`` channels.

    Args:
        name: of the decoder.
        in_channels: of the feature maps.
        instances: what its second map is, ``boundary`` or ``distance``; ``none`` for no such map.

    Raises:
        ParameterError: there is no decoder of that name, or it has one map only.
    """
    make = choose(DECODERS, name, "train.decoder")
    if instances == NONE:
        return make(in_channels)
    if "n_maps" not in inspect.signature(make).parameters:
        raise ParameterError(
            f"the decoder {name} has no second map to tell fish apart by",
            where="train.instances",
            expected="a decoder that takes n_maps, as docs/own-decoder.md says",
            remedy="dvc exp run -S train.decoder=detail, or -S train.instances=none",
        )
    return make(in_channels, n_maps=2)
