"""Which of very many pictures may show the same as one: nearest descriptors, as a short list.

How strong a picture's structure is on each ring about its middle, frequency by frequency along the
angle, changes neither when it is turned nor when it is mirrored: the magnitudes of its polar
spectrum (see `fishseg.audit.polar`). They say less than the spectrum and take a hundredth of its
space, so that a product with those of a million pictures costs less than registering one.

The product is exact: descriptors are whole numbers of a norm so small that every sum of a scalar
product is below 2^24 and exact in float32, in whatever order a library adds. An approximate index
would save little beside the registration and give other neighbours by the order of its building.

Shapes: ``D`` dimensions, ``N`` pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from fishseg.audit.polar import FREQUENCIES, RADII

if TYPE_CHECKING:
    from fishseg.audit.polar import Spectrum

Descriptors: TypeAlias = NDArray[np.int16]

# Rings that are taken together. Frequencies stay apart: they tell pictures from others far better.
_RINGS = 24
# Frequencies over which a trend is taken.
_TREND = 15
DIMENSIONS = FREQUENCIES * (RADII // _RINGS)
# With all rounded up, (4000 + sqrt(D) / 2)^2 is below 2^24, which bounds every partial sum.
_NORM = 4000
# Pictures whose descriptors are multiplied at once: 8 MB of float32.
_BLOCK = 16_384
# More than there can be pictures: similarity and number make one whole number.
_NUMBERS = 1 << 32


def descriptor(spectrum: Spectrum) -> Descriptors:
    """What of a polar spectrum ``(F, R)`` no turning and no mirroring changes: ``(D,)`` int16."""
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    pooled = power.reshape(FREQUENCIES, -1, _RINGS).sum(axis=2, dtype=np.float64)
    # Roots of the magnitudes, so that a few strong edges do not decide alone, without how they fall
    # off with the frequency, which most pictures have in common.
    roots = np.sqrt(np.sqrt(pooled))
    told = (roots - uniform_filter1d(roots, _TREND, axis=0)).ravel()
    whole = np.rint(told * (_NORM / max(float(np.linalg.norm(told)), 1e-6)))
    described: Descriptors = whole.astype(np.int16)
    return described


def nearest(queries: Descriptors, descriptors: Descriptors, limit: int) -> NDArray[np.int64]:
    """The pictures whose descriptors are most like those of some others.

    Args:
        queries: ``(Q, D)``.
        descriptors: ``(N, D)``; may be mapped from the disk, of which a block is read at a time.
        limit: how many to name at most.

    Returns:
        Their numbers ``(Q, min(limit, N))``, ascending; of equal ones the first.
    """
    wanted = queries.astype(np.float32)
    best = np.zeros((len(queries), 0), np.int64)
    for first in range(0, len(descriptors), _BLOCK):
        block = descriptors[first : first + _BLOCK].astype(np.float32)
        similarity = (wanted @ block.T).astype(np.int64)
        # No two are equal, so that how a library parts them does not matter.
        ranks = similarity * _NUMBERS - np.arange(first, first + len(block))
        best = _largest(np.concatenate([best, _largest(ranks, limit)], axis=1), limit)
    return np.sort(-best % _NUMBERS, axis=1)


def _largest(ranks: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """The ``limit`` largest of each row, in any order."""
    if ranks.shape[1] <= limit:
        return ranks
    return np.partition(ranks, -limit, axis=1)[:, -limit:]
