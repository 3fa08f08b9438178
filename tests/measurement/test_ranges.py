"""Whatever a mask looks like, no measure leaves its range."""

from __future__ import annotations

import math
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from fishseg.measurement import coco
from fishseg.measurement.size import measure
from fishseg.measurement.table import COLUMNS, rows_of
from fishseg.prediction.instances import find_fish, fish_of_mask

Mask = NDArray[np.bool_]

MANY = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def noise(rng: np.random.Generator, size: tuple[int, int]) -> Mask:
    """Specks to large blobs."""
    drawn = cv2.GaussianBlur(rng.random(size), (0, 0), float(rng.uniform(0.3, 8)))
    above: Mask = drawn > rng.uniform(0.4, 0.6)
    return above


def scribble(rng: np.random.Generator, size: tuple[int, int]) -> Mask:
    """A line that may cross itself, as thin as a pixel or as thick as a fish."""
    canvas = np.zeros(size, np.uint8)
    steps = rng.normal(0, rng.uniform(1, 9), (int(rng.integers(2, 30)), 2))
    points = np.cumsum(steps, axis=0) + np.array(size[::-1]) / 2
    cv2.polylines(canvas, [points.astype(np.int32)], False, 1, int(rng.integers(1, 9)))
    return canvas > 0


def spiral(rng: np.random.Generator, size: tuple[int, int]) -> Mask:
    """A curled body, a ring, or the greater part of one."""
    canvas = np.zeros(size, np.uint8)
    turn = np.linspace(0, rng.uniform(1, 14), 200)
    reach = np.linspace(rng.uniform(0, 0.4), 0.5, 200) * (min(size) - 1)
    points = np.array(size[::-1]) / 2 + np.stack([reach * np.cos(turn), reach * np.sin(turn)], 1)
    cv2.polylines(canvas, [points.astype(np.int32)], False, 1, int(rng.integers(1, 9)))
    return canvas > 0


def polygon(rng: np.random.Generator, size: tuple[int, int]) -> Mask:
    """Spikes, stars, crossed outlines, ellipses with spines."""
    canvas = np.zeros(size, np.uint8)
    corners = rng.integers(0, max(size), (int(rng.integers(3, 9)), 2))
    cv2.fillPoly(canvas, [corners.astype(np.int32)], 1)
    centre = (int(rng.integers(size[1])), int(rng.integers(size[0])))
    axes = (int(rng.integers(1, 40)), int(rng.integers(1, 20)))
    cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return canvas > 0


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    size = draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["noise", "scribble", "spiral", "polygon", "pixels"]))
    if kind == "pixels":
        mask = rng.random(size) < rng.random()
    else:
        draw_one = {"noise": noise, "scribble": scribble, "spiral": spiral, "polygon": polygon}
        mask = draw_one[kind](rng, size)
    if not mask.any():
        mask[size[0] // 2, size[1] // 2] = True
    if draw(st.booleans()):
        mask = mask.repeat(draw(st.integers(1, 9)), axis=0)  # also larger than what is reduced
    return mask


def largest_part(mask: Mask) -> Mask:
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    part: Mask = labels == 1 + np.argmax(statistics[1:, cv2.CC_STAT_AREA])
    return part


def longest_way(mask: Mask) -> float:
    """The geodesic length of a mask in one part, from border to border."""
    number = np.full(np.add(mask.shape, 2), -1)
    number[1:-1, 1:-1][mask] = np.arange(np.count_nonzero(mask))
    y, x = np.nonzero(number >= 0)
    starts, ends, lengths = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        other = number[y + down, x + right]
        starts.append(number[y, x][other >= 0])
        ends.append(other[other >= 0])
        lengths.append(np.full(np.count_nonzero(other >= 0), math.hypot(down, right)))
    n_pixels = len(y)
    edges = (np.concatenate(lengths), (np.concatenate(starts), np.concatenate(ends)))
    graph = coo_array(edges, shape=(n_pixels, n_pixels)).tocsr()
    end = int(np.argmax(dijkstra(graph, directed=False, indices=0)))
    return float(dijkstra(graph, directed=False, indices=end).max()) + 1


@MANY
@given(mask=masks(), origin=st.tuples(st.integers(0, 9000), st.integers(0, 9000)))
def test_size_and_place(mask: Mask, origin: tuple[int, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no mean of nothing, no division by zero
        measured = measure(mask, origin=origin)
    y, x = np.nonzero(mask)
    left, top, width, height = measured.box
    assert measured.area_px == len(x)
    assert measured.box[:2] == (int(x.min()) + origin[0], int(y.min()) + origin[1])
    assert measured.box[2:] == (int(np.ptp(x)) + 1, int(np.ptp(y)) + 1)
    for centre, start, side in zip(measured.centroid, (left, top), (width, height), strict=True):
        assert start + 0.5 <= centre <= start + side - 0.5
    assert 0 <= measured.orientation_degrees < 180
    # The axis is a line, and most of it runs through the fish.
    assert measured.axis.shape == (49, 2)
    assert np.isfinite(measured.axis).all()
    longer = max(width, height)
    slack = 2 + 0.2 * longer
    assert (measured.axis >= np.array([left, top]) - slack).all()
    assert (measured.axis <= np.array([left + width, top + height]) + slack).all()


@MANY
@given(mask=masks())
def test_length_and_width(mask: Mask) -> None:
    measured = measure(mask)
    part = largest_part(mask)
    # To the centre of the nearest pixel outside, half a pixel behind the border.
    circle = 2 * float(distance_transform_edt(np.pad(part, 1)).max()) - 0.5
    reduced_by = math.ceil(max(measured.box[2:]) / 640)
    assert 1 <= measured.width_px <= max(measured.length_px, 1) + 1e-9
    assert measured.width_px <= 1.1 * circle + 2 * reduced_by
    assert measured.length_px >= 1
    if part.size < 20_000:
        assert measured.length_px <= 1.7 * longest_way(part) + 1


@pytest.mark.parametrize("seed", range(6))
def test_width_of_a_slender_body_is_its_depth(seed: int) -> None:
    """Once it came out as -1.4 and 3.3 px: fins that hide all of a body's outline."""
    rng = np.random.default_rng(seed)
    length, depth = 372, int(rng.integers(12, 40))
    canvas = np.zeros((200, 420), np.uint8)
    cv2.rectangle(canvas, (24, 100 - depth // 2), (24 + length - 1, 99 + depth - depth // 2), 1, -1)
    for _ in range(int(rng.integers(10, 40))):
        x, height = int(rng.integers(24, 24 + length)), int(rng.integers(10, 60))
        side = -1 if rng.random() < 0.5 else 1
        corners = np.array([[x - 4, 100], [x + 4, 100], [x, 100 + side * height]])
        cv2.fillPoly(canvas, [corners.astype(np.int32)], 1)
    measured = measure(canvas > 0)
    assert measured.width_px >= 0.8 * depth
    assert measured.length_px == pytest.approx(length, rel=0.1)


def test_a_direction_just_below_level_is_level() -> None:
    # The remainder of -1e-17 by 180 is 180.
    assert measure(np.ones((3, 40), np.bool_)).orientation_degrees < 180
    for height in range(1, 12):
        assert measure(np.ones((height, 57), np.bool_)).orientation_degrees < 180


@MANY
@given(mask=masks(), seed=st.integers(0, 2**32), share=st.sampled_from([0, 0.03, 0.5, 1]))
def test_instances_and_their_rows(mask: Mask, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    probability = (0.5 * mask + 0.499 * rng.random(mask.shape)).astype(np.float32)
    predicted = probability >= 0.5
    found = find_fish(probability, 0.5, min_share=share)
    covered = np.zeros(mask.shape, int)
    for fish in found:
        x, y = fish.origin
        height, width = fish.mask.shape
        covered[y : y + height, x : x + width] += fish.mask
        # The box is the smallest, and what touches the border is cut off.
        assert all(side.any() for side in (*fish.mask[[0, -1]], *fish.mask[:, [0, -1]].T))
        at_border = x == 0 or y == 0 or x + width == mask.shape[1] or y + height == mask.shape[0]
        assert fish.cut_off == at_border
        assert fish.confidence is not None
        assert 0 <= fish.confidence <= 1
    measured = [measure(fish.mask, origin=fish.origin) for fish in found]
    for row in rows_of(found, measured, predicted):
        assert list(row) == list(COLUMNS)
        assert isinstance(row.pop("check"), str)
        assert all(math.isfinite(value) for value in row.values())
        assert 0 <= row["orientation_degrees"] < 180
    areas = [np.count_nonzero(fish.mask) for fish in found]
    assert areas == sorted(areas, reverse=True)
    assert covered.max() <= 1
    assert not (covered.astype(bool) & ~predicted).any()
    if share == 0:
        assert (covered > 0).sum() == predicted.sum()
    of_mask = fish_of_mask(predicted, min_share=share)
    assert [fish.confidence for fish in of_mask] == [None] * len(found)
    for one, other in zip(found, of_mask, strict=True):
        assert one.origin == other.origin
        assert np.array_equal(one.mask, other.mask)


@MANY
@given(mask=masks(), margin=st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_outlines_hold_the_mask(mask: Mask, margin: tuple[int, int]) -> None:
    size = (mask.shape[0] + 2 * margin[1], mask.shape[1] + 2 * margin[0])
    lengths = coco.run_lengths(mask, margin, size)
    counts = np.array(lengths["counts"])
    assert lengths["size"] == list(size)
    assert counts.sum() == size[0] * size[1]
    assert (counts[1:] > 0).all()
    decoded = np.repeat(np.arange(len(counts)) % 2, counts).reshape(size[::-1]).T
    assert np.array_equal(decoded[margin[1] :, margin[0] :][: mask.shape[0], : mask.shape[1]], mask)
    for outline in coco.polygons(mask, margin):
        corners = np.array(outline).reshape(-1, 2)
        assert len(corners) >= 3
        assert (corners >= np.array(margin)).all()
        assert (corners <= np.array(margin) + np.array(mask.shape[::-1])).all()
        assert cv2.contourArea(corners.astype(np.float32)) > 0
