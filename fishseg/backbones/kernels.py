"""What a transformer block does between its matrix products, each in one pass over memory.

For bfloat16 on the CPU, where torch takes several passes. Numba compiles them for the vector units
of the machine when they are first called, and keeps the result beside this file. Each runs on the
calling thread alone, without the interpreter's lock. They compute in float32.

numpy knows no bfloat16: here such an array is one of uint16, the upper halves of float32 numbers.

Shapes: T tokens with D channels; H heads of d channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
from numba.extending import intrinsic
from numpy import float32, int16, uint16, uint32
from numpy.typing import NDArray

# Sums may be taken in any order, or vector units could not help; NaN and infinity stay.
REORDER = {"contract", "reassoc", "nsz"}

LOG2_E = float32(math.log2(math.e))
# Added to a small number and taken off again, it leaves the nearest whole one.
ROUNDER = float32(3 * 2**22)
LEAST_EXPONENT = float32(-126)


def kernel(function: Callable[..., None]) -> Callable[..., None]:
    """A function to be compiled; once for all runs, where there is a place to keep it."""
    options: dict[str, Any] = {"fastmath": REORDER, "nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither this folder nor the user's own can be written to
        return numba.njit(**options)(function)  # type: ignore[no-any-return]


def _same_bits(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))


@intrinsic
def _bits(_context: Any, _number: Any) -> Any:
    """The bits of a float32 number, as uint32."""
    return numba.uint32(numba.float32), _same_bits


@intrinsic
def _number(_context: Any, _bits: Any) -> Any:
    """The float32 number of such bits."""
    return numba.float32(numba.uint32), _same_bits


@numba.njit
def _widen(half: Any) -> Any:
    return _number(uint32(half) << uint32(16))


@numba.njit
def _narrow(value: Any) -> Any:
    """The nearest bfloat16; of two as near, the one further from zero."""
    return uint16((_bits(value) + uint32(0x8000)) >> uint32(16))


@numba.njit(fastmath={"contract"})  # reordered, the rounding would cancel out
def _exp2(exponent: Any) -> Any:
    """2 to a power that is not positive, at least -126, to a relative error of 4e-5.

    A polynomial for the fraction, the bits of the exponent for the whole. bfloat16 has 4e-3.
    """
    exponent = max(exponent, LEAST_EXPONENT)
    rounded = exponent + ROUNDER
    part = exponent - (rounded - ROUNDER)
    power = float32(0.00961813)  # ln(2)**n / n!, Taylor's about zero
    power = power * part + float32(0.05550411)
    power = power * part + float32(0.24022651)
    power = power * part + float32(0.69314718)
    power = power * part + float32(1)
    return _number(_bits(power) + (_bits(rounded) << uint32(23)))


@numba.njit
def _largest(row: Any) -> Any:
    """The largest bfloat16 number of a row, found among whole numbers of the same order."""
    largest = int16(-32768)
    for i in range(len(row)):
        largest = max(largest, _sortable(int16(row[i])))
    return _widen(uint16(_sortable(largest)))


@numba.njit
def _sortable(bits: Any) -> Any:
    """Whole numbers that are ordered as the bfloat16 numbers of these bits are; and back again."""
    return int16(bits ^ int16((bits >> int16(15)) & int16(0x7FFF)))


@kernel
def exponentials(scores: NDArray[uint16], sums: NDArray[float32]) -> None:
    """Softmax without its division: ``exp(score - the largest of its row)``, in place.

    Args:
        scores: ``(N, T)`` bfloat16.
        sums: ``(N,)``, to be filled with the sum of each row.
    """
    for i in range(len(scores)):
        row = scores[i]
        shift = _largest(row) * LOG2_E
        total = float32(0)
        for j in range(len(row)):
            power = _exp2(_widen(row[j]) * LOG2_E - shift)
            row[j] = _narrow(power)
            total += power
        sums[i] = total


@kernel
def split_heads(
    projected: NDArray[uint16],
    cos: NDArray[uint16],
    sin: NDArray[uint16],
    heads: NDArray[uint16],
) -> None:
    """Queries, keys and values, the tokens of each head together; queries and keys rotated (RoPE).

    Channel i is rotated with channel i + d/2.

    Args:
        projected: ``(T, 3, H, d)`` bfloat16.
        cos: cosines ``(patches, d)`` bfloat16 for the last tokens; the others are not rotated.
        sin: sines, likewise.
        heads: ``(3, H, T, d)`` bfloat16, to be filled.
    """
    n_tokens, _, n_heads, head_dim = projected.shape
    half = head_dim // 2
    n_prefix = n_tokens - len(cos)
    for kind in range(3):
        for token in range(n_tokens):
            patch = token - n_prefix
            for head in range(n_heads):
                source = projected[token, kind, head]
                target = heads[kind, head, token]
                if kind == 2 or patch < 0:
                    for i in range(head_dim):
                        target[i] = source[i]
                    continue
                for i in range(half):
                    first, second = _widen(source[i]), _widen(source[i + half])
                    c, s = _widen(cos[patch, i]), _widen(sin[patch, i])
                    target[i] = _narrow(first * c - second * s)
                    target[i + half] = _narrow(second * c + first * s)


@kernel
def join_heads(heads: NDArray[uint16], sums: NDArray[float32], joined: NDArray[uint16]) -> None:
    """The channels of all heads side by side, those of each token and head divided by its sum.

    Args:
        heads: ``(H, T, d)`` bfloat16.
        sums: ``(H, T)``, of `exponentials`.
        joined: ``(T, H, d)`` bfloat16, to be filled.
    """
    n_heads, n_tokens, head_dim = heads.shape
    for token in range(n_tokens):
        for head in range(n_heads):
            factor = float32(1) / sums[head, token]
            for i in range(head_dim):
                joined[token, head, i] = _narrow(_widen(heads[head, token, i]) * factor)


@kernel
def normalise(
    tokens: NDArray[float32],
    weight: NDArray[float32],
    bias: NDArray[float32],
    eps: float,
    normalised: NDArray[uint16],
) -> None:
    """LayerNorm of each token.

    Args:
        tokens: ``(T, D)``.
        weight: ``(D,)``.
        bias: ``(D,)``.
        eps: added to the variance.
        normalised: ``(T, D)`` bfloat16, to be filled.
    """
    n_tokens, n_channels = tokens.shape
    for i in range(n_tokens):
        token = tokens[i]
        mean = float32(0)
        for j in range(n_channels):
            mean += token[j]
        mean /= float32(n_channels)
        variance = float32(0)
        for j in range(n_channels):
            variance += (token[j] - mean) ** 2
        variance /= float32(n_channels)
        scale = float32(1 / math.sqrt(variance + eps))
        for j in range(n_channels):
            normalised[i, j] = _narrow((token[j] - mean) * scale * weight[j] + bias[j])


@kernel
def add(tokens: NDArray[float32], change: NDArray[uint16]) -> None:
    """Add ``change (T, D)`` bfloat16 to ``tokens (T, D)``, in place."""
    for i in range(len(tokens)):
        for j in range(tokens.shape[1]):
            tokens[i, j] += _widen(change[i, j])
