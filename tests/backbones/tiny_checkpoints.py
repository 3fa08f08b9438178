"""Backbones small enough for a test, with random weights, saved as the hub would have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers

from fishseg.backbones import materialise
from fishseg.params import BackboneParams

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VIT_SIZES = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56}


def dinov2_config() -> Any:
    return transformers.Dinov2Config(**VIT_SIZES, patch_size=14, mlp_ratio=2)


def dinov2_with_registers_config() -> Any:
    return transformers.Dinov2WithRegistersConfig(
        **VIT_SIZES, patch_size=14, mlp_ratio=2, num_register_tokens=4
    )


def dinov3_vit_config() -> Any:
    return transformers.DINOv3ViTConfig(
        **VIT_SIZES, patch_size=16, intermediate_size=48, num_register_tokens=4
    )


def dinov3_convnext_config() -> Any:
    return transformers.DINOv3ConvNextConfig(
        hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 2, 1], layer_scale_init_value=0.5
    )


MODELS: dict[str, Callable[[], Any]] = {
    "dinov2": lambda: transformers.Dinov2Model(dinov2_config()),
    "dinov2_with_registers": lambda: transformers.Dinov2WithRegistersModel(
        dinov2_with_registers_config()
    ),
    "dinov3_vit": lambda: transformers.DINOv3ViTModel(dinov3_vit_config()),
    "dinov3_convnext": lambda: transformers.DINOv3ConvNextModel(dinov3_convnext_config()),
}


def randomised(model: Any) -> Any:
    """The model, every parameter of it random: biases, norms and layer scales too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 + 0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def save_checkpoint(architecture: str, folder: Path) -> Path:
    """Save a tiny model of the architecture into ``folder``."""
    randomised(MODELS[architecture]()).save_pretrained(folder)
    return folder


def params(name: object, revision: str = "") -> BackboneParams:
    return BackboneParams(name=str(name), revision=revision)


def materialised(architecture: str, tmp_path: Path) -> Path:
    """A tiny model of the architecture, as the stage ``backbone`` leaves it."""
    folder = tmp_path / f"backbone-{architecture}"
    materialise(params(save_checkpoint(architecture, tmp_path / architecture)), folder)
    return folder
