"""Whether a predicted fish looks like those that a decoder was trained on; numpy alone.

Probabilities do not tell: a decoder can be as sure of a hand, if it never saw one, as of a fish.
The backbone's features do: those of a hand are far from those of all fish that were trained on, by
the Mahalanobis distance (Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution
Samples and Adversarial Attacks", NeurIPS 2018). `fishseg.training.familiarity` gathers what is
needed of the training pictures.

Shapes: ``C`` feature channels on a grid ``(h, w)`` of patches; ``K`` directions that are kept.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fishseg.errors import CacheError
from fishseg.store import make_folder, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

log = logging.getLogger(__name__)

FILE_NAME = "familiarity.safetensors"
# A patch is of the fish if so much of it is.
_PATCH_SHARE = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Familiarity:
    """What a decoder remembers of the fish that it was trained on (``familiarity.safetensors``).

    Attributes:
        directions: what features are multiplied by, ``(K, C)`` float16.
        origin: what is subtracted then, ``(K,)`` float32; patches have mean 0 and variance 1.
        mean: of the training fish, each the mean of its patches, ``(K,)`` float32.
        precision: their inverse covariance, ``(K, K)`` float32.
        farthest: the distance from which on a fish is unlike them, ``(1,)`` float32.
    """

    directions: NDArray[np.float16]
    origin: Floats
    mean: Floats
    precision: Floats
    farthest: Floats

    def embed(self, features: NDArray[np.floating]) -> Floats:
        """The features ``(C, h, w)`` of a picture, ``(K, h, w)`` in the directions that count."""
        flat = features.reshape(features.shape[0], -1).astype(np.float32)
        embedded: Floats = self.directions.astype(np.float32) @ flat - self.origin[:, None]
        return embedded.reshape(-1, *features.shape[1:])

    def distance(self, patches: Floats) -> float:
        """How far a fish, of `patches_of` it ``(n, K)``, is from those that were trained on."""
        apart = (patches.mean(axis=0) - self.mean).astype(np.float64)
        return float(np.sqrt(apart @ self.precision @ apart))

    def is_unlike(self, patches: Floats) -> bool:
        """Whether a fish is farther than those of val with good masks are."""
        return self.distance(patches) > float(self.farthest[0])

    def save(self, folder: Path) -> None:
        """Write ``familiarity.safetensors`` beside a decoder.

        Raises:
            StorageError: the disk is full, or ``folder`` cannot be written.
        """
        # An exported model runs without safetensors.
        from safetensors.numpy import save_file  # noqa: PLC0415

        make_folder(folder)
        tensors = {name: np.ascontiguousarray(value) for name, value in vars(self).items()}
        with write_whole(folder / FILE_NAME) as new:
            save_file(tensors, new)

    @classmethod
    def load(cls, folder: Path) -> Familiarity | None:
        """What a decoder remembers; None, and a line in the log, for one that has no such file.

        Raises:
            CacheError: the file is damaged.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            log.info(
                "this decoder does not know what its training pictures looked like: no fish will "
                "be called unlike them"
            )
            return None
        from safetensors import SafetensorError  # noqa: PLC0415
        from safetensors.numpy import load_file  # noqa: PLC0415

        try:
            return cls(**load_file(path))
        except (OSError, TypeError, ValueError, SafetensorError) as error:
            raise CacheError(
                f"what the decoder knows of its training pictures cannot be read: {error}",
                where=path,
                remedy="dvc repro train, or remove the file to go without",
            ) from None


class Seen(NamedTuple):
    """A picture in a backbone's eyes: ``embedding (K, h, w)``, and whose `embed` made it."""

    familiarity: Familiarity
    embedding: Floats


def patches_of(
    mask: NDArray[np.bool_],
    feature_map: Floats,
    size: tuple[int, int] | None = None,
    origin: tuple[int, int] = (0, 0),
) -> Floats:
    """The patches that lie in a mask, ``(n, C)``.

    Where none is of the fish for the most part, as of a small one, those that have most of it.

    Args:
        mask: not empty; a part of a picture, or all of it.
        feature_map: of the whole picture, ``(C, h, w)``; its patches share it evenly.
        size: ``(H, W)`` of the picture in pixels; that of the mask unless given.
        origin: ``(x, y)`` of the mask's top left corner in the picture.
    """
    rows, columns = feature_map.shape[1:]
    height, width = size or mask.shape
    y, x = np.nonzero(mask)
    cells = (y + origin[1]) * rows // height * columns + (x + origin[0]) * columns // width
    share = np.bincount(cells, minlength=rows * columns) * (rows * columns / (height * width))
    chosen = np.flatnonzero(share >= min(_PATCH_SHARE, share.max()))
    patches: Floats = feature_map.reshape(feature_map.shape[0], -1)[:, chosen].T
    return patches
