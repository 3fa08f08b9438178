from __future__ import annotations

import pytest
import torch

from fishseg.training import augmentation
from fishseg.training.augmentation import add_noise, jitter_colors


def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(60, 190, (3, 3, 8, 8), dtype=torch.uint8, generator=generator)


def test_no_strength_changes_nothing() -> None:
    torch.testing.assert_close(jitter_colors(pixels(), 0.0), pixels().float())
    features = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(add_noise(features, 0.0), features)


def test_images_vary_by_themselves_and_within_the_strength() -> None:
    torch.manual_seed(1)
    grey = torch.full((64, 3, 4, 4), 100, dtype=torch.uint8)
    varied = jitter_colors(grey, 0.2) / 100
    # Of an even grey only brightness (20%) and the cast (10%) change anything.
    assert varied.min() >= 0.8 * 0.9 - 0.01
    assert varied.max() <= 1.2 * 1.1 + 0.01
    assert varied.mean(dim=(1, 2, 3)).std() > 0.05
    assert (varied.std(dim=(2, 3)) < 1e-5).all()


def test_edges_stay_where_they_are() -> None:
    torch.manual_seed(2)
    image = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    image[..., 3:] = 180
    varied = jitter_colors(image, 0.3).mean(dim=1)
    assert (varied[..., 3:].amin(dim=(1, 2)) > varied[..., :3].amax(dim=(1, 2)) + 50).all()


def test_saturation_keeps_grey_and_contrast_keeps_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([1.0, 1.0, 0.5, 1.0, 1.0, 0.5, 1.0, 1.0])  # brightness, contrast, saturation, cast

    def factors(pixels: torch.Tensor, n_rows: int, largest: float) -> torch.Tensor:
        return torch.full((len(pixels), n_rows, 1), next(drawn))

    monkeypatch.setattr(augmentation, "_factors", factors)
    image = pixels()
    paler = jitter_colors(image, 0.5)
    torch.testing.assert_close(paler.mean(dim=1), image.float().mean(dim=1))
    torch.testing.assert_close(
        paler.amax(dim=1) - paler.amin(dim=1),
        (image.amax(dim=1).float() - image.amin(dim=1).float()) / 2,
    )
    flatter = jitter_colors(image, 0.5)
    torch.testing.assert_close(flatter.mean(dim=(1, 2, 3)), image.float().mean(dim=(1, 2, 3)))
    assert (flatter.std(dim=(1, 2, 3)) < 0.6 * image.float().std(dim=(1, 2, 3))).all()


def test_one_seed_one_result() -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(jitter_colors(pixels(), 0.5))
    assert torch.equal(*results)
    assert not torch.equal(results[0], pixels().float())


def test_noise_is_in_units_of_each_channel() -> None:
    torch.manual_seed(4)
    scale = torch.tensor([1.0, 100.0]).view(1, 2, 1, 1)
    features = torch.randn(8, 2, 16, 16) * scale
    noise = add_noise(features, 0.1) - features
    torch.testing.assert_close(noise.std(dim=(0, 2, 3)), 0.1 * scale.flatten(), rtol=0.1, atol=0)
