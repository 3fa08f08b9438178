"""Transformer blocks in bfloat16 on the CPU: oneDNN's matrix products, own kernels between them.

Shapes: B images, each of T tokens with D channels; H heads of d channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fishseg.backbones import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray


class CpuBlock(nn.Module):
    """What a `fishseg.backbones.blocks.FusedBlock` computes, its tokens changed in place.

    Args:
        block: such a one, in bfloat16; its layers are taken over.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        pack_linear(block)
        self.norm1 = block.norm1
        self.qkv = block.attention.qkv
        self.out = block.attention.out
        self.norm2 = block.norm2
        self.mlp = block.mlp
        self.head_dim = block.attention.head_dim

    def forward(
        self, tokens: Tensor, position_embeddings: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """``(B, T, D)`` float32 to the same, as `FusedBlock` takes them."""
        tokens = tokens.contiguous()
        _add(tokens, self._attend(_normalise(tokens, self.norm1), position_embeddings))
        _add(tokens, self.mlp(_normalise(tokens, self.norm2)))
        return tokens

    def _attend(self, tokens: Tensor, position_embeddings: tuple[Tensor, Tensor] | None) -> Tensor:
        if position_embeddings is None:
            position_embeddings = (tokens.new_empty(0, self.head_dim),) * 2
        cos, sin = (_bits(table) for table in position_embeddings)
        projected = self.qkv(tokens).unflatten(2, (3, -1, self.head_dim))
        n_images, n_tokens, _, n_heads, head_dim = projected.shape
        joined = projected.new_empty(n_images, n_tokens, n_heads, head_dim)
        heads = projected.new_empty(3, n_heads, n_tokens, head_dim)
        for image, image_joined in zip(projected, joined, strict=True):
            kernels.split_heads(_bits(image), cos, sin, _bits(heads))
            context, sums = _attend_by_heads(*heads)
            kernels.join_heads(_bits(context), sums, _bits(image_joined))
        mixed: Tensor = self.out(joined.flatten(2))
        return mixed


def _attend_by_heads(
    query: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, NDArray[np.float32]]:
    """Attention of heads ``(H, T, d)``, a few at a time, and the sums ``(H, T)`` to divide it by.

    torch's fused kernel has no bfloat16 products on the CPU (measured: 60 GFLOP/s a core, where a
    matrix product reaches 200). A head for each thread at a time keeps the weights in the cache.
    """
    n_heads, n_tokens, _ = query.shape
    context = torch.empty_like(value)
    sums = np.empty((n_heads, n_tokens), np.float32)
    at_once = torch.get_num_threads()
    room = value.new_empty(at_once, n_tokens, n_tokens)
    for start in range(0, n_heads, at_once):
        some = slice(start, start + at_once)
        weights = room[: len(value[some])]
        torch.bmm(query[some], key[some].mT, out=weights)
        kernels.exponentials(_bits(weights.flatten(0, 1)), sums[some].reshape(-1))
        torch.bmm(weights, value[some], out=context[some])
    return context, sums


def _normalise(tokens: Tensor, norm: nn.LayerNorm) -> Tensor:
    """LayerNorm of tokens ``(B, T, D)`` float32, in bfloat16."""
    result = torch.empty_like(tokens, dtype=torch.bfloat16)
    parameters = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    kernels.normalise(
        tokens.flatten(0, 1).numpy(), *parameters, norm.eps, _bits(result.flatten(0, 1))
    )
    return result


def _add(tokens: Tensor, change: Tensor) -> None:
    kernels.add(tokens.flatten(0, 1).numpy(), _bits(change.flatten(0, 1)))


def _bits(tensor: Tensor) -> NDArray[np.uint16]:
    """The memory of a bfloat16 tensor, as the kernels take it."""
    bits: NDArray[np.uint16] = tensor.view(torch.uint16).numpy()
    return bits


class PackedLinear(nn.Module):
    """A bfloat16 linear layer, its weights laid out once as oneDNN multiplies them.

    A plain one lays them out again in each pass. The results are the same bits.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self._bias = layer.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """``(..., in_features)`` bfloat16 to ``(..., out_features)``."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs, self._weight, self._bias, "none", [], "none"
        )
        return result


def pack_linear(module: nn.Module) -> None:
    """Put a `PackedLinear` in the place of every linear layer of a bfloat16 module, in place."""
    # What torch.compile uses on CPUs; no part of torch's public interface.
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child))
        else:
            pack_linear(child)
