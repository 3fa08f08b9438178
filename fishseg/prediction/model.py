"""What measures and draws fish asks of a model, whichever library it runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
