"""Pixels to feature maps: a frozen network, loaded from a checkpoint on disk without the hub.

Shapes: B images of H x W pixels; C channels, those of all selected layers together; h x w cells of
the feature map.
"""

from __future__ import annotations

import abc
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    Dinov2Backbone,
    Dinov2WithRegistersBackbone,
    DINOv3ConvNextModel,
    DINOv3ViTBackbone,
)
from transformers.models.dinov3_vit.modeling_dinov3_vit import DINOv3ViTRopePositionEmbedding
from transformers.utils import logging as transformers_logging

from fishseg.backbones.blocks import FusedBlock
from fishseg.backbones.checkpoint import CONFIG, WEIGHTS, Checkpoint, read_checkpoint
from fishseg.errors import BackboneError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

# Their versions decide what a backbone says, beside the code; one may be absent.
LIBRARIES = ("torch", "transformers", "openvino")

VISION_TRANSFORMERS: dict[str, Any] = {
    "dinov2": Dinov2Backbone,
    "dinov2_with_registers": Dinov2WithRegistersBackbone,
    "dinov3_vit": DINOv3ViTBackbone,
}
CONVNEXT = "dinov3_convnext"
CPU = torch.device("cpu")


def load_torch_backbone(
    folder: Path,
    layers: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    device: torch.device = CPU,
) -> TorchBackbone:
    """Load the layers asked for, and those before them, of the backbone in ``folder``.

    Args:
        folder: what `fishseg.backbones.materialise` filled.
        layers: 1 is the first block (ConvNeXt: stage), -1 the last. Their maps are stacked along
            the channels in this order.
        dtype: float32, or bfloat16 for the matrix products. What is small and decides the accuracy
            (normalisation, residual sums) stays in float32: features differ by half a percent.
        device: where it is to compute, and to stay.

    Raises:
        BackboneError: the checkpoint is incomplete, damaged or of an architecture that is not
            supported; a layer it does not have.
    """
    checkpoint = read_checkpoint(folder)
    model_type = checkpoint.config.get("model_type")
    if model_type == CONVNEXT:
        return ConvNeXt(checkpoint, layers, dtype).to(device)
    if model_type in VISION_TRANSFORMERS:
        network_class = VISION_TRANSFORMERS[model_type]
        return VisionTransformer(checkpoint, layers, dtype, network_class).to(device)
    raise BackboneError(
        f"the architecture {model_type!r} is not supported",
        where=folder / CONFIG,
        expected=f"model_type one of {', '.join([*VISION_TRANSFORMERS, CONVNEXT])}",
        remedy="choose another backbone: dvc exp run -S backbone.name=NAME",
    )


class TorchBackbone(nn.Module, abc.ABC):
    """A frozen network that turns images into one feature map each.

    Attributes:
        name: the backbone's name, as in ``source.json``.
        weights_sha256: `fishseg.backbones.weights_hash` of its folder.
        n_layers: how many layers the whole network has.
        channels: C, the channels of all selected layers together.
        patch_multiple: height and width in pixels must be multiples of it: the patch size, or the
            deepest stride of a ConvNeXt.
        dtype: what its matrix products are computed in.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        network: nn.Module,
        n_layers: int,
        channels: int,
        patch_multiple: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.name = checkpoint.name
        self.weights_sha256 = checkpoint.weights_sha256
        self.n_layers = n_layers
        self.channels = channels
        self.patch_multiple = patch_multiple
        self.dtype = dtype
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", _per_channel(checkpoint.image_mean), persistent=False)
        self.register_buffer("std", _per_channel(checkpoint.image_std), persistent=False)
        self.eval().requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> TorchBackbone:  # noqa: ARG002
        """Stay in evaluation mode: in training mode DINOv3 jitters its position embeddings."""
        return super().train(mode=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the feature map of each image.

        Args:
            pixels: ``(B, 3, H, W)`` uint8, RGB; H and W are multiples of ``patch_multiple``.

        Returns:
            ``(B, C, h, w)`` float32 on the grid of the finest selected layer.
            An inference tensor: clone it before anything that needs gradients.

        Raises:
            BackboneError: pixels of another type or shape.
        """
        check_pixels(pixels, self.name, self.patch_multiple)
        with torch.inference_mode():
            return self.feature_map(pixels)

    def feature_map(self, pixels: Tensor) -> Tensor:
        """What `forward` gives, unchecked."""
        maps = self.layer_maps((pixels.float() / 255 - self.mean) / self.std)
        finest = max((tuple(layer.shape[-2:]) for layer in maps), key=lambda size: size[0])
        return torch.cat([_resample(layer.float(), finest) for layer in maps], dim=1)

    @abc.abstractmethod
    def layer_maps(self, images: Tensor) -> list[Tensor]:
        """Maps ``(B, D, h, w)`` of the selected layers, of normalised images ``(B, 3, H, W)``."""


class VisionTransformer(TorchBackbone):
    """DINOv2 or DINOv3 ViT: the patch tokens of chosen blocks, each under the final LayerNorm.

    Prefix tokens (CLS and registers) are dropped. Blocks after the deepest chosen one are not even
    loaded.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        layers: tuple[int, ...],
        dtype: torch.dtype,
        network_class: Any,
    ) -> None:
        whole = _config(network_class, checkpoint)
        chosen = resolve_layers(layers, whole.num_hidden_layers, checkpoint.name)
        config = _config(
            network_class,
            checkpoint,
            num_hidden_layers=max(chosen),
        )
        if not isinstance(config.patch_size, int):
            raise BackboneError(
                f"patches of {config.patch_size} pixels are not supported",
                where=checkpoint.folder / CONFIG,
                expected="one whole number: square patches",
            )
        network: Any = _load_network(
            network_class,
            checkpoint,
            config,
            is_whole=max(chosen) == whole.num_hidden_layers,
        )
        stack = network.model if hasattr(network, "model") else network.encoder
        if dtype != torch.float32:
            stack.layer = nn.ModuleList(FusedBlock(block) for block in stack.layer)
            multiply_in(dtype, network)
        super().__init__(
            checkpoint,
            network=network,
            n_layers=whole.num_hidden_layers,
            channels=len(chosen) * config.hidden_size,
            patch_multiple=config.patch_size,
            dtype=dtype,
        )
        # Each architecture has its own names for the same parts.
        self._embeddings: nn.Module = network.embeddings
        self._rotations: nn.Module | None = getattr(network, "rope_embeddings", None)
        self.blocks: nn.ModuleList = stack.layer
        self._norm: nn.Module = network.norm if hasattr(network, "norm") else network.layernorm
        self._layers = chosen

    def layer_maps(self, images: Tensor) -> list[Tensor]:
        """Maps ``(B, D, H/patch, W/patch)`` of the selected blocks.

        Block by block, since the forward pass of transformers keeps the tokens of every block, and
        normalises those of blocks that nobody asked for.
        """
        tokens = self._embeddings(images)
        rotations = {}
        if self._rotations is not None:
            rotations["position_embeddings"] = self._rotations(images)
        grid = tuple(length // self.patch_multiple for length in images.shape[-2:])
        maps = {}
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens, **rotations)
            if number in self._layers:
                cells = self._norm(tokens)[:, -grid[0] * grid[1] :]
                maps[number] = cells.transpose(1, 2).unflatten(2, grid)
        return [maps[number] for number in self._layers]


class ConvNeXt(TorchBackbone):
    """DINOv3 ConvNeXt: the maps of chosen stages, at strides 4, 8, 16 and 32.

    The final LayerNorm belongs to the last stage alone; the network has none for the others.
    """

    def __init__(self, checkpoint: Checkpoint, layers: tuple[int, ...], dtype: torch.dtype) -> None:
        config = _config(DINOv3ConvNextModel, checkpoint)
        sizes: list[int] = config.hidden_sizes
        chosen = resolve_layers(layers, len(sizes), checkpoint.name)
        super().__init__(
            checkpoint,
            network=_load_network(DINOv3ConvNextModel, checkpoint, config, is_whole=True),
            n_layers=len(sizes),
            channels=sum(sizes[stage - 1] for stage in chosen),
            patch_multiple=4 * 2 ** (len(sizes) - 1),  # the stem, then each further stage
            dtype=dtype,
        )
        self._stages = chosen

    def layer_maps(self, images: Tensor) -> list[Tensor]:
        """Maps ``(B, D, H/stride, W/stride)`` of the selected stages, each at its own stride."""
        with torch.autocast(images.device.type, self.dtype, enabled=self.dtype != torch.float32):
            result = self.network(images, output_hidden_states=True)
        maps = list(result.hidden_states)
        pooled_and_cells = result.last_hidden_state.transpose(1, 2)
        maps[-1] = pooled_and_cells[:, :, 1:].unflatten(2, maps[-1].shape[-2:])
        return [maps[stage] for stage in self._stages]


def resolve_layers(layers: Sequence[int], n_layers: int, name: str) -> tuple[int, ...]:
    """Layers counted from 1, of layers counted from 1 or from -1 backwards.

    Raises:
        BackboneError: no layer, a layer out of range, or one layer twice.
    """
    if not layers or any(layer == 0 or abs(layer) > n_layers for layer in layers):
        raise BackboneError(
            f"{name} has no layers {list(layers)}",
            where="features.layers",
            expected=f"1 to {n_layers}, or -1 to -{n_layers} counted from the last",
            remedy="dvc exp run -S 'features.layers=[-1]'",
        )
    chosen = tuple(layer if layer > 0 else n_layers + 1 + layer for layer in layers)
    if len(set(chosen)) != len(chosen):
        raise BackboneError(
            f"{list(layers)} names a layer of {name} twice: they are {list(chosen)}",
            where="features.layers",
            expected="distinct layers",
            remedy=f"dvc exp run -S 'features.layers={sorted(set(chosen))}'",
        )
    return chosen


def check_pixels(pixels: Tensor, name: str, patch_multiple: int) -> None:
    """Refuse what a backbone does not take.

    Nothing is cropped or padded here, since border patches that silently go missing are hard to
    notice later.

    Raises:
        BackboneError: pixels other than ``(B, 3, H, W)`` uint8, or H or W no multiples of
            ``patch_multiple``.
    """
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
        raise BackboneError(
            f"the pixels are {tuple(pixels.shape)} {pixels.dtype}",
            where=f"the backbone {name}",
            expected="(B, 3, H, W) torch.uint8",
        )
    height, width = pixels.shape[-2:]
    multiple = patch_multiple
    if min(height, width) < multiple or height % multiple or width % multiple:
        fitting = " x ".join(str(max(1, round(n / multiple)) * multiple) for n in (height, width))
        raise BackboneError(
            f"images of {height} x {width} pixels do not divide into patches",
            where=f"the backbone {name}",
            expected=f"height and width that are multiples of {multiple}",
            remedy=f"resize to {fitting}",
        )


def multiply_in(dtype: torch.dtype, network: nn.Module) -> None:
    """Let the linear layers and convolutions of a network compute in another type, in place.

    Like autocast, which converts every weight again in every pass; here it happens once.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.to(dtype)
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype),))
        elif isinstance(module, DINOv3ViTRopePositionEmbedding):
            # Cosines in float32 would make the queries and keys float32 again.
            module.register_forward_hook(
                lambda _, __, tables: tuple(table.to(dtype) for table in tables)
            )


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def _resample(layer: Tensor, size: tuple[int, ...]) -> Tensor:
    if layer.shape[-2:] == size:
        return layer
    return functional.interpolate(layer, size=size, mode="bilinear", align_corners=False)


def _config(network_class: Any, checkpoint: Checkpoint, **replaced: Any) -> Any:
    """The transformers configuration of ``config.json``, with some values replaced."""
    # What the checkpoint itself selected would contradict what is selected here.
    selection = ("out_features", "out_indices", "stage_names")
    values = {key: value for key, value in checkpoint.config.items() if key not in selection}
    try:
        return network_class.config_class.from_dict({**values, **replaced})
    except Exception as error:  # each kind of wrong value raises something else
        raise BackboneError(
            f"transformers refuses this configuration: {first_line(error)}",
            where=checkpoint.folder / CONFIG,
        ) from error


def _load_network(
    network_class: Any, checkpoint: Checkpoint, config: Any, *, is_whole: bool
) -> nn.Module:
    """The network with every weight taken from the checkpoint, none left to chance."""
    where = checkpoint.folder / WEIGHTS
    # The concrete classes load a local folder offline; AutoBackbone asks the hub first.
    try:
        with quiet_transformers():
            network, report = network_class.from_pretrained(
                checkpoint.folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # transformers and safetensors raise whatever the file makes them
        raise BackboneError(
            f"these weights cannot be loaded: {first_line(error)}",
            where=where,
            expected=f"the weights of the {config.model_type} that {CONFIG} describes",
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise BackboneError(
            f"weights are missing: {_some(missing)}",
            where=where,
            expected=f"every weight of the {config.model_type} that {CONFIG} describes",
            remedy="take a checkpoint of the whole network",
        )
    unused = sorted(report["unexpected_keys"])
    if unused and is_whole:
        log.warning("not part of the backbone, and not used: %s", _some(unused))
    loaded: nn.Module = network
    return loaded


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No warnings and progress bars from transformers: what matters is in its loading report."""
    verbosity = transformers_logging.get_verbosity()
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bars:
            transformers_logging.enable_progress_bar()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def first_line(error: Exception) -> str:
    """What a library says in a line of an error of its own."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
