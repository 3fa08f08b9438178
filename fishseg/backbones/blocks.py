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
        if position_embeddings is not None:
            _rotate(heads[:2], *position_embeddings)
        query, key, value = heads
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
