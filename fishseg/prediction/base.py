"""What a segmenter makes of its network's maps, whichever library computes them; no torch."""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING

from fishseg.images.resizing import at_size
from fishseg.metrics.familiarity import Familiarity, Seen
from fishseg.metrics.hysteresis import keep_certain
from fishseg.prediction.model import THRESHOLD, Answer, from_levels, level_start, to_levels
from fishseg.prediction.species import SpeciesClassifier
from fishseg.prediction.tta import average, turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def certain_levels(
    maps: NDArray[np.float32], certainty: float, threshold: float
) -> NDArray[np.uint8]:
    """Maps ``(n_maps, H, W)`` as stored, without the parts that are nowhere certain.

    See `fishseg.metrics.hysteresis.keep_certain`; parts are those of what is stored.
    """
    return to_levels(keep_certain(maps, certainty, level_start(threshold)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseSegmenter(abc.ABC):
    """From an image to the fish in it, by what `_one_view` says of each of its views.

    Attributes:
        tta: over how many flipped and turned views it averages: 1, 2, 4 or 8.
        threshold: the probability from which a pixel is fish.
        familiarity: what it remembers of its training pictures; None where it does not.
        classifier: what names species; None where there is nothing.
    """

    tta: int = 1
    threshold: float = THRESHOLD
    familiarity: Familiarity | None = None
    classifier: SpeciesClassifier | None = None

    @property
    @abc.abstractmethod
    def certainty(self) -> float:
        """What the surest pixel of a part must reach, see `fishseg.metrics.hysteresis`."""

    @abc.abstractmethod
    def _one_view(
        self, image: NDArray[np.uint8], *, with_features: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Maps ``(n_maps, H, W)`` at the working size, of an RGB image ``(H0, W0, 3)``.

        And, if asked for and where the network gives them, its features ``(C, h, w)``.
        """

    def working_maps(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the decoder says ``(n_maps, H, W)`` at the working size, of ``(H0, W0, 3)`` RGB.

        Parts that are nowhere certain are still among it.
        """
        return average(
            lambda view: self._one_view(turn(image, view), with_features=False)[0], self.tta
        )

    def working_probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability ``(H, W)`` at the working size, of an RGB image ``(H0, W0, 3)``."""
        first: NDArray[np.float32] = self.working_maps(image)[0]
        return first

    def _levels(self, maps: NDArray[np.float32]) -> NDArray[np.uint8]:
        return certain_levels(maps, self.certainty, self.threshold)

    def working_levels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What is certain of `working_maps`, as stored: ``(n_maps, H, W)`` uint8, 0 to 255."""
        return self._levels(self.working_maps(image))

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How probably each pixel ``(H0, W0)`` of an RGB image ``(H0, W0, 3)`` is fish, 0 to 1."""
        levels = self.working_levels(image)[0]
        return at_size(from_levels(levels), (image.shape[0], image.shape[1]))

    def answer(self, image: NDArray[np.uint8]) -> Answer:
        """All that it says of an image ``(H0, W0, 3)``, and how the backbone itself saw it."""
        known, names_species = self.familiarity, self.classifier is not None
        wanted = names_species or known is not None
        own: list[NDArray[np.float32] | None] = []

        def one_view(view: int) -> NDArray[np.float32]:
            maps, features = self._one_view(turn(image, view), with_features=wanted and view == 0)
            own.append(features)
            return maps

        levels = self._levels(average(one_view, self.tta))
        features = own[0]  # of view 0, which comes first
        return Answer.of_levels(
            levels,
            (image.shape[0], image.shape[1]),
            seen=None if known is None or features is None else Seen(known, known.embed(features)),
            features=features if names_species else None,
        )
