from __future__ import annotations

import numpy as np
import pytest

from fishseg.features.working import to_pixels, working_size


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
    assert pixels.flatten(1).min(1).values.tolist() == [10, 20, 30]
    assert pixels.flatten(1).max(1).values.tolist() == [10, 20, 30]
