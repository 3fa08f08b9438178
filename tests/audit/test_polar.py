from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn_photos import draw_photo, moved, transform

from fishseg.audit.grey_image import GreyImage
from fishseg.audit.polar import ANGLES, candidate_map, find_candidates, spectrum


def grey_photo(seed: int) -> np.ndarray:
    grey: np.ndarray = cv2.cvtColor(draw_photo(seed)[0], cv2.COLOR_RGB2GRAY)
    return grey


PHOTOS = [grey_photo(seed) for seed in range(5)]
SOURCES = np.ascontiguousarray(np.stack([spectrum(photo) for photo in PHOTOS], axis=-1))


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("degrees", [0, 0.4, 33.3, 90, 180, 271.5, 359.7])
def test_a_copy_is_most_like_its_photo(flipped: bool, degrees: float) -> None:
    copy = moved(PHOTOS[2], transform(flipped, degrees))
    best, second = find_candidates(spectrum(copy), SOURCES, limit=2)
    assert (best.source, best.flipped) == (2, flipped)
    off = (best.rotation_degrees - degrees + 180) % 360 - 180
    assert abs(off) <= 360 / ANGLES
    assert best.correlation > 0.85
    assert second.correlation < 0.6

    picture = GreyImage(PHOTOS[2], PHOTOS[2].shape[:2])
    affine = candidate_map(best, picture, GreyImage(copy, copy.shape[:2]))
    points = np.array([[50, 150, 100], [50, 50, 100], [1, 1, 1]])
    exact = transform(flipped, degrees)
    assert np.abs((affine - exact) @ points).max() < 60 * np.radians(360 / ANGLES)


def test_a_picture_correlates_with_itself_by_one() -> None:
    candidates = find_candidates(spectrum(PHOTOS[1]), SOURCES, limit=3)
    assert candidates[0].correlation == pytest.approx(1, abs=1e-5)
    assert (candidates[0].source, candidates[0].rotation_degrees) == (1, 0)
    assert [found.correlation for found in candidates] == sorted(
        (found.correlation for found in candidates), reverse=True
    )


def test_brightness_contrast_and_shade_do_not_matter() -> None:
    shade = np.linspace(0, 60, PHOTOS[0].shape[1])
    darker = np.clip(PHOTOS[0] * 0.6 + shade, 0, 255).astype(np.uint8)
    (best,) = find_candidates(spectrum(darker), SOURCES, limit=1)
    assert best.source == 0
    assert best.correlation > 0.95


def test_an_even_picture_is_like_nothing() -> None:
    even = np.full((100, 130), 90, np.uint8)
    candidates = find_candidates(spectrum(even), SOURCES, limit=3)
    assert all(abs(found.correlation) < 1e-3 for found in candidates)
    assert np.isfinite(spectrum(even)).all()


def test_no_more_candidates_than_sources_both_ways_round() -> None:
    assert len(find_candidates(spectrum(PHOTOS[0]), SOURCES[:, :, :1], limit=9)) == 2
