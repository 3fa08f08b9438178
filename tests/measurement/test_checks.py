from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fishseg.measurement.checks import bend_degrees, n_parts, reasons
from fishseg.measurement.size import measure

Mask = NDArray[np.bool_]
SIZE = (600, 800)


def drawn(*ellipses: tuple[int, int, int, int]) -> Mask:
    """Ellipses ``x, y, half length, half width`` in a picture."""
    canvas = np.zeros(SIZE, np.uint8)
    for x, y, half_length, half_width in ellipses:
        cv2.ellipse(canvas, (x, y), (half_length, half_width), 0, 0, 360, 1, -1)
    return canvas > 0


def arc(degrees: int, radius: int = 150, thickness: int = 30) -> Mask:
    canvas = np.zeros(SIZE, np.uint8)
    cv2.ellipse(canvas, (400, 300), (radius, radius), 0, 0, degrees, 1, thickness)
    return canvas > 0


def said(mask: Mask) -> list[str]:
    return reasons(measure(mask), SIZE, n_parts(mask))


def test_nothing_is_said_of_a_fish() -> None:
    assert said(drawn((400, 300, 200, 60))) == []
    assert said(drawn((400, 300, 200, 60), (400, 100, 150, 40), (400, 500, 150, 40))) == []
    assert said(arc(150)) == []


@pytest.mark.parametrize("degrees", [30, 90, 150, 200, 250])
def test_how_far_a_body_is_bent(degrees: int) -> None:
    # Round ends of the line add a little to the arc; its chords take a little away.
    assert bend_degrees(measure(arc(degrees))) == pytest.approx(degrees, abs=20)
    bent = [line for line in said(arc(degrees)) if line.startswith("bent by")]
    assert bool(bent) == (degrees > 180)


def test_many_parts_and_specks() -> None:
    row = [(100 * number + 60, 300, 30, 10) for number in range(7)]
    assert n_parts(drawn(*row)) == 7
    assert "the mask is in 7 parts" in said(drawn(*row))
    specks = [(100 * number + 60, 500, 2, 2) for number in range(7)]
    assert n_parts(drawn((400, 300, 200, 60), *specks)) == 1
    assert n_parts(np.zeros(SIZE, np.bool_)) == 0


def test_shapes_that_no_fish_has() -> None:
    assert said(drawn((400, 300, 150, 145))) == ["too deep for a fish"]
    assert said(drawn((400, 300, 300, 4))) == ["too slender for a fish"]


@pytest.mark.parametrize(
    ("x", "y", "is_near"),
    [(211, 300, True), (217, 300, False), (400, 71, True), (400, 73, False), (400, 530, True),
     (588, 300, True), (582, 300, False)],
)  # fmt: skip
def test_near_the_frame(x: int, y: int, is_near: bool) -> None:
    """2% are 16 px beside, 12 px above and below."""
    assert (said(drawn((x, y, 200, 60))) == ["at the frame"]) == is_near


def test_a_fish_unlike_the_training_pictures_says_so_first() -> None:
    mask = drawn((400, 300, 150, 145))
    found = reasons(measure(mask), SIZE, n_parts(mask), unlike_training=True)
    assert found == ["unlike the training pictures", "too deep for a fish"]


@pytest.mark.parametrize(
    ("confidence", "expected"), [(0.69, ["unsure outline"]), (0.7, []), (None, [])]
)
def test_an_unsure_outline_is_said(confidence: float | None, expected: list[str]) -> None:
    mask = drawn((400, 300, 200, 60))
    assert reasons(measure(mask), SIZE, n_parts(mask), confidence=confidence) == expected
