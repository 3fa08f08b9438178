from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn_photos import draw_photo, moved, transform

from fishseg.audit import neighbours
from fishseg.audit.neighbours import DIMENSIONS, Descriptors, descriptor, nearest
from fishseg.audit.polar import spectrum


def described(pixels: np.ndarray) -> Descriptors:
    return descriptor(spectrum(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)))


def random_descriptors(n: int) -> Descriptors:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n, DIMENSIONS))
    whole: Descriptors = np.rint(
        values * (4000 / np.linalg.norm(values, axis=1, keepdims=True))
    ).astype(np.int16)
    return whole


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("degrees", [0, 33.3, 90, 180, 271.5])
def test_turning_and_mirroring_change_little(flipped: bool, degrees: float) -> None:
    photos = [draw_photo(seed)[0] for seed in range(5)]
    copy = described(moved(photos[2], transform(flipped, degrees))).astype(np.float64)
    likeness = [copy @ described(photo) / 4000**2 for photo in photos]
    assert likeness[2] > 0.9
    assert max(likeness[:2] + likeness[3:]) < 0.5


def test_an_even_picture_is_described_by_nothing() -> None:
    even = descriptor(spectrum(np.full((100, 130), 90, np.uint8)))
    assert even.shape == (DIMENSIONS,)
    assert not even.any()


@pytest.mark.parametrize("limit", [1, 7, 40, 100])
def test_the_nearest_are_those_of_whole_numbers(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", 16)
    descriptors = random_descriptors(70)
    descriptors[50:60] = descriptors[3]  # equal ones: the first count
    queries = descriptors[[3, 20]]
    similarity = queries.astype(np.int64) @ descriptors.T.astype(np.int64)
    expected = [
        sorted(sorted(range(70), key=lambda number: (-row[number], number))[:limit])
        for row in similarity
    ]
    assert nearest(queries, descriptors, limit).tolist() == expected


def test_sums_are_exact_in_whatever_order() -> None:
    # The worst there can be: two of them alike, all of whose products add.
    alike = np.full(DIMENSIONS, np.ceil(4000 / DIMENSIONS**0.5), np.int16)
    assert int(np.square(alike.astype(np.int64)).sum()) < 2**24
    for one in random_descriptors(20):
        assert int(np.square(one.astype(np.int64)).sum()) < 2**24
