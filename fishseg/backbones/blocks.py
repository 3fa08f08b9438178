"""Transformer blocks without the detours that cost time in half precision.

Shapes: B images, each of T tokens with D channels; H heads of d channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class FusedBlock(nn.Module):
    """A block of DINOv2 or DINOv3, computed in fewer steps.

    Layer scale (Touvron et al., "Going deeper with image transformers", ICCV 2021) multiplies what
    a linear layer gives, and so goes into its weights.

    Args:
        block: of transformers; its weights are changed and must not be used any more.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1 = block.norm1
        self.attention = FusedAttention(block.attention, block.layer_scale1.lambda1)
        self.norm2 = block.norm2
        self.mlp = block.mlp
        _scale_rows(_last_linear(self.mlp), block.layer_scale2.lambda1)

    def forward(
        self, tokens: Tensor, position_embeddings: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """``(B, T, D)`` to the same shape, as `FusedAttention` takes them."""
        tokens = tokens + self.attention(self.norm1(tokens), position_embeddings)
        return tokens.add_(self.mlp(self.norm2(tokens)))


class FusedAttention(nn.Module):
    """Attention of a block of DINOv2 or DINOv3, with one product for queries, keys and values.

    Args:
        attention: the block's own, of transformers, with separate ``q_proj``, ``k_proj`` and
            ``v_proj``.
        scale: ``(D,)``, what its result is multiplied by.
    """

    def __init__(self, attention: Any, scale: Tensor) -> None:
        super().__init__()
        self.head_dim: int = attention.head_dim
        parts = [attention.q_proj, attention.k_proj, attention.v_proj]
        _scale_rows(parts[0], torch.full((parts[0].out_features,), attention.scaling))
        self.qkv = nn.Linear(parts[0].in_features, sum(part.out_features for part in parts))
        self.qkv.weight = _frozen(torch.cat([part.weight for part in parts]))
        self.qkv.bias = _frozen(torch.cat([_bias(part) for part in parts]))
        self.out = attention.o_proj
        _scale_rows(self.out, scale)

    def forward(
        self, tokens: Tensor, position_embeddings: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Let every token look at every other.

        Args:
            tokens: ``(B, T, D)``.
            position_embeddings: cosines and sines ``(patches, d)`` by which the queries and keys
                of the last tokens are rotated (RoPE); DINOv2 has none.

        Returns:
            ``(B, T, D)``.
        """
        n_images, n_tokens, _channels = tokens.shape
        heads = self.qkv(tokens).view(n_images, n_tokens, 3, -1, self.head_dim)
        heads = heads.permute(2, 0, 3, 1, 4)
        if tokens.device.type == "cpu":
            heads = heads.contiguous()
        if position_embeddings is not None:
            _rotate(heads[:2], *position_embeddings)
        query, key, value = heads
        if tokens.device.type == "cpu":
            context = _attend_by_heads(query, key, value)
        else:
            context = scaled_dot_product_attention(query, key, value, scale=1)
        mixed: Tensor = self.out(context.transpose(1, 2).flatten(2))
        return mixed


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotate the last tokens of ``heads (..., T, d)`` in place; channel i with channel i + d/2."""
    patches = heads[..., -len(cos) :, :]
    half = patches.shape[-1] // 2
    first, second = patches[..., :half], patches[..., half:]
    cos, sin = cos[:, :half], sin[:, :half]  # the other half repeats them
    rotated = (first * cos).addcmul_(second, sin, value=-1)
    second.mul_(cos).addcmul_(first, sin)
    first.copy_(rotated)


def _attend_by_heads(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of heads ``(B, H, T, d)``, a few at a time.

    torch's fused kernel has no bfloat16 products on the CPU (measured: 60 GFLOP/s a core, where a
    matrix product reaches 200). A head for each thread at a time keeps the weights in the cache.
    """
    queries, keys, values = (heads.flatten(0, 1) for heads in (query, key, value))
    n_heads, n_tokens, _ = queries.shape
    context = torch.empty_like(values)
    heads_at_once = torch.get_num_threads()
    buffer = values.new_empty(heads_at_once, n_tokens, n_tokens)
    for start in range(0, n_heads, heads_at_once):
        heads = slice(start, start + heads_at_once)
        weights = buffer[: len(values[heads])]
        torch.bmm(queries[heads], keys[heads].mT, out=weights)
        torch.softmax(weights, dim=-1, out=weights)
        torch.bmm(weights, values[heads], out=context[heads])
    return context.view_as(value)


class PackedLinear(nn.Module):
    """A bfloat16 linear layer for the CPU, its weights laid out once as oneDNN multiplies them.

    A plain one lays them out again in each pass. The results are the same bits.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self._bias = layer.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """``(..., in_features)``, converted to bfloat16, to ``(..., out_features)``."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs.to(torch.bfloat16), self._weight, self._bias, "none", [], "none"
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


def _last_linear(mlp: nn.Module) -> nn.Linear:
    """The layer that gives an MLP's result; each architecture has its own name for it."""
    return [layer for layer in mlp.children() if isinstance(layer, nn.Linear)][-1]


def _scale_rows(layer: nn.Linear, scale: Tensor) -> None:
    """Let a linear layer give its result times ``scale (out_features,)``."""
    layer.weight = _frozen(layer.weight * scale[:, None])
    if layer.bias is not None:
        layer.bias = _frozen(layer.bias * scale)


def _bias(layer: nn.Linear) -> Tensor:
    return layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias


def _frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach(), requires_grad=False)
