from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_photos import HEIGHT, WIDTH, draw_board, draw_photo, moved, transform, write

from fishseg.audit.grey_image import GreyImage, load_grey_image
from fishseg.audit.registration import likeness, pose, register

POINTS = np.array([[50, 150, 50, 150, 100], [40, 40, 110, 110, 75], [1, 1, 1, 1, 1]])


def picture(folder: Path, image: np.ndarray) -> GreyImage:
    return load_grey_image(write(folder / f"{image.sum()}.png", image).path)


def guess(source: GreyImage, copy: GreyImage, exact: np.ndarray, off_degrees: float) -> np.ndarray:
    """The exact map at working size, turned a little."""
    middle = ((copy.size[1] - 1) / 2, (copy.size[0] - 1) / 2)
    off = np.vstack([cv2.getRotationMatrix2D(middle, off_degrees, 1.0), [0, 0, 1]])
    found: np.ndarray = copy.from_full @ off @ exact @ np.linalg.inv(source.from_full)
    return found


def test_pose_of_maps_worked_by_hand() -> None:
    size = (101, 201)
    same = pose(np.eye(3), size, size)
    assert (same.flipped, same.rotation_degrees, same.scale, same.shift) == (False, 0, 1, (0, 0))
    # x' = -x, y' = -y about the middle (100, 50): mirrored twice is turned by half.
    twice = pose(np.array([[-1, 0, 200], [0, -1, 100], [0, 0, 1]], np.float64), size, size)
    assert not twice.flipped
    assert twice.rotation_degrees == pytest.approx(180)
    assert twice.shift == pytest.approx((0, 0))
    # To the right becomes up: a quarter counter-clockwise as seen, at half the size.
    quarter = pose(np.array([[0, 0.5, 0], [-0.5, 0, 50], [0, 0, 1]]), size, (101, 51))
    assert not quarter.flipped
    assert quarter.rotation_degrees == pytest.approx(90)
    assert quarter.scale == pytest.approx(0.5)
    mirror = pose(np.array([[-1, 0, 203], [0, 1, -4], [0, 0, 1]], np.float64), size, size)
    assert (mirror.flipped, mirror.rotation_degrees) == (True, 0)
    assert mirror.shift == pytest.approx((3, -4))


@pytest.mark.parametrize(
    ("flipped", "degrees"), [(False, 0.0), (True, 77.0), (False, 180.0), (True, 301.5)]
)
def test_a_rough_guess_becomes_exact(tmp_path: Path, flipped: bool, degrees: float) -> None:
    image, _ = draw_photo(4)
    exact = transform(flipped, degrees)
    source, copy = picture(tmp_path, image), picture(tmp_path, moved(image, exact))
    found = register(source, copy, guess(source, copy, exact, 1.0))
    assert found is not None
    assert np.abs((found.affine - exact) @ POINTS).max() < 0.15
    assert found.likeness > 0.7
    assert found.residual_px < 0.2


def test_a_photo_of_other_size_and_proportions_fits(tmp_path: Path) -> None:
    image, _ = draw_photo(4)
    exact = transform(True, 200)
    large = cv2.resize(image, (WIDTH * 3, HEIGHT * 3 + 4), interpolation=cv2.INTER_CUBIC)
    source, copy = picture(tmp_path, large), picture(tmp_path, moved(image, exact))
    shrunk = np.array([[1 / 3, 0, -1 / 3], [0, HEIGHT / (HEIGHT * 3 + 4), -1 / 3], [0, 0, 1]])
    found = register(source, copy, guess(source, copy, exact @ shrunk, 0.7))
    assert found is not None
    assert found.likeness > 0.7
    assert pose(found.affine, source.size, copy.size).scale == pytest.approx(1 / 3, rel=0.01)
    photo_points = np.linalg.inv(shrunk) @ POINTS
    assert np.abs(found.affine @ photo_points - exact @ POINTS).max() < 0.4


@pytest.mark.parametrize("seed", range(5, 10))
def test_another_fish_on_the_same_board_is_not_alike(tmp_path: Path, seed: int) -> None:
    image, _ = draw_photo(seed, board=4)
    other, _ = draw_photo(seed + 50, board=4)
    source, copy = picture(tmp_path, other), picture(tmp_path, image)
    found = register(source, copy, np.eye(3))
    assert found is None or found.likeness < 0.3


def test_unlike_and_even_pictures_do_not_fit(tmp_path: Path) -> None:
    source = picture(tmp_path, draw_photo(1)[0])
    board = picture(tmp_path, draw_board(2))
    even = picture(tmp_path, np.full((HEIGHT, WIDTH, 3), 99, np.uint8))
    black = picture(tmp_path, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    for copy in (board, even, black):
        found = register(source, copy, np.eye(3))
        assert found is None or found.likeness < 0.3


def test_pictures_that_hardly_overlap_prove_nothing(tmp_path: Path) -> None:
    image, _ = draw_photo(4)
    source = picture(tmp_path, image)
    shifted = np.array([[1, 0, 0.95 * source.pixels.shape[1]], [0, 1, 0], [0, 0, 1]])
    assert register(source, source, shifted) is None


def test_likeness_of_cases_worked_by_hand() -> None:
    rng = np.random.default_rng(0)
    one = cv2.GaussianBlur(rng.normal(128, 200, (96, 96)), (0, 0), 2).clip(0, 255).astype(np.uint8)
    everywhere = np.ones(one.shape, np.bool_)
    assert likeness(one, one, everywhere) == pytest.approx(1, abs=1e-5)
    assert likeness(one, 255 - one, everywhere) == pytest.approx(-1, abs=1e-5)
    assert likeness(one, (one // 2 + 60).astype(np.uint8), everywhere) > 0.97
    assert likeness(np.full_like(one, 9), np.full_like(one, 9), everywhere) == 0
    # A third of it another: the weakest quarter lies in that.
    other = one.copy()
    other[:32] = one[:32, ::-1]
    assert likeness(one, other, everywhere) < 0.4
    assert not math.isnan(likeness(one, other, np.zeros(one.shape, np.bool_)))
