"""How sure a mean over images is, and a difference of two: by bootstrap over photographs.

Copies of one source photo are no independent evidence: they are drawn together or not at all
(Davison and Hinkley, "Bootstrap Methods and their Application", 1997, on hierarchical data).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# What commands draw that have no params.yaml to say it.
SAMPLES, SEED = 2000, 42
# Draws held in memory at a time: 8 MB of indices.
DRAWS_PER_CHUNK = 2**20


def bootstrap_interval(
    values: pd.Series[float],
    groups: pd.Series[str],
    *,
    of: pd.Series[float] | None = None,
    samples: int = SAMPLES,
    seed: int = SEED,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean over images, resampling whole groups.

    With a single group there is nothing to resample and both ends are the mean.

    Args:
        values: the score of each image, any order.
        groups: the source photo of each image.
        of: what each score is a share of, if the interval is that of a share: the sum of the scores
            over the sum of these, of which that over any group is above 0.
        samples: number of resamples, each of as many groups as there are, with replacement.
        seed: seed of the draws.
        confidence: share of the resampled means inside the interval.
    """
    codes, _ = pd.factorize(groups, sort=True)
    group_sizes = np.bincount(codes, weights=None if of is None else of.to_numpy(np.float64))
    group_sums = np.bincount(codes, weights=values.to_numpy(dtype=np.float64))
    n_groups = len(group_sizes)
    chunk = max(1, DRAWS_PER_CHUNK // n_groups)
    rng = np.random.default_rng(seed)
    means = np.empty(samples)
    for start in range(0, samples, chunk):
        stop = min(start + chunk, samples)
        drawn = rng.integers(n_groups, size=(stop - start, n_groups))
        means[start:stop] = group_sums[drawn].sum(axis=1) / group_sizes[drawn].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_weighted(
    statistic: Callable[[NDArray[np.float64]], float],
    groups: pd.Series[str],
    *,
    samples: int = SAMPLES,
    seed: int = SEED,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of what is no mean, resampling whole groups.

    Args:
        statistic: of the images, given how often each was drawn ``(N,)``; not a number where it is
            not defined for a draw, which then does not count.
        groups: the source photo of each image.
        samples: number of resamples, each of as many groups as there are, with replacement.
        seed: seed of the draws.
        confidence: share of the resampled statistics inside the interval.
    """
    codes, names = pd.factorize(groups, sort=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=samples)
    values = [statistic(counts[codes].astype(np.float64)) for counts in drawn]
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference over the images that two tables share, and its 95% interval."""

    mean: float
    low: float
    high: float
    n_images: int
    n_groups: int


def paired_difference(
    before: pd.Series[float],
    after: pd.Series[float],
    groups: pd.Series[str],
    *,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> Difference | None:
    """How much the score of the same images changed, ``after - before``.

    What makes an image hard is hard for both, so this interval is narrower than those of the two
    means. It says what other photographs would change, not what other seeds of training would.

    Args:
        before: a score of each image, by what identifies the image.
        after: the same score of perhaps other images.
        groups: the source photo of each image, by the same.
        samples: see `bootstrap_interval`.
        seed: see `bootstrap_interval`.

    Returns:
        The difference over the images that both have; None where they share none.
    """
    shared = before.index.intersection(after.index)
    if not len(shared):
        return None
    gain = after.loc[shared] - before.loc[shared]
    low, high = bootstrap_interval(gain, groups.loc[shared], samples=samples, seed=seed)
    return Difference(
        mean=float(gain.mean()),
        low=low,
        high=high,
        n_images=len(shared),
        n_groups=int(groups.loc[shared].nunique()),
    )
