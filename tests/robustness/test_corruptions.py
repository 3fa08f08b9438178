from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fishseg.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupt

HEIGHT, WIDTH = 180, 240
GEOMETRIC = {"rotation", "zoom_in", "zoom_out"}


def scene(scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A striped orange fish on blue board, well inside of the frame."""
    mask = np.zeros((HEIGHT * scale, WIDTH * scale), np.uint8)
    centre, axes = (120 * scale, 90 * scale), (68 * scale, 24 * scale)
    cv2.ellipse(mask, centre, axes, 20, 0, 360, 1, -1)
    image = np.full((*mask.shape, 3), (40, 70, 130), np.uint8)
    image[mask > 0] = (200, 140, 60)
    image[:, :: 12 * scale] //= 2
    return image, mask > 0


def apply(name: str, severity: int, sample_id: str = "a", seed: int = 0) -> tuple[Any, Any]:
    return corrupt(name, severity, *scene(), sample_id=sample_id, seed=seed)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_picture_stays_a_picture_and_the_input_stays_as_it_was(name: str) -> None:
    image, mask = scene()
    for severity in SEVERITIES:
        changed, moved = corrupt(name, severity, image, mask, sample_id="a", seed=0)
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8
        assert moved.shape == mask.shape
        assert moved.dtype == np.bool_
        assert not np.array_equal(changed, image)
        assert name in GEOMETRIC | {"occlusion"} or np.array_equal(moved, mask)
    assert np.array_equal(image, scene()[0])
    assert np.array_equal(mask, scene()[1])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_every_time(name: str) -> None:
    for severity in (1, 5):
        first, second = apply(name, severity), apply(name, severity)
        assert np.array_equal(first[0], second[0])
        assert np.array_equal(first[1], second[1])


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"jpeg", "defocus_blur"}))
def test_chance_depends_on_the_sample_and_on_the_seed(name: str) -> None:
    # Rotation has two directions and colour_cast four casts: eight samples differ somewhere.
    by_sample = {apply(name, 3, sample_id=str(number))[0].tobytes() for number in range(8)}
    by_seed = {apply(name, 3, seed=number)[0].tobytes() for number in range(8)}
    assert len(by_sample) > 1
    assert len(by_seed) > 1


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - GEOMETRIC))
def test_each_severity_is_further_from_the_picture_than_the_one_before(name: str) -> None:
    image = scene()[0].astype(float)
    distances = [np.abs(apply(name, severity)[0] - image).mean() for severity in SEVERITIES]
    assert distances == sorted(distances)
    assert len(set(distances)) == len(distances)


@pytest.mark.parametrize("name", sorted(GEOMETRIC))
def test_the_mask_moves_with_the_fish(name: str) -> None:
    for severity in SEVERITIES:
        image, mask = apply(name, severity)
        # Red exceeds blue on the fish alone, whichever way it is turned or blended.
        fish = image[..., 0].astype(int) > image[..., 2]
        assert mask.any()
        assert (fish & mask).sum() / (fish | mask).sum() > 0.93


def test_half_a_turn_is_what_numpy_does() -> None:
    image, mask = scene()
    turned, moved = apply("rotation", 5)
    assert np.array_equal(moved, mask[::-1, ::-1])
    assert np.abs(turned.astype(int) - image[::-1, ::-1]).max() <= 1


def test_zoom_changes_the_fish_s_area_by_the_square() -> None:
    area = scene()[1].sum()
    assert apply("zoom_out", 3)[1].sum() / area == pytest.approx(0.6**2, rel=0.03)
    assert apply("zoom_in", 1)[1].sum() / area == pytest.approx(1.1**2, rel=0.03)


def test_what_is_behind_the_occluder_is_no_fish() -> None:
    image, mask = scene()
    for severity, covered in zip(SEVERITIES, (0.05, 0.1, 0.2, 0.3, 0.4), strict=True):
        changed, visible = apply("occlusion", severity)
        assert not (visible & ~mask).any()
        assert 1 - visible.sum() / mask.sum() == pytest.approx(covered, abs=0.02)
        # Where fish is still to be seen it looks as before, but for the occluder's soft edge.
        inner = cv2.erode(visible.astype(np.uint8), np.ones((5, 5))) > 0
        assert np.array_equal(changed[inner], image[inner])
        hidden = mask & ~visible
        assert (changed[hidden] != image[hidden]).any(axis=1).mean() > 0.95


def test_the_occluder_comes_from_outside_of_the_frame() -> None:
    image, _ = scene()
    difference = (apply("occlusion", 4)[0] != image).any(axis=2)
    border = np.concatenate([difference[0], difference[-1], difference[:, 0], difference[:, -1]])
    assert border.any()


def test_glare_lies_on_the_fish() -> None:
    image, mask = scene()
    for severity in SEVERITIES:
        changed, _ = apply("glare", severity)
        white = (changed == 255).all(axis=2)
        assert white.any()
        near = cv2.dilate(mask.astype(np.uint8), np.ones((15, 15))) > 0
        assert not (white & ~near).any()
        assert (changed >= image).all()
        assert (white & mask).sum() < 0.6 * mask.sum()


def test_low_light_is_the_exposure_it_says() -> None:
    grey = np.full((200, 200, 3), 200, np.uint8)
    mask = np.ones((200, 200), np.bool_)
    dark, _ = corrupt("low_light", 2, grey, mask, sample_id="a", seed=0)
    light = (dark / 255.0) ** 2.2
    assert light.mean() == pytest.approx((200 / 255) ** 2.2 / 2**1.5, rel=0.01)


def test_noise_has_the_deviation_it_says_at_any_resolution() -> None:
    mask = np.ones((448, 448), np.bool_)
    grey = np.full((448, 448, 3), 128, np.uint8)
    noisy, _ = corrupt("noise", 2, grey, mask, sample_id="a", seed=0)
    assert noisy.astype(float).std() == pytest.approx(16, rel=0.02)
    large = np.full((896, 896, 3), 128, np.uint8)
    coarse, _ = corrupt("noise", 2, large, np.ones((896, 896), np.bool_), sample_id="a", seed=0)
    assert np.array_equal(coarse[::2, ::2], noisy)


def test_blur_keeps_the_mean_and_spreads_as_far_as_it_says() -> None:
    point = np.zeros((401, 401, 3), np.uint8)
    point[200, 200] = 255
    mask = np.ones((401, 401), np.bool_)
    disc, _ = corrupt("defocus_blur", 5, point, mask, sample_id="a", seed=0)
    reached = np.argwhere(disc[..., 0] > 0)
    radius = np.hypot(*(reached - 200).T).max()
    assert radius == pytest.approx(0.024 * 401, abs=1.5)


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur", "zoom_out"])
def test_lengths_are_shares_of_the_height(name: str) -> None:
    small, _ = apply(name, 4)
    large, _ = corrupt(name, 4, *scene(4), sample_id="a", seed=0)
    shrunk = cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    # Compared softly: edges fall between other pixels.
    gap = gaussian_filter(small.astype(float) - shrunk, (3, 3, 0))
    assert np.abs(gap).mean() < 4


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_picture_without_fish_and_a_tiny_one(name: str) -> None:
    image, mask = scene()
    empty, moved = corrupt(name, 5, image, np.zeros_like(mask), sample_id="a", seed=0)
    assert empty.shape == image.shape
    assert not moved.any()
    dot, _ = corrupt(name, 5, image[:1, :1], mask[:1, :1], sample_id="a", seed=0)
    assert dot.shape == (1, 1, 3)
