"""What measures and draws fish asks of a model, whichever library it runs in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from fishseg.images.resizing import at_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fishseg.metrics.familiarity import Seen
    from fishseg.prediction.species import SpeciesClassifier

# A probability is kept in a byte.
N_LEVELS = 256
THRESHOLD = 0.5  # unless told otherwise: what is as likely fish as not


class Answer(NamedTuple):
    """What a model says of an image.

    Attributes:
        probability: how probably each pixel is fish, ``(H0, W0)`` from 0 to 1.
        interior: how far inside a fish of its own each pixel of fish lies, ``(H0, W0)`` from 0 to
            1; low where two fish touch. None where the model does not tell such fish apart.
        seen: how familiar the image looks; None where the model remembers no training pictures.
        features: of the image as it is, ``(C, h, w)``; None where the model names no species.
        first: the mask ``(H0, W0)`` of a first look that a closer one followed; None without one.
    """

    probability: NDArray[np.float32]
    interior: NDArray[np.float32] | None = None
    seen: Seen | None = None
    features: NDArray[np.float32] | None = None
    first: NDArray[np.bool_] | None = None

    @classmethod
    def of_levels(
        cls,
        levels: NDArray[np.uint8],
        size: tuple[int, int],
        *,
        seen: Seen | None = None,
        features: NDArray[np.float32] | None = None,
    ) -> Answer:
        """The answer to an image of ``size`` from its levels ``(n_maps, H, W)``."""
        maps = [at_size(from_levels(one), size) for one in levels]
        return cls(maps[0], maps[1] if len(maps) > 1 else None, seen, features)


class ProbabilityModel(Protocol):
    """A model that finds fish in an image of any size."""

    @property
    def threshold(self) -> float:
        """The probability from which a pixel is fish, above 0 and below 1."""

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How probably each pixel is fish, at the image's own size.

        Args:
            image: ``(H0, W0, 3)`` RGB.

        Returns:
            ``(H0, W0)`` from 0 to 1.
        """


@runtime_checkable
class AnsweringModel(ProbabilityModel, Protocol):
    """A model that may say more of an image than where fish are.

    One that names species has a `fishseg.prediction.species.SpeciesClassifier` besides, its
    ``classifier``.
    """

    def answer(self, image: NDArray[np.uint8]) -> Answer:
        """All that it says of an image ``(H0, W0, 3)`` RGB, which it sees once."""


def classifier_of(model: ProbabilityModel) -> SpeciesClassifier | None:
    """What names the species in the pictures of a model; None where there is nothing."""
    classifier: SpeciesClassifier | None = getattr(model, "classifier", None)
    return classifier


def answer_of(model: ProbabilityModel, image: NDArray[np.uint8]) -> Answer:
    """All that any model says of an image ``(H0, W0, 3)`` RGB."""
    if isinstance(model, AnsweringModel):
        return model.answer(image)
    return Answer(model.probability(image))


def to_levels(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Which of 256 equal parts of [0, 1] each probability, of any shape, lies in."""
    scaled = np.minimum(probability * np.float32(N_LEVELS), np.float32(N_LEVELS - 1))
    levels: NDArray[np.uint8] = scaled.astype(np.uint8)
    return levels


def level_start(threshold: float) -> float:
    """From which probability on a pixel is fish once it is stored as a level: about ``threshold``.

    That of the first level whose middle, which `from_levels` gives, reaches the threshold.
    """
    return math.ceil(threshold * N_LEVELS - 0.5) / N_LEVELS


def from_levels(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The middle of each level's part of [0, 1], float32; one half lies between two levels.

    So no area is ever of just the probability that a mask is cut at, such as 0.5 or 0.4: rounding
    would tear it.
    """
    return (levels.astype(np.float32) + np.float32(0.5)) / np.float32(N_LEVELS)
