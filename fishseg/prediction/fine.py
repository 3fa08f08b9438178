"""A second, closer look at each fish that was found: crop, enlarge, answer again, paste back.

A backbone sees every picture at the same number of patches, so a fish of 2% of the picture is a
few patches. Cut out and enlarged it gets as many as a picture of its own. Needs no torch.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from fishseg.prediction.instances import MIN_SHARE
from fishseg.prediction.model import answer_of, classifier_of, to_levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fishseg.prediction.model import Answer, ProbabilityModel
    from fishseg.prediction.species import SpeciesClassifier

# What is seen around a fish on each side, as a share of the longer side of its box: fins and tail
# may have been missed, and a fish without surroundings is no picture that a decoder knows. On drawn
# scenes that no decoder had seen, a quarter did a little better than 0.15 and than a half.
MARGIN_SHARE = 0.25
# A window of more than this share of the picture would hardly be enlarged. Among drawn scenes, 0.8
# was a little better than a half.
MAX_SHARE = 0.8


class Window(NamedTuple):
    """A part of a picture, in pixels: from ``top`` and ``left`` up to ``bottom`` and ``right``."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Pixels within."""
        return (self.bottom - self.top) * (self.right - self.left)

    @property
    def slices(self) -> tuple[slice, slice]:
        """What indexes it."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineModel:
    """A model that looks a second time at what it has found."""

    model: ProbabilityModel

    @property
    def threshold(self) -> float:
        """The probability from which a pixel is fish."""
        return self.model.threshold

    @property
    def classifier(self) -> SpeciesClassifier | None:
        """What names species, if anything."""
        return classifier_of(self.model)

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How probably each pixel ``(H0, W0)`` of an RGB image ``(H0, W0, 3)`` is fish, 0 to 1."""
        return self.answer(image).probability

    def working_levels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The answer as stored: ``(n_maps, H0, W0)`` uint8, at the image's own size."""
        answer = self.answer(image)
        maps = [one for one in (answer.probability, answer.interior) if one is not None]
        return to_levels(np.stack(maps))

    def answer(self, image: NDArray[np.uint8]) -> Answer:
        """What the model says of an image ``(H0, W0, 3)``, and what that looked like at first.

        Within a window the second answer, towards its inner borders more and more the first one,
        so that nothing breaks off there.
        """
        answer = answer_of(self.model, image)
        first = answer.probability >= self.threshold
        windows = find_windows(first)
        for window in windows:
            second = answer_of(self.model, np.ascontiguousarray(image[window.slices]))
            weight = _weight(window, answer.probability.shape)
            maps = ((answer.probability, second.probability), (answer.interior, second.interior))
            for whole, closer in maps:
                if whole is not None and closer is not None:
                    before = whole[window.slices]
                    whole[window.slices] = before + weight * (closer - before)
        return answer._replace(first=first) if windows else answer


def find_windows(mask: NDArray[np.bool_]) -> list[Window]:
    """Where a mask ``(H, W)`` is worth a closer look: no two overlap, none is most of the picture.

    Fish so near to each other that their windows overlap share one.
    """
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    kept = statistics[1:][areas >= MIN_SHARE * areas.max(initial=0)]
    windows: list[Window] = []
    for left, top, width, height, _ in kept.tolist():
        margin = round(MARGIN_SHARE * max(width, height))
        windows = _joined(
            windows,
            Window(
                top=max(0, top - margin),
                left=max(0, left - margin),
                bottom=min(mask.shape[0], top + height + margin),
                right=min(mask.shape[1], left + width + margin),
            ),
        )
    return [window for window in windows if window.area <= MAX_SHARE * mask.size]


def _joined(windows: list[Window], new: Window) -> list[Window]:
    """Windows and a new one, which has taken in those that it overlaps."""
    apart = []
    for other in windows:
        rows = new.top < other.bottom and other.top < new.bottom
        columns = new.left < other.right and other.left < new.right
        if not (rows and columns):
            apart.append(other)
            continue
        new = Window(
            top=min(new.top, other.top),
            left=min(new.left, other.left),
            bottom=max(new.bottom, other.bottom),
            right=max(new.right, other.right),
        )
    # A larger one may reach others that the new one alone did not.
    return [*apart, new] if len(apart) == len(windows) else _joined(apart, new)


def _weight(window: Window, size: tuple[int, ...]) -> NDArray[np.float32]:
    """What the second answer counts: 1, falling to 0 over the outer eighth at inner borders."""
    rows = _ramp(window.top, window.bottom, size[0])
    columns = _ramp(window.left, window.right, size[1])
    return np.minimum(rows[:, None], columns[None, :])


def _ramp(start: int, stop: int, length: int) -> NDArray[np.float32]:
    rise = max(1.0, (stop - start) / 8)
    centres = np.arange(stop - start, dtype=np.float32) + np.float32(0.5)
    ramp = np.ones_like(centres)
    if start > 0:
        ramp = np.minimum(ramp, centres / rise)
    if stop < length:
        ramp = np.minimum(ramp, centres[::-1] / rise)
    return ramp.astype(np.float32)
