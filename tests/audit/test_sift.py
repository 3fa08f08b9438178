from __future__ import annotations

import cv2
import numpy as np
from drawn_photos import draw_photo, moved, transform

from fishseg.audit.sift import detect, find_similarity


def grey_photo(seed: int) -> np.ndarray:
    grey = cv2.cvtColor(draw_photo(seed)[0], cv2.COLOR_RGB2GRAY)
    larger: np.ndarray = cv2.resize(grey, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    return larger


def test_a_scaled_cut_out_is_found_where_it_was() -> None:
    photo = grey_photo(7)
    cut = cv2.resize(photo[30:200, 60:240], None, fx=1.2, fy=1.2)
    found = find_similarity(detect(photo), detect(cut))
    assert found is not None
    n_matches, affine = found
    assert n_matches >= 8
    exact = np.array([[1.2, 0, -72 + 0.1], [0, 1.2, -36 + 0.1], [0, 0, 1]])
    points = np.array([[80, 200, 150], [60, 60, 150], [1, 1, 1]])
    assert np.abs((affine - exact) @ points).max() < 1.5


def test_a_mirror_image_and_another_photo_are_not_found() -> None:
    photo = grey_photo(7)
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    assert find_similarity(detect(photo), detect(mirrored)) is None
    assert find_similarity(detect(photo), detect(grey_photo(8))) is None


def test_an_even_picture_has_no_features() -> None:
    even = detect(np.full((120, 150), 80, np.uint8))
    assert even.points.shape == (0, 2)
    assert find_similarity(even, detect(grey_photo(7))) is None


def test_black_corners_give_no_features() -> None:
    photo = grey_photo(7)
    affine = transform(False, 30, photo.shape)
    covered = moved(np.ones(photo.shape, np.bool_), affine)
    inner = cv2.erode(covered, np.ones((5, 5), np.uint8))
    points = np.round(detect(moved(photo, affine)).points).astype(int)
    assert len(points) > 50
    assert all(inner[y, x] for x, y in points)
