from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from drawn_photos import HEIGHT, WIDTH, draw_photo, moved, transform

from fishseg.audit.consensus import Consensus, Member, edge_evidence, find_consensus

TURNS = [(False, 10.0), (True, 95.0), (False, 181.0), (True, 260.0), (False, 333.0)]


def draw_mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, (105, 70), (55, 18), 20, 0, 360, 255, -1)
    cv2.circle(mask, (55, 50), 12, 255, -1)
    return mask > 0


def member(mask: np.ndarray, flipped: bool, degrees: float) -> Member:
    affine = transform(flipped, degrees)
    visible = moved(np.ones((HEIGHT, WIDTH), np.bool_), affine) > 0
    return Member(moved(mask, affine) > 0, visible, affine)


def members(n: int = 5) -> list[Member]:
    return [member(draw_mask(), *turn) for turn in TURNS[:n]]


def with_mask(given: Member, mask: np.ndarray) -> Member:
    return Member(mask, given.visible, given.affine)


def judged(given: list[Member]) -> Consensus:
    return find_consensus(given, min_agreement=0.9, min_masks=3)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_masks_that_were_moved_with_their_image_agree() -> None:
    found = judged(members())
    assert found.decided
    assert found.agrees == [True] * 5
    assert min(found.agreement) > 0.96


@pytest.mark.parametrize("wrong", range(5))
def test_the_wrong_one_is_found_and_its_consensus_is_right(wrong: int) -> None:
    given = members()
    right = given[wrong].mask
    given[wrong] = with_mask(given[wrong], moved(draw_mask(), transform(True, 47)) > 0)
    found = judged(given)
    assert found.decided
    assert found.agrees == [number != wrong for number in range(5)]
    assert iou(found.masks[wrong], right) > 0.96


@pytest.mark.parametrize("fill", [False, True])
def test_an_empty_and_a_full_mask_are_wrong(fill: bool) -> None:
    given = members()
    right = given[1].mask
    given[1] = with_mask(given[1], np.full((HEIGHT, WIDTH), fill))
    found = judged(given)
    assert found.agrees == [True, False, True, True, True]
    assert iou(found.masks[1], right) > 0.96


def test_masks_without_fish_agree_on_that() -> None:
    empty = np.zeros((HEIGHT, WIDTH), np.bool_)
    found = judged([with_mask(given, empty) for given in members()])
    assert found.agreement == [1.0] * 5
    assert found.decided


def test_two_masks_prove_nothing() -> None:
    assert not judged(members(2)).decided
    one_wrong = members(2)
    one_wrong[0] = with_mask(one_wrong[0], ~one_wrong[0].mask)
    assert not judged(one_wrong).decided


def test_a_single_mask_has_no_agreement() -> None:
    found = judged(members(1))
    assert math.isnan(found.agreement[0])
    assert not found.decided


def test_two_camps_of_equal_size_are_undecided() -> None:
    camps = [member(draw_mask(), *turn) for turn in TURNS[:3]]
    other = moved(draw_mask(), transform(False, 120)) > 0
    camps += [member(other, *turn) for turn in [(True, 15.0), (False, 77.0), (False, 200.0)]]
    assert not judged(camps).decided


def test_no_two_alike_are_undecided() -> None:
    rng = np.random.default_rng(1)
    given = [
        with_mask(right, moved(draw_mask(), transform(False, float(rng.uniform(0, 360)))) > 0)
        for right in members()
    ]
    assert not judged(given).decided


def test_what_the_frame_cut_off_does_not_count() -> None:
    given = members()
    # The lower half of one copy is not visible, and its mask says nothing there.
    visible = given[2].visible.copy()
    visible[HEIGHT // 2 :] = False
    given[2] = Member(given[2].mask & visible, visible, given[2].affine)
    found = judged(given)
    assert found.agrees == [True] * 5
    assert found.agreement[2] > 0.95
    assert not found.masks[2][~visible].any()


def ignoring(given: Member, ignored: np.ndarray) -> Member:
    return Member(given.mask & ~ignored, given.visible, given.affine, ~ignored)


def test_what_a_mask_ignores_does_not_count_against_it() -> None:
    given = members()
    columns = np.arange(WIDTH)[None, :] + np.zeros((HEIGHT, 1))
    fish = np.flatnonzero(given[2].mask.any(axis=0))
    ignored = columns > np.quantile(fish, 2 / 3)
    plain = judged([*given[:2], with_mask(given[2], given[2].mask & ~ignored), *given[3:]])
    assert not plain.agrees[2]
    found = judged([*given[:2], ignoring(given[2], ignored), *given[3:]])
    assert found.agrees == [True] * 5
    assert found.agreement[2] > 0.96
    # The others know what is there, but for corners that they do not show.
    assert [unknown is None for unknown in found.unknown] == [True, True, False, True, True]
    unknown = found.unknown[2]
    assert unknown is not None
    assert not (unknown & given[2].mask).any()
    assert iou(found.masks[2], given[2].mask) > 0.96


def test_what_masks_ignore_is_no_vote_for_background() -> None:
    """Three of five ignore the tail: the other two decide on it, and are not called wrong."""
    given = members()
    tail = np.hypot(np.arange(WIDTH)[None, :] - 55, np.arange(HEIGHT)[:, None] - 50) < 30
    for number in range(3):
        ignored = moved(tail, given[number].affine) > 0
        given[number] = ignoring(given[number], ignored)
    found = judged(given)
    assert found.agrees == [True] * 5
    expected = members()[0].mask
    assert iou(found.masks[0], expected) > 0.96


def test_what_all_masks_ignore_stays_unknown() -> None:
    given = members()
    top = np.zeros((HEIGHT, WIDTH), np.bool_)
    top[:40] = True
    ignored = [moved(top, member.affine) > 0 for member in given]
    given = [ignoring(member, there) for member, there in zip(given, ignored, strict=True)]
    wrong = moved(draw_mask(), transform(True, 47)) > 0
    given[3] = Member(wrong & ~ignored[3], given[3].visible, given[3].affine, ~ignored[3])
    found = judged(given)
    assert found.agrees == [True, True, True, False, True]
    for unknown, there in zip(found.unknown, ignored, strict=True):
        assert unknown is not None
        assert not unknown[~there].any()
    unknown = found.unknown[3]
    assert unknown is not None
    assert iou(unknown, ignored[3]) > 0.9


def test_masks_that_ignore_everything_are_not_wrong() -> None:
    given = members()
    given[1] = ignoring(given[1], np.ones((HEIGHT, WIDTH), np.bool_))
    found = judged(given)
    assert math.isnan(found.agreement[1])
    assert found.decided


def test_the_consensus_knows_the_edge_to_a_fraction_of_a_pixel() -> None:
    # A disc drawn exactly at any position; copies shifted by fractions of a pixel.
    def disc(dx: float, dy: float) -> np.ndarray:
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        inside: np.ndarray = np.hypot(x - 100 - dx, y - 75 - dy) < 30.3
        return inside

    rng = np.random.default_rng(0)
    given = []
    for dx, dy in rng.uniform(-0.5, 0.5, (20, 2)):
        affine = np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]])
        given.append(Member(disc(dx, dy), np.ones((HEIGHT, WIDTH), np.bool_), affine))
    found = judged(given)
    areas = [int(mask.sum()) for mask in found.masks]
    assert np.mean(areas) == pytest.approx(np.pi * 30.3**2, rel=0.005)
    exact = [iou(mask, given_.mask) for mask, given_ in zip(found.masks, given, strict=True)]
    assert min(exact) > 0.985


def test_an_outline_on_edges_has_more_evidence_than_one_elsewhere() -> None:
    image, mask = draw_photo(11)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.GaussianBlur(grey, (0, 0), 1.5)
    grey[mask] = 220
    right = edge_evidence(grey, mask)
    turned = edge_evidence(grey, moved(mask, transform(True, 90)) > 0)
    assert 0.9 < right <= 1
    assert turned < right - 0.1
    assert math.isnan(edge_evidence(grey, np.zeros_like(mask)))
