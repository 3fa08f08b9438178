from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fishseg.measurement.size import LONGEST_SIDE_PX, Measurement, measure

Mask = NDArray[np.bool_]
ANGLES = np.deg2rad([0, 17, 45, 90, 128])


def capsule(length: float, radius: float, angle: float, turn: float = 0.0) -> Mask:
    """All within ``radius`` of an arc ``length`` long; so its own length is that and two radii."""
    way = np.linspace(-0.5, 0.5, 801)
    step = np.stack([np.cos(angle + turn * way), np.sin(angle + turn * way)], axis=1)
    line = np.cumsum(step, axis=0) * length / 800
    line += radius + 3.3 - line.min(axis=0)
    width, height = np.ceil(line.max(axis=0) + radius + 3).astype(int)
    drawn = np.full((height * 4, width * 4), 255, np.uint8)
    # The distance to a line drawn at four times the size, sampled at the pixels' centres.
    cv2.polylines(drawn, [np.round((line + 0.5) * 4).astype(np.int32)], False, 0, 1)
    distance = cv2.distanceTransform(drawn, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[2::4, 2::4] / 4
    inside: Mask = distance <= radius
    return inside


def ellipse(half_length: float, half_width: float, angle: float) -> Mask:
    side = math.ceil(2 * half_length + 6)
    y, x = np.mgrid[:side, :side] - side / 2 + 0.2
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    inside: Mask = (along / half_length) ** 2 + (across / half_width) ** 2 <= 1
    return inside


def filled(shape: tuple[int, int], *outlines: list[tuple[float, float]]) -> Mask:
    canvas = np.zeros(shape, np.uint8)
    for outline in outlines:
        cv2.fillPoly(canvas, [np.round(np.array(outline) * 16).astype(np.int32)], 1, shift=4)
    return canvas.astype(bool)


def turned(mask: Mask, degrees: float) -> Mask:
    height, width = mask.shape
    side = math.ceil(math.hypot(height, width)) + 4
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    matrix[:, 2] += [(side - width) / 2, (side - height) / 2]
    smooth = cv2.warpAffine(mask.astype(np.float32), matrix, (side, side))
    inside: Mask = smooth >= 0.5
    return inside


def length_error(mask: Mask, length: float) -> float:
    return measure(mask).length_px / length - 1


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize(("length", "radius"), [(80, 10), (300, 40), (400, 10)])
def test_straight_capsules_in_every_direction(length: float, radius: float, angle: float) -> None:
    measured = measure(capsule(length, radius, angle))
    assert measured.length_px == pytest.approx(length + 2 * radius, abs=1.0)
    assert measured.width_px == pytest.approx(2 * radius, abs=1.0)
    off = (measured.orientation_degrees + math.degrees(angle) + 90) % 180 - 90
    assert abs(off) < 1


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("turn", [0.4, -1.0, 2.0, math.pi, 4.0])
@pytest.mark.parametrize(("length", "radius"), [(120, 12), (300, 25)])
def test_bent_capsules_are_as_long_as_straight_ones(
    length: float, radius: float, turn: float, angle: float
) -> None:
    assert abs(length_error(capsule(length, radius, angle, turn), length + 2 * radius)) < 0.015


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize(("half_length", "half_width"), [(30, 10), (100, 20), (100, 60)])
def test_ellipses(half_length: float, half_width: float, angle: float) -> None:
    measured = measure(ellipse(half_length, half_width, angle))
    assert measured.length_px == pytest.approx(2 * half_length, rel=0.005, abs=1.0)
    assert measured.width_px == pytest.approx(2 * half_width, abs=1.2)


def test_a_disc_has_a_length_too() -> None:
    assert measure(ellipse(50, 50, 0)).length_px == pytest.approx(100, rel=0.03)


@pytest.mark.parametrize("degrees", [0, 25, 70, 155])
def test_fins_legs_and_antennae_add_nothing(degrees: float) -> None:
    body = np.pad(capsule(300, 30, 0), 90)
    length = 360
    middle, left, right = body.shape[0] / 2, 96.0, body.shape[1] - 96.0
    fin = [(left + 120, middle - 20), (left + 170, middle - 75), (left + 190, middle - 20)]
    fins = body | filled(body.shape, fin)
    assert abs(length_error(turned(fins, degrees), length)) < 0.01
    legs = body.copy().astype(np.uint8)
    for root in (100, 140, 180):
        # Each reaches far beyond the head.
        start, end = (
            (round(right - root), round(middle + 15)),
            (round(right + 70), legs.shape[0] - 9),
        )
        cv2.line(legs, start, end, 1, 5)
    assert abs(length_error(turned(legs.astype(bool), degrees), length)) < 0.01


@pytest.mark.parametrize("degrees", [0, 40, 111])
def test_the_longer_lobe_of_a_forked_tail_counts(degrees: float) -> None:
    body = ellipse(120, 30, 0)
    middle, right = body.shape[0] / 2, body.shape[1]
    canvas = np.pad(body, ((0, 0), (0, 80)))
    upper = [(right - 30, middle), (right + 40, middle - 40), (right + 15, middle)]
    lower = [(right - 30, middle), (right + 25, middle + 36), (right + 15, middle)]
    fish = canvas | filled(canvas.shape, upper, lower)
    columns = np.flatnonzero(fish.any(axis=0))
    assert abs(length_error(turned(fish, degrees), columns[-1] - columns[0] + 1)) < 0.015


@pytest.mark.parametrize("reach", [30, 50, 70, 90, 110])
def test_a_deeper_fork_does_not_change_the_way_of_measuring(reach: int) -> None:
    """From the middle between the lobes, not along one of them."""
    body = ellipse(120, 30, 0)
    middle, right = body.shape[0] / 2, float(body.shape[1])
    canvas = np.pad(body, ((20, 20), (0, 130)))
    middle += 20
    lobes = [
        [(right - 30, middle), (right + reach, middle + aside), (right - 5, middle)]
        for aside in (-45, 45)
    ]
    fish = canvas | filled(canvas.shape, *lobes)
    measured = measure(fish)
    columns = np.flatnonzero(fish.any(axis=0))
    assert measured.length_px == pytest.approx(columns[-1] - columns[0] + 1, rel=0.01)
    assert np.ptp(measured.axis[:, 1]) < 5


def test_every_scale_gives_the_same_fish() -> None:
    fish = capsule(300, 25, 0.3, turn=1.0)
    original = measure(fish)
    for factor in (2, 5):
        large = measure(np.kron(fish, np.ones((factor, factor), np.bool_)))
        assert max(fish.shape) * 5 > LONGEST_SIDE_PX
        assert large.length_px == pytest.approx(original.length_px * factor, rel=0.005)
        assert large.width_px == pytest.approx(original.width_px * factor, rel=0.03)
        assert large.area_px == original.area_px * factor**2
        np.testing.assert_allclose(large.centroid, np.array(original.centroid) * factor, atol=0.01)


def test_place_is_counted_from_the_corner_of_the_picture() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:15, 20:50] = True
    measured = measure(mask, origin=(100, 200))
    assert measured.area_px == 150
    assert measured.box == (120, 210, 30, 5)
    assert measured.centroid == (135.0, 212.5)
    assert measured.orientation_degrees == pytest.approx(0, abs=0.5)
    np.testing.assert_allclose(sorted(measured.axis[[0, -1], 0]), [120, 150], atol=0.6)
    np.testing.assert_allclose(measured.axis[:, 1], 212.5, atol=0.6)


def test_orientation_counts_counter_clockwise_as_seen() -> None:
    rising = np.eye(60, dtype=np.uint8)[::-1]  # from the lower left to the upper right
    assert measure(cv2.dilate(rising, np.ones((7, 7))) > 0).orientation_degrees == pytest.approx(
        45, abs=1
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (1, 50), (50, 1), (3000, 3), (1, 3000)])
def test_tiny_and_thin_masks(shape: tuple[int, int]) -> None:
    measured = measure(np.ones(shape, bool))
    assert measured.area_px == shape[0] * shape[1]
    assert measured.length_px == pytest.approx(max(shape), abs=1.5)


@pytest.mark.filterwarnings("error")
def test_no_mask_is_too_odd() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        mask = rng.random(rng.integers(1, 16, 2)) < rng.random()
        if not mask.any():
            continue
        measured = measure(mask)
        assert all(map(math.isfinite, (measured.length_px, measured.width_px)))
        assert measured.length_px >= 1
        assert 0 <= measured.orientation_degrees < 180
        assert np.isfinite(measured.axis).all()


def test_twice_the_same() -> None:
    fish = capsule(200, 20, 0.7, turn=0.8)
    first, second = measure(fish), measure(fish)
    assert isinstance(first, Measurement)
    np.testing.assert_array_equal(first.axis, second.axis)
    assert first.length_px == second.length_px
