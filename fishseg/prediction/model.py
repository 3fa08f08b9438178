"""What measures and draws fish asks of a model, whichever library it runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def to_levels(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities of any shape as levels from 0 to 255, off by half a level at most."""
    levels: NDArray[np.uint8] = np.rint(probability * np.float32(N_LEVELS - 1)).astype(np.uint8)
    return levels


def from_levels(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The probabilities that levels of any shape stand for, float32 in [0, 1]."""
    return levels.astype(np.float32) / np.float32(N_LEVELS - 1)
