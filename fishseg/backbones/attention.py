"""Softmax attention, by the fastest kernels at hand.

Shapes: B images, each of T tokens; H heads of d channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "fishseg"


def attend(
    module: nn.Module,  # noqa: ARG001
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001
    *,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: every token looks at every other.

    Args:
        module: the layer that asks.
        query: ``(B, H, T, d)``.
        key: ``(B, H, T, d)``.
        value: ``(B, H, T, d)``; its type is computed in.
        attention_mask: none; vision transformers have no padding.
        scaling: of the products of queries and keys.

    Returns:
        ``(B, T, H, d)``, and None for the attention weights.
    """
    query, key = query.to(value.dtype), key.to(value.dtype)
    if value.device.type == "cpu" and value.dtype == torch.bfloat16:
        context = _attend_by_heads(query, key, value, scaling)
    else:
        context = scaled_dot_product_attention(query, key, value, scale=scaling)
    return context.transpose(1, 2).contiguous(), None


def _attend_by_heads(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Attention, a few heads at a time.

    torch's fused kernel has no bfloat16 products on the CPU (measured: 60 GFLOP/s a core, where a
    matrix product reaches 180). A head for each thread at a time keeps the weights in the cache.
    """
    n_images, n_heads, n_tokens, _ = query.shape
    queries, keys, values = (heads.flatten(0, 1) for heads in (query * scaling, key, value))
    context = torch.empty_like(values)
    heads_at_once = torch.get_num_threads()
    buffer = values.new_empty(heads_at_once, n_tokens, n_tokens)
    for start in range(0, n_images * n_heads, heads_at_once):
        heads = slice(start, start + heads_at_once)
        weights = buffer[: len(values[heads])]
        torch.bmm(queries[heads], keys[heads].mT, out=weights)
        torch.softmax(weights, dim=-1, out=weights)
        torch.bmm(weights, values[heads], out=context[heads])
    return context.view(n_images, n_heads, n_tokens, -1)


AttentionInterface.register(ATTENTION, attend)
