from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from tiny_checkpoints import MODELS, materialised, params, save_checkpoint
from torch import Tensor

from fishseg.backbones import load_torch_backbone, materialise
from fishseg.backbones.blocks import FusedBlock
from fishseg.backbones.model import resolve_layers
from fishseg.errors import BackboneError

if TYPE_CHECKING:
    from pathlib import Path

# Class of the plain model, name of its final LayerNorm, prefix tokens, patch size.
VITS = {
    "dinov2": (transformers.Dinov2Model, "layernorm", 1, 14),
    "dinov2_with_registers": (transformers.Dinov2WithRegistersModel, "layernorm", 5, 14),
    "dinov3_vit": (transformers.DINOv3ViTModel, "norm", 5, 16),
}
MULTIPLES = {"dinov2": 14, "dinov2_with_registers": 14, "dinov3_vit": 16, "dinov3_convnext": 32}


def noise(height: int, width: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=generator)


def normalised(pixels: Tensor) -> Tensor:
    images = pixels.double() / 255
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        images[:, channel] = (images[:, channel] - mean) / std
    return images.float()


def patch_grid(tokens: Tensor, height: int, width: int) -> Tensor:
    """Tokens ``(B, h*w, D)``, row after row of the image, as ``(B, D, h, w)``."""
    grid = torch.zeros(len(tokens), tokens.shape[2], height, width)
    for row in range(height):
        for column in range(width):
            grid[:, :, row, column] = tokens[:, row * width + column]
    return grid


def reference_layers(architecture: str, folder: Path, pixels: Tensor) -> list[Tensor]:
    """Every block's patch tokens under the final LayerNorm, from the plain transformers model."""
    model_class, norm_name, n_prefix, patch = VITS[architecture]
    model: Any = model_class.from_pretrained(folder).eval()
    norm = getattr(model, norm_name)
    height, width = pixels.shape[-2] // patch, pixels.shape[-1] // patch
    with torch.no_grad():
        states = model(normalised(pixels), output_hidden_states=True).hidden_states[1:]
    layers = []
    for state in states:
        centred = state - state.mean(dim=-1, keepdim=True)
        spread = (state.var(dim=-1, keepdim=True, correction=0) + norm.eps).sqrt()
        tokens = (centred / spread * norm.weight + norm.bias)[:, n_prefix:]
        layers.append(patch_grid(tokens.detach(), height, width))
    return layers


@pytest.mark.parametrize("architecture", VITS)
@pytest.mark.parametrize("layers", [(-1,), (1, 2, 3), (3, 1), (-2,)])
def test_vit_features_are_those_of_the_plain_model(
    architecture: str, layers: tuple[int, ...], tmp_path: Path
) -> None:
    folder = materialised(architecture, tmp_path)
    patch = MULTIPLES[architecture]
    pixels = noise(3 * patch, 5 * patch)
    backbone = load_torch_backbone(folder, layers)
    reference = reference_layers(architecture, folder, pixels)
    expected = torch.cat([reference[layer - (layer > 0)] for layer in layers], dim=1)
    features = backbone(pixels)
    assert features.shape == (2, 24 * len(layers), 3, 5)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, expected, rtol=0, atol=2e-6)
    assert backbone.channels == features.shape[1]
    assert (backbone.n_layers, backbone.patch_multiple) == (3, patch)


def test_convnext_features_are_those_of_the_plain_model(tmp_path: Path) -> None:
    folder = materialised("dinov3_convnext", tmp_path)
    pixels = noise(64, 96)
    model = transformers.DINOv3ConvNextModel.from_pretrained(folder).eval()
    with torch.no_grad():
        plain = model(normalised(pixels), output_hidden_states=True)
    last = patch_grid(plain.last_hidden_state[:, 1:], 2, 3)
    stages = [None, *plain.hidden_states[1:4], last]
    for stage, size in ((1, (16, 24)), (2, (8, 12)), (3, (4, 6)), (-1, (2, 3))):
        features = load_torch_backbone(folder, (stage,))(pixels)
        assert features.shape[-2:] == size
        torch.testing.assert_close(features, stages[stage], rtol=0, atol=1e-6)


def test_convnext_maps_meet_on_the_finest_grid(tmp_path: Path) -> None:
    folder = materialised("dinov3_convnext", tmp_path)
    pixels = noise(64, 96)
    single = {stage: load_torch_backbone(folder, (stage,))(pixels) for stage in (2, 4)}
    backbone = load_torch_backbone(folder, (4, 2))
    features = backbone(pixels)
    assert features.shape == (2, 16 + 8, 8, 12)
    assert (backbone.channels, backbone.n_layers, backbone.patch_multiple) == (24, 4, 32)
    assert torch.equal(features[:, 16:], single[2])
    # Bilinear by 4 in each direction, between the centres of the four cells around this one:
    # 3/8 of the way from row 0 to row 1, 1/8 of the way from column 1 to column 2.
    weights = torch.tensor([[5 / 8 * 7 / 8, 5 / 8 * 1 / 8], [3 / 8 * 7 / 8, 3 / 8 * 1 / 8]])
    expected = (single[4][:, :, 0:2, 1:3] * weights).sum(dim=(2, 3))
    torch.testing.assert_close(features[:, :16, 3, 6], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", MODELS)
def test_a_change_in_the_image_shows_in_its_own_cell(architecture: str, tmp_path: Path) -> None:
    multiple = MULTIPLES[architecture]
    pixels = torch.full((1, 3, 3 * multiple, 5 * multiple), 128, dtype=torch.uint8)
    changed = pixels.clone()
    changed[..., 1 * multiple : 2 * multiple, 3 * multiple : 4 * multiple] = 250
    layer = -1 if architecture == "dinov3_convnext" else 1
    backbone = load_torch_backbone(materialised(architecture, tmp_path), (layer,))
    change = (backbone(changed) - backbone(pixels)).abs().sum(dim=1)[0]
    assert divmod(int(change.argmax()), 5) == (1, 3)


@pytest.mark.parametrize("architecture", VITS)
def test_blocks_after_the_deepest_one_are_not_loaded(architecture: str, tmp_path: Path) -> None:
    folder = materialised(architecture, tmp_path)
    n_parameters = [
        sum(parameter.numel() for parameter in load_torch_backbone(folder, (layer,)).parameters())
        for layer in (1, 2, 3)
    ]
    assert n_parameters[2] - n_parameters[1] == n_parameters[1] - n_parameters[0] > 1000


@pytest.mark.parametrize("architecture", MODELS)
def test_frozen(architecture: str, tmp_path: Path) -> None:
    backbone = load_torch_backbone(materialised(architecture, tmp_path), (-1,))
    multiple = backbone.patch_multiple
    pixels = noise(2 * multiple, 3 * multiple)
    features = backbone(pixels)
    torch.nn.Sequential(backbone).train()
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not features.requires_grad
    assert torch.equal(backbone(pixels), features)


@pytest.mark.parametrize("architecture", MODELS)
def test_float32_comes_out_of_bfloat16(architecture: str, tmp_path: Path) -> None:
    folder = materialised(architecture, tmp_path)
    backbone = load_torch_backbone(folder, (1,))
    multiple = backbone.patch_multiple
    pixels = noise(2 * multiple, 3 * multiple)
    exact = backbone(pixels)
    features = load_torch_backbone(folder, (1,), torch.bfloat16)(pixels)
    assert features.dtype == torch.float32
    assert not torch.equal(features, exact)
    assert float((features - exact).norm() / exact.norm()) < 0.01


@pytest.mark.parametrize("architecture", VITS)
def test_fused_blocks_compute_what_the_plain_ones_do(architecture: str, tmp_path: Path) -> None:
    patch = MULTIPLES[architecture]
    backbone: Any = load_torch_backbone(materialised(architecture, tmp_path), (1, 3))
    torch.manual_seed(0)
    for parameter in backbone.parameters():  # biases and layer scales of fresh models are constant
        parameter.add_(torch.randn_like(parameter), alpha=0.5)
    pixels = noise(3 * patch, 5 * patch)
    expected = backbone(pixels)
    n_linear = sum(isinstance(module, torch.nn.Linear) for module in backbone.modules())
    for number, block in enumerate(backbone.blocks):
        backbone.blocks[number] = FusedBlock(block)
    fused = sum(isinstance(module, torch.nn.Linear) for module in backbone.modules())
    assert fused == n_linear - 3 * 2  # of each of three blocks, two of the three projections
    torch.testing.assert_close(backbone(pixels), expected, rtol=0, atol=2e-5)


def test_loading_is_quiet_and_leaves_transformers_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = materialised("dinov2", tmp_path)
    logging = transformers.utils.logging
    before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
    capfd.readouterr()
    load_torch_backbone(folder, (1,))
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_the_checkpoints_own_normalisation_is_used(tmp_path: Path) -> None:
    checkpoint = save_checkpoint("dinov2", tmp_path / "checkpoint")
    pixels = noise(28, 42)
    materialise(params(checkpoint), tmp_path / "imagenet")
    own = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "do_resize": True}
    (checkpoint / "preprocessor_config.json").write_text(json.dumps(own))
    materialise(params(checkpoint), tmp_path / "own")
    imagenet, own_backbone = (load_torch_backbone(tmp_path / n, (1,)) for n in ("imagenet", "own"))
    assert imagenet.weights_sha256 != own_backbone.weights_sha256
    with torch.no_grad():
        expected = imagenet.layer_maps((pixels.float() / 255 - 0.5) / 0.25)[0]
    torch.testing.assert_close(own_backbone(pixels), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "size", "remedy"),
    [
        ("dinov2", (28, 43), "28 x 42"),
        ("dinov2", (7, 28), "14 x 28"),
        ("dinov3_vit", (440, 592), "448 x 592"),
        ("dinov3_convnext", (48, 64), "64 x 64"),
    ],
)
def test_sizes_that_do_not_divide(
    architecture: str, size: tuple[int, int], remedy: str, tmp_path: Path
) -> None:
    backbone = load_torch_backbone(materialised(architecture, tmp_path), (-1,))
    with pytest.raises(BackboneError, match=f"multiples of {MULTIPLES[architecture]}") as refusal:
        backbone(noise(*size))
    assert refusal.value.remedy == f"resize to {remedy}"


def test_pixels_of_another_type_or_shape(tmp_path: Path) -> None:
    backbone = load_torch_backbone(materialised("dinov2", tmp_path), (-1,))
    for pixels in (noise(28, 28).float(), noise(28, 28)[0], noise(28, 28)[:, :1]):
        with pytest.raises(BackboneError, match=r"\(B, 3, H, W\) torch.uint8"):
            backbone(pixels)


def test_layers_are_counted_from_one_and_from_the_end() -> None:
    assert resolve_layers((-1,), 12, "x") == (12,)
    assert resolve_layers((3, -12, 12), 12, "x") == (3, 1, 12)


@pytest.mark.parametrize("layers", [(13,), (-13,), (0,), (1, 40), ()])
def test_layers_out_of_range(layers: tuple[int, ...]) -> None:
    with pytest.raises(BackboneError, match="1 to 12, or -1 to -12"):
        resolve_layers(layers, 12, "x")


def test_a_layer_named_twice() -> None:
    with pytest.raises(BackboneError, match=r"features.layers=\[2, 12\]"):
        resolve_layers((12, 2, -1), 12, "x")


@pytest.mark.parametrize("architecture", MODELS)
def test_layers_the_network_does_not_have(architecture: str, tmp_path: Path) -> None:
    folder = materialised(architecture, tmp_path)
    n_layers = load_torch_backbone(folder, (1,)).n_layers
    with pytest.raises(BackboneError, match=f"1 to {n_layers}"):
        load_torch_backbone(folder, (n_layers + 1,))
