from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_photos import draw_photo, moved, transform, write

from fishseg.audit.grey_image import (
    MAX_ASPECT,
    SHORT_SIDE,
    content,
    load_grey_image,
    scaling,
    warp,
)


def test_scaling_takes_pixel_areas_to_pixel_areas() -> None:
    affine = scaling((10, 20), (5, 40))
    # The left edge of the frame lies at -0.5 before and after, the lower one at 9.5 and at 4.5.
    np.testing.assert_allclose(affine @ [-0.5, 9.5, 1], [-0.5, 4.5, 1])
    np.testing.assert_allclose(affine @ [9.5, 4.5, 1], [19.5, 2.0, 1])


@pytest.mark.parametrize(
    ("size", "working"),
    [
        ((445, 590), (224, 297)),
        ((600, 400), (336, 224)),
        ((2128, 2832), (224, 298)),
        ((50, 1000), (SHORT_SIDE, SHORT_SIDE * MAX_ASPECT)),
    ],
)
def test_the_short_side_has_the_working_size(
    tmp_path: Path, size: tuple[int, int], working: tuple[int, int]
) -> None:
    file = write(tmp_path / "a.png", np.zeros((*size, 3), np.uint8))
    picture = load_grey_image(file.path)
    assert picture.pixels.shape == working
    assert picture.size == size
    np.testing.assert_allclose(
        picture.from_full @ [size[1] - 0.5, size[0] - 0.5, 1],
        [working[1] - 0.5, working[0] - 0.5, 1],
    )


@pytest.mark.parametrize("lift", [0, 25])
@pytest.mark.parametrize("noise", [0, 5])
def test_black_corners_are_no_content(lift: int, noise: int) -> None:
    image, _ = draw_photo(3)
    affine = transform(False, 30)
    copy = moved(image, affine).astype(np.float64)
    copy += lift + np.random.default_rng(0).normal(0, noise, copy.shape)
    grey = cv2.cvtColor(np.clip(copy, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    covered = moved(np.ones(grey.shape, np.bool_), affine) > 0
    found = content(grey)
    assert not (found & ~covered).any()
    # A rim of a few pixels is given up.
    assert (found & covered).sum() > 0.93 * covered.sum()


def test_a_picture_without_black_corners_is_content_all_over() -> None:
    image, _ = draw_photo(3)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    assert content(grey).all()
    # Black in the middle is a black fish.
    grey[60:90, 80:120] = 0
    assert content(grey).all()


def test_warp_shows_what_the_map_says() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    to_source = np.array([[1, 0, 1], [0, 1, 2], [0, 0, 1]], np.float64)
    shown = warp(pixels, to_source, (2, 2), cv2.INTER_NEAREST)
    np.testing.assert_array_equal(shown, [[9, 10], [0, 0]])
