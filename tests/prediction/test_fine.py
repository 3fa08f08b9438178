from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fishseg.images.resizing import at_size
from fishseg.prediction.fine import MARGIN_SHARE, FineModel, Window, find_windows
from fishseg.prediction.instances import find_fish, fish_in
from fishseg.prediction.model import Answer

SIDE = 32  # all that the model sees of any picture


@dataclasses.dataclass
class Shortsighted:
    """To it white is fish, and every picture 32 x 32 pixels large; it counts its pictures."""

    threshold: float = 0.5
    seen: list[tuple[int, ...]] = dataclasses.field(default_factory=list)

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.seen.append(image.shape)
        small = Image.fromarray(image[..., 0]).resize((SIDE, SIDE), Image.Resampling.BOX)
        return at_size(np.asarray(small, np.float32) / np.float32(255), image.shape[:2])


def picture(*boxes: tuple[int, int, int, int], side: int = 320) -> NDArray[np.uint8]:
    """White boxes (top, left, bottom, right) on black."""
    image = np.zeros((side, side, 3), np.uint8)
    for top, left, bottom, right in boxes:
        image[top:bottom, left:right] = 255
    return image


def iou(probability: NDArray[np.float32], image: NDArray[np.uint8]) -> float:
    mask, truth = probability >= 0.5, image[..., 0] > 0
    return float((mask & truth).sum() / (mask | truth).sum())


def test_a_small_fish_is_cut_out_more_exactly_and_the_rest_stays() -> None:
    image = picture((103, 87, 118, 124))
    model = Shortsighted()
    first = model.probability(image)
    fine = FineModel(model=model).probability(image)
    assert iou(first, image) < 0.85
    assert iou(fine, image) > 0.95
    (window,) = find_windows(first >= 0.5)
    changed = first != fine
    assert changed[window.slices].any()
    changed[window.slices] = False
    assert not changed.any()


def test_looks_that_disagree_lower_the_confidence() -> None:
    image = picture((103, 87, 118, 124), (200, 200, 260, 300))
    model = Shortsighted()
    fine = FineModel(model=model).answer(image)
    first = model.probability(image) >= 0.5
    assert fine.first is not None
    assert np.array_equal(fine.first, first)
    large, small = fish_in(fine, 0.5)
    for fish, other in ((large, small), (small, large)):
        own = np.ones(first.shape, np.bool_)
        own[other.box] = False
        agreed = iou(np.where(own, first, 0), np.where(own, fine.probability >= 0.5, 0)[..., None])
        alone = find_fish(np.where(own, fine.probability, np.float32(0)), 0.5)[0].confidence
        assert alone is not None
        assert fish.confidence == pytest.approx(alone * agreed, abs=0.02)
    assert small.confidence is not None
    assert large.confidence is not None
    assert small.confidence < large.confidence


@pytest.mark.parametrize(
    "boxes", [[], [(10, 10, 310, 310)]], ids=["no fish", "a fish that fills the picture"]
)
def test_where_nothing_is_to_be_gained_there_is_no_second_look(
    boxes: list[tuple[int, int, int, int]],
) -> None:
    image = picture(*boxes)
    model = Shortsighted()
    expected = model.probability(image)
    assert np.array_equal(FineModel(model=model).probability(image), expected)
    assert len(model.seen) == 2
    assert FineModel(model=model).answer(image).first is None


class ShortsightedTwice(Shortsighted):
    """Its second map is the opposite of the first one."""

    def answer(self, image: NDArray[np.uint8]) -> Answer:
        probability = self.probability(image)
        return Answer(probability, interior=1 - probability)


def test_the_second_map_is_looked_at_again_alike() -> None:
    image = picture((103, 87, 118, 124))
    plain = FineModel(model=Shortsighted()).answer(image)
    both = FineModel(model=ShortsightedTwice()).answer(image)
    assert plain.interior is None
    assert np.array_equal(plain.probability, both.probability)
    assert both.interior is not None
    np.testing.assert_allclose(both.interior, 1 - both.probability, atol=1e-6)


def test_windows_keep_within_the_picture_and_have_a_margin() -> None:
    mask = np.zeros((100, 400), np.bool_)
    mask[40:60, 0:40] = True
    margin = MARGIN_SHARE * 40
    assert find_windows(mask) == [(40 - margin, 0, 60 + margin, 40 + margin)]


def test_fish_side_by_side_share_a_window_and_others_have_their_own() -> None:
    mask = np.zeros((200, 800), np.bool_)
    mask[90:110, 100:140] = True
    mask[90:110, 150:190] = True
    mask[90:110, 600:640] = True
    mask[5, 5] = True  # a speck
    assert sorted(find_windows(mask)) == [(80, 90, 120, 200), (80, 590, 120, 650)]


def test_a_window_that_grows_takes_in_what_it_reaches_then() -> None:
    mask = np.zeros((300, 900), np.bool_)
    mask[100:110, 100:110] = True
    mask[100:150, 150:160] = True  # its window does not reach the first one's
    assert len(find_windows(mask)) == 2
    mask[140:150, 116:136] = True  # this one's meets the second's, and both together the first's
    assert find_windows(mask) == [(88, 98, 162, 172)]


def test_the_second_answer_fades_out_at_inner_borders_alone() -> None:
    @dataclasses.dataclass
    class FirstNoThenYes:
        """0.6 in the fish's place at first, 1 everywhere at the second look."""

        threshold: float = 0.5

        def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
            if image.shape[0] < 160:
                return np.ones(image.shape[:2], np.float32)
            found = np.zeros(image.shape[:2], np.float32)
            found[0:40, 60:100] = 0.6
            return found

    fine = FineModel(model=FirstNoThenYes()).probability(picture(side=160))
    window = Window(0, 50, 50, 110)
    inside = fine[window.slices]
    assert (inside[0, 10:-10] == 1).all()  # the picture's own border
    assert inside[-1].max() < 0.1
    assert inside[:, 0].max() < 0.1
    assert (np.diff(inside[30, :7]) > 0).all()
    assert fine[window.bottom :].max() == 0
