"""The filter that fits a mask to the edges of the picture."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fishseg.decoders.guided import CELL, guided_filter
from fishseg.decoders.inference import filtered

RADIUS = 2 * CELL


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, height, width), generator=generator, dtype=torch.uint8)


def fish_on(ground: tuple[int, int, int], colour: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """A round fish of one colour and noise, and its mask."""
    y, x = torch.meshgrid(torch.arange(90.0), torch.arange(123.0), indexing="ij")
    mask = ((x - 60) / 41) ** 2 + ((y - 44) / 23) ** 2 < 1
    colours = [torch.tensor(one, dtype=torch.float32)[:, None, None] for one in (colour, ground)]
    noise = 6 * torch.randn(3, 90, 123, generator=torch.Generator().manual_seed(1))
    shown = (torch.where(mask, colours[0], colours[1]) + noise).clamp(0, 255).to(torch.uint8)
    return shown[None], mask


def iou(answer: Tensor, mask: Tensor) -> float:
    found = answer[0, 0] >= 0.5
    return float((found & mask).sum() / (found | mask).sum())


@pytest.mark.parametrize(
    ("ground", "colour"),
    [
        ((180, 180, 178), (90, 92, 80)),
        ((30, 60, 130), (120, 60, 60)),
        ((90, 90, 90), (90, 120, 90)),
    ],
    ids=["brightness", "colour", "only green"],
)
def test_a_rough_outline_goes_to_the_edge(
    ground: tuple[int, int, int], colour: tuple[int, int, int]
) -> None:
    pixels, mask = fish_on(ground, colour)
    # As from patches: of 14 pixels, and smooth.
    coarse = F.avg_pool2d(mask[None, None].float(), 14, ceil_mode=True, count_include_pad=False)
    rough = F.interpolate(coarse, scale_factor=14, mode="bilinear")[..., :90, :123]
    before, after = iou(rough, mask), iou(guided_filter(rough, pixels, RADIUS), mask)
    assert before < 0.93
    assert after > 0.97


def test_where_the_picture_has_no_edge_the_answer_is_smoothed() -> None:
    flat = torch.full((1, 3, 64, 64), 77, dtype=torch.uint8)
    answer = torch.zeros(1, 1, 64, 64)
    answer[..., 32:] = 1
    found = guided_filter(answer, flat, RADIUS)
    assert torch.allclose(found[..., :10], torch.tensor(0.0), atol=1e-5)
    assert torch.allclose(found[..., -10:], torch.tensor(1.0), atol=1e-5)
    assert (found[..., 1:] >= found[..., :-1] - 1e-5).all()


def test_what_is_linear_in_the_colours_stays() -> None:
    pixels = F.interpolate(picture(16, 20).float(), scale_factor=CELL).to(torch.uint8)
    share = torch.tensor([0.5, -0.3, 0.2])[None, :, None, None]
    answer = (pixels / 255 * share).sum(dim=1, keepdim=True) + 0.35
    assert (guided_filter(answer, pixels, RADIUS) - answer).abs().max() < 5e-3


def test_a_radius_of_zero_changes_nothing() -> None:
    answer = torch.rand(1, 1, 20, 30)
    assert guided_filter(answer, picture(20, 30), 0) is answer


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([4, 8, 16, 64]), st.integers(0, 99))
def test_any_size_gives_probabilities(height: int, width: int, radius: int, seed: int) -> None:
    answer = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed))
    found = guided_filter(answer, picture(height, width, seed), radius)
    assert found.shape == answer.shape
    assert ((found >= 0) & (found <= 1)).all()


def test_a_batch_is_its_pictures() -> None:
    answer, pixels = torch.rand(2, 1, 30, 41), torch.cat([picture(30, 41), picture(30, 41, 1)])
    together = guided_filter(answer, pixels, RADIUS)
    for number in range(2):
        one = slice(number, number + 1)
        assert torch.allclose(guided_filter(answer[one], pixels[one], RADIUS), together[one])


def test_the_second_map_is_left_alone() -> None:
    logits, pixels = torch.randn(1, 2, 30, 41), picture(30, 41)
    found = filtered(logits, pixels, RADIUS)
    assert torch.equal(found[:, 1], logits[:, 1])
    first = guided_filter(logits[:, :1].sigmoid(), pixels, RADIUS)
    assert torch.allclose(found[:, :1].sigmoid(), first, atol=1e-5)
    sure = torch.full((1, 1, 30, 41), 99.0)
    assert filtered(sure, pixels, RADIUS).isfinite().all()
    assert filtered(sure, pixels, 0) is sure
