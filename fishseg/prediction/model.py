"""What measures and draws fish asks of a model, whichever library it runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fishseg.metrics.familiarity import Seen
    from fishseg.prediction.species import SpeciesClassifier

# A probability is kept in a byte.
N_LEVELS = 256
THRESHOLD = 0.5  # unless told otherwise: what is as likely fish as not


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


class Answer(NamedTuple):
    """What a model says of an image.

    Attributes:
        probability: how probably each pixel is fish, ``(H0, W0)`` from 0 to 1.
        seen: how familiar the image looks; None where the model remembers no training pictures.
        features: of the image as it is, ``(C, h, w)``; None where the model names no species.
    """

    probability: NDArray[np.float32]
    seen: Seen | None = None
    features: NDArray[np.float32] | None = None


@runtime_checkable
class AnsweringModel(ProbabilityModel, Protocol):
    """A model that may say more of an image than where fish are."""

    @property
    def classifier(self) -> SpeciesClassifier | None:
        """What names species; None where there is nothing."""

    def answer(self, image: NDArray[np.uint8]) -> Answer:
        """All that it says of an image ``(H0, W0, 3)`` RGB, which it sees once."""


def classifier_of(model: ProbabilityModel) -> SpeciesClassifier | None:
    """What names the species in the pictures of a model; None where there is nothing."""
    return model.classifier if isinstance(model, AnsweringModel) else None


def answer_of(model: ProbabilityModel, image: NDArray[np.uint8]) -> Answer:
    """What any model says of an image ``(H0, W0, 3)`` RGB."""
    if isinstance(model, AnsweringModel):
        return model.answer(image)
    return Answer(model.probability(image))


def to_levels(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Which of 256 equal parts of [0, 1] each probability, of any shape, lies in."""
    scaled = np.minimum(probability * np.float32(N_LEVELS), np.float32(N_LEVELS - 1))
    levels: NDArray[np.uint8] = scaled.astype(np.uint8)
    return levels


def from_levels(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The middle of each level's part of [0, 1], float32; one half lies between two levels.

    So no area is ever of just the probability that a mask is cut at, such as 0.5 or 0.4: rounding
    would tear it.
    """
    return (levels.astype(np.float32) + np.float32(0.5)) / np.float32(N_LEVELS)
