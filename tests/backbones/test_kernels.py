"""The kernels against the same in float64, from numbers of every kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishseg.backbones import kernels

# Rows shorter than a vector unit, as long as some, and with a rest.
LENGTHS = [1, 2, 15, 16, 31, 32, 33, 64, 197, 789]
# Half of the last place of bfloat16, relative.
ROUNDING = 2**-8


def bits(tensor: Tensor) -> NDArray[np.uint16]:
    return tensor.view(torch.uint16).numpy()


def random(*shape: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return (torch.randn(*shape, generator=generator) * scale).to(torch.bfloat16)


def assert_rounded(found: Tensor, exact: Tensor, *, also: float = 0.0) -> None:
    """As near as bfloat16 can be, but for a little arithmetic in float32 before."""
    assert found.dtype == torch.bfloat16
    allowed = (ROUNDING * 1.01 + 1e-4) * exact.abs() + also
    assert torch.all((found.double() - exact).abs() <= allowed)


@pytest.mark.parametrize("scale", [0.01, 3.0, 100.0])
@pytest.mark.parametrize("length", LENGTHS)
def test_exponentials_are_those_of_softmax(length: int, scale: float) -> None:
    scores = random(7, length, scale=scale)
    weights = scores.clone()
    sums = np.empty(7, np.float32)
    kernels.exponentials(bits(weights), sums)
    shifted = scores.double() - scores.double().amax(dim=1, keepdim=True)
    assert_rounded(weights, shifted.exp(), also=2.0**-125)
    np.testing.assert_allclose(sums, shifted.exp().sum(dim=1), rtol=1e-4)
    softmax = weights.double() / torch.from_numpy(sums).double()[:, None]
    assert torch.all((softmax.sum(dim=1) - 1).abs() < 3 * ROUNDING)


@pytest.mark.parametrize("largest", [0.0, -0.0, -3.0, -1e30, 1e30, 2e38, -2e38])
def test_the_largest_score_of_a_row_weighs_one(largest: float) -> None:
    scores = torch.full((2, 40), largest).to(torch.bfloat16)
    scores[1, 5:] = -2.1e38
    scores[1, 6] = -math.inf
    sums = np.empty(2, np.float32)
    expected = (scores.double() - scores.double().amax(dim=1, keepdim=True)).exp()
    kernels.exponentials(bits(scores), sums)
    assert_rounded(scores, expected, also=2.0**-125)
    np.testing.assert_allclose(sums, expected.sum(dim=1), rtol=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_stays_none(bad: float) -> None:
    scores = random(3, 50)
    scores[1, 20] = bad
    sums = np.empty(3, np.float32)
    kernels.exponentials(bits(scores), sums)
    assert np.isfinite(sums).tolist() == [True, False, True]


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize(("heads", "head_dim"), [(6, 64), (2, 8), (3, 20)])
def test_heads_are_split_and_rotated(prefix: int, heads: int, head_dim: int) -> None:
    n_tokens = 23
    projected = random(n_tokens, 3, heads, head_dim)
    angles = torch.rand(n_tokens - prefix, head_dim // 2).repeat(1, 2) * 7
    cos, sin = angles.cos().to(torch.bfloat16), angles.sin().to(torch.bfloat16)
    found = torch.empty(3, heads, n_tokens, head_dim, dtype=torch.bfloat16)
    kernels.split_heads(bits(projected), bits(cos), bits(sin), bits(found))
    expected = projected.double().permute(1, 2, 0, 3).clone()
    patches = expected[:2, :, prefix:].clone()
    first, second = patches.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    expected[:2, :, prefix:] = patches * cos.double() + turned * sin.double()
    assert_rounded(found, expected, also=1e-6)
    assert torch.equal(found[2], projected[:, 2].transpose(0, 1))
    assert torch.equal(found[:, :, :prefix], projected[:prefix].permute(1, 2, 0, 3))


def test_without_positions_nothing_is_rotated() -> None:
    projected = random(9, 3, 2, 8)
    found = torch.empty(3, 2, 9, 8, dtype=torch.bfloat16)
    none = np.empty((0, 8), np.uint16)
    kernels.split_heads(bits(projected), none, none, bits(found))
    assert torch.equal(found, projected.permute(1, 2, 0, 3))


def test_heads_are_joined_and_divided() -> None:
    heads = random(3, 11, 20)
    sums = np.random.default_rng(0).uniform(1, 800, (3, 11)).astype(np.float32)
    found = torch.empty(11, 3, 20, dtype=torch.bfloat16)
    kernels.join_heads(bits(heads), sums, bits(found))
    exact = heads.double() / torch.from_numpy(sums).double()[:, :, None]
    assert_rounded(found, exact.transpose(0, 1))


@pytest.mark.parametrize("channels", LENGTHS[2:])
def test_tokens_are_normalised(channels: int) -> None:
    generator = torch.Generator().manual_seed(channels)
    tokens = torch.randn(13, channels, generator=generator) * 5 + 3
    weight, bias = torch.randn(2, channels, generator=generator)
    found = torch.empty(13, channels, dtype=torch.bfloat16)
    kernels.normalise(tokens.numpy(), weight.numpy(), bias.numpy(), 1e-6, bits(found))
    exact = torch.layer_norm(tokens.double(), (channels,), weight.double(), bias.double(), eps=1e-6)
    assert_rounded(found, exact, also=1e-5)


def test_a_change_is_added_in_place() -> None:
    tokens = torch.randn(13, 33)
    change = random(13, 33)
    expected = tokens + change.float()
    kernels.add(tokens.numpy(), bits(change))
    assert torch.equal(tokens, expected)


def test_a_kernel_runs_where_nothing_can_be_kept() -> None:
    namespace: dict[str, object] = {}
    exec("def double(numbers):\n  for i in range(len(numbers)): numbers[i] *= 2", namespace)
    double = kernels.kernel(namespace["double"])  # type: ignore[arg-type]  # it has no file
    numbers = np.arange(3, dtype=np.float32)
    double(numbers)
    assert numbers.tolist() == [0, 2, 4]
