from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from fishseg.images.resizing import at_size, to_pixels, working_size


@pytest.mark.parametrize(
    ("original", "fit", "multiple", "expected"),
    [
        # sqrt(0.268e6 * 445 / 590) = 449.6; 448 * 590 / 445 = 594 is nearer to 588 than 602
        ((445, 590), "aspect", 14, (448, 588)),
        ((445, 590), "aspect", 16, (448, 592)),
        ((445, 590), "stretch", 14, (336, 336)),
        ((590, 445), "aspect", 14, (588, 448)),
        ((241, 242), "aspect", 14, (518, 518)),  # 516.6
        ((10, 4000), "aspect", 16, (256, 1024)),  # 4 to 1 at most
        ((4000, 10), "aspect", 16, (1024, 256)),
    ],
)
def test_working_size(
    original: tuple[int, int], fit: str, multiple: int, expected: tuple[int, int]
) -> None:
    size = working_size(
        original, fit=fit, image_size=336, megapixels=0.268, patch_multiple=multiple
    )
    assert size == expected


@pytest.mark.parametrize("multiple", [14, 16, 32])
@pytest.mark.parametrize("megapixels", [0.15, 0.268, 0.418, 0.734])
def test_every_format_has_its_proportions_and_its_share_of_the_patches(
    multiple: int, megapixels: float
) -> None:
    for height_share in np.geomspace(1 / 3, 3, 25):
        original = (round(1200 * height_share), 1200)
        height, width = working_size(
            original, fit="aspect", image_size=0, megapixels=megapixels, patch_multiple=multiple
        )
        assert height % multiple == width % multiple == 0
        # The longer side is half a patch from what keeps the proportions at most, the shorter one
        # half a patch from what gives the area.
        ratio = max(original) / min(original)
        assert abs(max(height, width) - min(height, width) * ratio) <= multiple / 2
        assert abs(min(height, width) - math.sqrt(1e6 * megapixels / ratio)) <= multiple / 2
        turned = working_size(
            (original[1], original[0]),
            fit="aspect",
            image_size=0,
            megapixels=megapixels,
            patch_multiple=multiple,
        )
        assert turned == (width, height)


def test_a_side_below_one_patch_is_one_patch() -> None:
    for fit in ("stretch", "aspect"):
        size = working_size((5, 5), fit=fit, image_size=32, megapixels=0.001, patch_multiple=80)
        assert size == (80, 80)


def test_pixels_are_channels_first_and_keep_a_flat_colour() -> None:
    image = np.broadcast_to(np.array([10, 20, 30], np.uint8), (44, 59, 3)).copy()
    pixels = to_pixels(image, (56, 70))
    assert pixels.shape == (3, 56, 70)
    assert pixels.min(axis=(1, 2)).tolist() == [10, 20, 30]
    assert pixels.max(axis=(1, 2)).tolist() == [10, 20, 30]


@pytest.mark.parametrize("size", [(445, 590), (240, 240), (13, 50), (900, 1200), (1, 1)])
def test_probabilities_are_resampled_as_torch_does_it(size: tuple[int, int]) -> None:
    probability = np.random.default_rng(0).random((448, 588), np.float32)
    expected = interpolate(
        torch.from_numpy(probability)[None, None], size=size, mode="bilinear", antialias=True
    )
    found = at_size(probability, size)
    assert found.shape == size
    assert found.dtype == np.float32
    assert np.abs(found - expected[0, 0].numpy()).max() < 1e-4


def test_certainty_stays_certain() -> None:
    assert (at_size(np.ones((448, 588), np.float32), (445, 590)) == 1).all()
    assert (at_size(np.zeros((448, 588), np.float32), (445, 590)) == 0).all()


def test_shrinking_averages_the_area() -> None:
    stripes = np.zeros((8, 8), np.float32)
    stripes[:, ::2] = 1  # of one pixel: half of every area
    assert at_size(stripes, (2, 2)) == pytest.approx(0.5, abs=0.1)
