from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fishseg import decoders
from fishseg.decoders.files import DecoderCard
from fishseg.decoders.inference import decode
from fishseg.decoders.upsampling import upsample
from fishseg.errors import ParameterError

CPU = torch.device("cpu")


def card(temperature: float) -> DecoderCard:
    return DecoderCard(
        decoder="linear",
        in_channels=4,
        backbone={},
        layers=(-1,),
        fit="aspect",
        image_size=56,
        megapixels=0.0042,
        dtype="float16",
        temperature=temperature,
    )


@pytest.mark.parametrize("size", [(448, 588), (28, 37), (5, 3), (17, 40)])
def test_upsampling_is_torch_s_bilinear(size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 9, 13, dtype=torch.float64)
    expected = functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsample(maps, size), expected)


def test_upsampling_has_the_gradient_of_torch_s() -> None:
    maps = torch.randn(1, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1, 1, 11, 17, dtype=torch.float64)
    (ours,) = torch.autograd.grad((upsample(maps, (11, 17)) * weight).sum(), maps)
    resampled = functional.interpolate(maps, size=(11, 17), mode="bilinear")
    (theirs,) = torch.autograd.grad((resampled * weight).sum(), maps)
    torch.testing.assert_close(ours, theirs)


def test_upsampling_can_be_trained_after_it_was_used() -> None:
    maps = torch.randn(1, 1, 3, 7)
    with torch.inference_mode():
        upsample(maps, (23, 31))
    upsample(maps.requires_grad_(), (23, 31)).sum().backward()
    assert maps.grad is not None


@pytest.mark.parametrize("name", sorted(decoders.DECODERS))
@pytest.mark.parametrize("grid", [(4, 6), (3, 3), (7, 2)])
def test_every_decoder_gives_logits_at_pixel_size_on_any_grid(
    name: str, grid: tuple[int, int]
) -> None:
    decoder = decoders.build(name, 8)
    pixels = torch.zeros(2, 3, grid[0] * 14, grid[1] * 14, dtype=torch.uint8)
    logits = decoder(torch.randn(2, 8, *grid), pixels)
    assert logits.shape == (2, 1, grid[0] * 14, grid[1] * 14)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())
    both = decoders.build(name, 8, "boundary")(torch.randn(2, 8, *grid), pixels)
    assert both.shape == (2, 2, grid[0] * 14, grid[1] * 14)


def test_cnn3_has_the_baseline_s_parameters() -> None:
    # 3x3x384x128 + 128, BN 2x128, 3x3x128x64 + 64, BN 2x64, 64 + 1
    expected = (9 * 384 * 128 + 128) + 256 + (9 * 128 * 64 + 64) + 128 + 65
    assert sum(p.numel() for p in decoders.build("cnn3", 384).parameters()) == expected


@pytest.mark.parametrize("name", sorted(decoders.DECODERS))
def test_every_decoder_learns_one_batch_by_heart(name: str) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 16, 4, 4)
    target = (features[:, :1] > 0).float()
    target = functional.interpolate(target, size=(16, 16), mode="nearest")
    pixels = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    decoder = decoders.build(name, 16)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        loss = functional.binary_cross_entropy_with_logits(decoder(features, pixels), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_detail_follows_an_edge_inside_a_patch() -> None:
    # One patch grid for all images: only the pixels say where the edge lies.
    torch.manual_seed(0)
    edge = torch.randint(4, 24, (8,))
    target = (torch.arange(28) < edge[:, None]).float().view(8, 1, 1, 28).expand(8, 1, 28, 28)
    pixels = (target * 150 + 50).to(torch.uint8).expand(8, 3, 28, 28)
    features = torch.ones(8, 4, 2, 2)
    decoder = decoders.build("detail", 4)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=0.01)
    for _ in range(60):
        loss = functional.binary_cross_entropy_with_logits(decoder(features, pixels), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    wrong = (decoder.eval()(features, pixels) > 0) != target.bool()
    assert wrong.float().mean() < 0.02


def test_what_lies_under_a_part_of_the_result_is_not_stretched_over_all_of_it() -> None:
    # 57 patches of 14 px are 798 px: 199.5 cells of 4 px, and 200 make them whole.
    maps = torch.rand(1, 1, 1, 57, dtype=torch.float64)
    found = upsample(maps, (1, 200), (1, 199.5))[0, 0, 0]
    centres = (torch.arange(200, dtype=torch.float64) * 4 + 2) / 14 - 0.5
    expected = np.interp(centres, np.arange(57), maps[0, 0, 0])
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("size", [(98, 112), (70, 798), (98, 98)])
def test_detail_answers_a_part_of_a_picture_as_it_does_within_the_whole(
    size: tuple[int, int],
) -> None:
    # A picture that goes on as it ends: the margin makes the sides multiples of the stride.
    torch.manual_seed(0)
    decoder = decoders.build("detail", 4).eval()
    for parameter in decoder.get_submodule("correction").parameters():
        torch.nn.init.normal_(parameter)
    pixels = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    features = torch.randn(1, 4, size[0] // 14, size[1] // 14)
    patch = 14
    goes_on = functional.pad(features, (0, 1, 0, 1), mode="replicate")
    margin = functional.pad(pixels.float(), (0, patch, 0, patch), mode="replicate").byte()
    with torch.inference_mode():
        part = correction(decoder, features, pixels)
        whole = correction(decoder, goes_on, margin)[..., : size[0], : size[1]]
    # Near the border the convolutions see zeros in one and the picture in the other: as far as
    # one on the patch grid, the way to the next patch, and three on cells of 4 px reach.
    reach = 14 + 14 + 3 * 4
    inner = (..., slice(0, size[0] - reach), slice(0, size[1] - reach))
    assert part[inner].numel() > 30 * 30
    torch.testing.assert_close(part[inner], whole[inner])


def correction(decoder: nn.Module, features: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """What detail adds to the upsampled coarse answer."""
    coarse = decoder.get_submodule("coarse")(decoder.get_submodule("context")(features))
    logits: torch.Tensor = decoder(features, pixels)
    return logits - upsample(coarse, (pixels.shape[-2], pixels.shape[-1]))


def test_an_unknown_decoder_names_the_known() -> None:
    with pytest.raises(ParameterError, match="one of detail, cnn3, linear"):
        decoders.build("unet", 8)


def test_probabilities_and_their_size() -> None:
    decoder = decoders.build("linear", 4).eval()
    pixels = torch.zeros(1, 3, 28, 42, dtype=torch.uint8)
    features = torch.randn(1, 4, 2, 3, dtype=torch.float16)
    probability = decode(decoder, features, pixels, card(1.0), CPU)
    assert probability.shape == (1, 1, 28, 42)
    assert ((probability >= 0) & (probability <= 1)).all()


def test_the_temperature_is_that_of_the_mask_alone() -> None:
    decoder = decoders.build("linear", 4, "distance").eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter)
    features, pixels = torch.randn(1, 4, 3, 5), torch.zeros(1, 3, 42, 70, dtype=torch.uint8)
    logits = decoder(features, pixels).detach()
    found = decode(decoder, features.half(), pixels, card(2.0), CPU)
    torch.testing.assert_close(found[:, 0], (logits[:, 0] / 2).sigmoid(), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found[:, 1], logits[:, 1].sigmoid(), atol=1e-3, rtol=1e-3)
