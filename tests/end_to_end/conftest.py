"""What the tests of this folder share: a clone in which the pipeline has run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clones import SMALL, clone_repository, commit, in_clone
from transformers import DINOv3ViTConfig, DINOv3ViTModel


@pytest.fixture(scope="module")
def tiny_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv3 ViT with four registers and random weights, in the hub's format."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hub") / "vit"
    config = DINOv3ViTConfig(
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_register_tokens=4,
        image_size=64,
        patch_size=16,
    )
    DINOv3ViTModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_vit: Path) -> Path:
    """A clone in which the small pipeline has run and is committed."""
    clone = tmp_path_factory.mktemp("clones") / "finished"
    clone_repository(clone, {**SMALL, "backbone": {"name": str(tiny_vit)}})
    in_clone(clone, "dvc", "repro")
    commit(clone, "run")
    return clone
