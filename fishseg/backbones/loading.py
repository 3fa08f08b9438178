"""The fastest form of a backbone on the device that computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch

from fishseg.backbones.model import CPU, TorchBackbone, load_torch_backbone
from fishseg.backbones.openvino_model import OpenVinoBackbone, load_openvino_backbone

if TYPE_CHECKING:
    from pathlib import Path

Backbone: TypeAlias = TorchBackbone | OpenVinoBackbone


def load_backbone(
    folder: Path,
    layers: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    device: torch.device = CPU,
) -> Backbone:
    """The layers asked for of the backbone in ``folder``: by OpenVINO on a CPU, else by torch.

    Args:
        folder: what `fishseg.backbones.materialise` filled.
        layers: 1 is the first block (ConvNeXt: stage), -1 the last. Their maps are stacked along
            the channels in this order.
        dtype: float32, or bfloat16 for the matrix products.
        device: where it is to compute, and to stay.

    Raises:
        BackboneError: the checkpoint is incomplete, damaged or of an architecture that is not
            supported; a layer it does not have.
        StorageError: the converted model cannot be kept in the store.
    """
    if device.type == "cpu":
        converted = load_openvino_backbone(folder, layers, dtype)
        if converted is not None:
            return converted
    return load_torch_backbone(folder, layers, dtype, device)
