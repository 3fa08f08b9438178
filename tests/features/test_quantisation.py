from __future__ import annotations

import torch

from fishseg.features.quantisation import NEXT_HALF, dequantise, quantise, rounded


def test_a_channel_worked_by_hand() -> None:
    # The largest value is 127 steps of 1/64.
    features = torch.tensor([127 / 64, -1.0, 0.5, 0.012]).view(1, 1, 2, 2)
    steps, scales = quantise(features)
    assert steps.flatten().tolist() == [127, -64, 32, 1]
    assert abs(float(scales) - 1 / 64) < 2e-5


def test_no_value_is_off_by_more_than_half_a_step() -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 5, 4, 6) * torch.logspace(-3, 3, 5)[:, None, None]
    steps, scales = quantise(features)
    assert int(steps.abs().max()) <= 127
    off = (steps.float() * scales.float()[:, :, None, None] - features).abs()
    assert bool((off <= 0.5001 * scales.float()[:, :, None, None]).all())


def test_scales_belong_to_one_channel_of_one_sample() -> None:
    features = torch.randn(2, 3, 4, 4)
    louder = features.clone()
    louder[1, 2] *= 1000
    before, after = (dequantise(*quantise(each)) for each in (features, louder))
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1, :2], after[1, :2])


def test_zeros_stay_zeros() -> None:
    assert not dequantise(*quantise(torch.zeros(1, 2, 3, 3))).any()


def test_the_next_float16_is_found_without_nextafter() -> None:
    # Every positive normal one but the largest, which has no finite neighbour.
    normal = torch.arange(1 << 10, (31 << 10) - 1, dtype=torch.int16).view(torch.float16)
    above = torch.nextafter(normal, torch.full_like(normal, torch.inf))
    assert torch.equal((normal.float() * NEXT_HALF).half(), above)


def test_graphs_round_as_the_cache_does() -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 40, 4, 6) * torch.logspace(-6, 4, 40)[:, None, None]
    features[0, 0] = 0
    assert torch.equal(rounded(features), dequantise(*quantise(features)).float())
