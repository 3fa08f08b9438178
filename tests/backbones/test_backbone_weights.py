from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_checkpoints import (
    MODELS,
    dinov2_config,
    dinov3_convnext_config,
    dinov3_vit_config,
    params,
    randomised,
    save_checkpoint,
)

from fishseg.backbones import load_torch_backbone, materialise
from fishseg.errors import BackboneError, DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_checkpoint("dinov2", tmp_path / "my-dinov2")


@pytest.mark.parametrize("architecture", MODELS)
def test_a_local_folder(architecture: str, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(architecture, tmp_path / "mine")
    folder = tmp_path / "data/backbone"
    materialise(params(checkpoint), folder)
    assert sorted(contents(folder)) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "source.json",
    ]
    backbone = load_torch_backbone(folder, (-1,))
    multiple = backbone.patch_multiple
    features = backbone(torch.zeros(1, 3, multiple, 2 * multiple, dtype=torch.uint8))
    assert features.isfinite().all()
    assert features.shape[-2:] == (1, 2)


def test_the_same_bytes_wherever_the_checkpoint_lies(checkpoint: Path, tmp_path: Path) -> None:
    materialise(params(checkpoint), tmp_path / "first")
    moved = tmp_path / "elsewhere/my-dinov2"
    moved.parent.mkdir()
    checkpoint.rename(moved)
    config = json.loads((moved / "config.json").read_text())
    config["_name_or_path"] = str(moved)
    (moved / "config.json").write_text(json.dumps(config))
    materialise(params(moved), tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    everything = b"".join(contents(tmp_path / "second").values())
    assert str(tmp_path).encode() not in everything


def test_shards_become_one_file(checkpoint: Path, tmp_path: Path) -> None:
    transformers.Dinov2Model.from_pretrained(checkpoint).save_pretrained(
        tmp_path / "sharded/my-dinov2", max_shard_size="20KB"
    )
    assert not (tmp_path / "sharded/my-dinov2/model.safetensors").exists()
    materialise(params(checkpoint), tmp_path / "whole")
    materialise(params(tmp_path / "sharded/my-dinov2"), tmp_path / "merged")
    assert contents(tmp_path / "whole") == contents(tmp_path / "merged")


def test_a_missing_shard(checkpoint: Path, tmp_path: Path) -> None:
    sharded = tmp_path / "sharded"
    transformers.Dinov2Model.from_pretrained(checkpoint).save_pretrained(
        sharded, max_shard_size="20KB"
    )
    shard = sorted(sharded.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(BackboneError, match="this shard cannot be read") as refusal:
        materialise(params(sharded), tmp_path / "backbone")
    assert refusal.value.where == str(shard)


@pytest.mark.parametrize(
    ("make", "architecture"),
    [
        (lambda: transformers.Dinov2Backbone(dinov2_config()), "dinov2"),
        (lambda: transformers.Dinov2ForImageClassification(dinov2_config()), "dinov2"),
        (lambda: transformers.DINOv3ViTBackbone(dinov3_vit_config()), "dinov3_vit"),
    ],
)
def test_checkpoints_of_other_classes_hold_the_same_backbone(
    make: Callable[[], Any], architecture: str, tmp_path: Path
) -> None:
    plain = randomised(MODELS[architecture]())
    plain.save_pretrained(tmp_path / "plain")
    other = make()
    body = getattr(other, "dinov2", other)
    body.load_state_dict(plain.state_dict())
    other.save_pretrained(tmp_path / "other")
    pixels = torch.arange(3 * 112 * 224).reshape(1, 3, 112, 224).to(torch.uint8)
    features = []
    for name in ("plain", "other"):
        materialise(params(tmp_path / name), tmp_path / f"backbone-{name}")
        features.append(load_torch_backbone(tmp_path / f"backbone-{name}", (1, -1))(pixels))
    assert torch.equal(*features)


def test_a_head_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, checkpoint: Path
) -> None:
    materialise(params(checkpoint), tmp_path / "backbone")
    assert "not used" not in caplog.text
    randomised(transformers.Dinov2ForImageClassification(dinov2_config())).save_pretrained(
        tmp_path / "classifier"
    )
    materialise(params(tmp_path / "classifier"), tmp_path / "backbone")
    assert "not used: classifier.bias, classifier.weight" in caplog.text


def test_weights_are_never_left_to_chance(tmp_path: Path) -> None:
    # This class has no final LayerNorm, and ConvNeXt features need it.
    transformers.DINOv3ConvNextBackbone(dinov3_convnext_config()).save_pretrained(tmp_path / "a")
    with pytest.raises(BackboneError, match="weights are missing: layer_norm"):
        materialise(params(tmp_path / "a"), tmp_path / "backbone")


@pytest.mark.parametrize("architecture", MODELS)
def test_a_missing_tensor(architecture: str, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(architecture, tmp_path / "checkpoint")
    weights = load_file(checkpoint / "model.safetensors")
    del weights[sorted(weights)[-1]]
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match="weights are missing"):
        materialise(params(checkpoint), tmp_path / "backbone")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_register_tokens": 0}, "cannot be loaded"),
        ({"num_hidden_layers": 4}, "weights are missing"),
        ({"hidden_size": 48}, "cannot be loaded"),
        ({"hidden_size": "wide"}, "refuses this configuration"),
        ({"patch_size": [16, 8]}, "square patches"),
        ({"model_type": "vit"}, "'vit' is not supported"),
        ({"model_type": None}, "None is not supported"),
    ],
)
def test_a_config_that_does_not_fit(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    checkpoint = save_checkpoint("dinov3_vit", tmp_path / "checkpoint")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(BackboneError, match=message):
        materialise(params(checkpoint), tmp_path / "backbone")


def test_a_config_that_is_not_json(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "config.json").write_text('{"model_type": "dinov2"')
    with pytest.raises(BackboneError, match="not JSON") as refusal:
        materialise(params(checkpoint), tmp_path / "backbone")
    assert refusal.value.where == str(checkpoint / "config.json")


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_cut_off_weights(share: float, checkpoint: Path, tmp_path: Path) -> None:
    weights = checkpoint / "model.safetensors"
    os.truncate(weights, int(weights.stat().st_size * share))
    with pytest.raises(BackboneError, match="cannot be loaded"):
        materialise(params(checkpoint), tmp_path / "backbone")


def test_weights_in_another_format(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="save_pretrained"):
        materialise(params(checkpoint), tmp_path / "backbone")


def test_another_backbone_takes_the_place_of_the_first(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backbone"
    materialise(params(checkpoint), folder)
    cached = tmp_path / "cached"
    cached.hardlink_to(folder / "model.safetensors")
    before = cached.read_bytes()
    materialise(params(save_checkpoint("dinov3_vit", tmp_path / "other")), folder)
    assert load_torch_backbone(folder, (-1,)).name == "other"
    assert cached.read_bytes() == before


def test_a_place_that_cannot_be_written(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DownloadError, match="cannot be written"):
        materialise(params(checkpoint), tmp_path / "taken")


def test_the_source_is_never_overwritten(checkpoint: Path) -> None:
    before = contents(checkpoint)
    with pytest.raises(BackboneError, match="cannot be its source"):
        materialise(params(checkpoint), checkpoint)
    assert contents(checkpoint) == before
