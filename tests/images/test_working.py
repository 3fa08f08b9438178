from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from fishseg.images.resizing import at_size, to_pixels, working_size


@pytest.mark.parametrize(
    ("original", "fit", "multiple", "expected"),
    [
        ((445, 590), "aspect", 14, (448, 588)),  # 448 * 590 / 445 = 594 is nearer to 588 than 602
        ((445, 590), "aspect", 16, (448, 592)),
        ((445, 590), "stretch", 14, (448, 448)),
        ((590, 445), "aspect", 14, (448, 336)),
        ((241, 242), "aspect", 14, (448, 448)),
        ((10, 4000), "aspect", 16, (448, 1792)),  # 4 to 1 at most
        ((4000, 10), "aspect", 16, (448, 112)),
    ],
)
def test_working_size(
    original: tuple[int, int], fit: str, multiple: int, expected: tuple[int, int]
) -> None:
    size = working_size(original, fit=fit, image_size=448, patch_multiple=multiple)
    assert size == expected


def test_a_height_below_one_patch_is_one_patch() -> None:
    assert working_size((5, 5), fit="stretch", image_size=32, patch_multiple=80) == (80, 80)


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
