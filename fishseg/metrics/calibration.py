"""Do the probabilities keep what they promise? Temperature, reliability, calibration error.

Of all pixels that are fish with probability 0.8, eight of ten should be fish. Decoders trained to
the end are usually too sure; dividing their logits by one number, the temperature, mends most of
it (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017) and moves no logit across
zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Logits beyond this are counted at it: the sigmoid is within 1e-7 of 0 or 1.
LOGIT_LIMIT = 16.0
# Bins 1/128 wide: a probability is off by 0.001 at most.
N_LOGIT_BINS = 4096
TEMPERATURE_RANGE = (0.05, 20.0)
N_RELIABILITY_BINS = 15
N_LEVELS = 256


class LogitHistogram:
    """Pixels counted by their logit and by whether they are fish; no logit is kept.

    Args:
        device: where the logits lie; the counts stay there until they are asked for.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._counts = torch.zeros(2, N_LOGIT_BINS, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, target: Tensor, valid: Tensor | None = None) -> None:
        """Count the pixels of a batch.

        Args:
            logits: any shape, before the sigmoid and before any temperature. A logit that is not
                a number counts as 0: to stop such a run is its loss's business.
            target: of the same shape, in [0, 1]; 0.5 and above is fish.
            valid: of the same shape, bool, the pixels that count; all if not given.
        """
        share = logits.detach().float().nan_to_num(0.0) / (2 * LOGIT_LIMIT) + 0.5
        place = (share * N_LOGIT_BINS).clamp(0, N_LOGIT_BINS - 1).long()
        place += N_LOGIT_BINS * (target >= 0.5)
        if valid is not None:
            # To a place that is left out, rather than selected: no device waits for a number.
            place = torch.where(valid, place, 2 * N_LOGIT_BINS)
        counted = torch.bincount(place.flatten(), minlength=2 * N_LOGIT_BINS)
        self._counts += counted[: 2 * N_LOGIT_BINS].view(2, N_LOGIT_BINS)

    def fit_temperature(self) -> float:
        """The temperature with the smallest negative log-likelihood; 1 without any pixel.

        Between 0.05 and 20: where the logits separate fish from background without a mistake, the
        likelihood would have them infinite.
        """
        background, fish = self._counts.cpu().numpy()
        if not (background.any() or fish.any()):
            return 1.0
        centres = _bin_centres()

        def negative_log_likelihood(log_temperature: float) -> float:
            logits = centres / np.exp(log_temperature)
            costs = fish * np.logaddexp(0, -logits) + background * np.logaddexp(0, logits)
            return float(costs.sum())

        low, high = np.log(TEMPERATURE_RANGE)
        # Convex in 1/temperature, so there is one minimum only.
        found = minimize_scalar(
            negative_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-8}
        )
        return round(float(np.exp(found.x)), 6)

    def reliability(self, temperature: float) -> pd.DataFrame:
        """What the probabilities at a temperature promise, and what was kept (`reliability`)."""
        background, fish = self._counts.cpu().numpy()
        return reliability(expit(_bin_centres() / temperature), background, fish)

    def ece(self, temperature: float) -> float:
        """The expected calibration error at a temperature (see `ece`)."""
        return ece(self.reliability(temperature))


class LevelCounts:
    """Pixels counted by their probability, a level from 0 to 255, and by whether they are fish."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, N_LEVELS), np.int64)

    @classmethod
    def of(
        cls,
        levels: NDArray[np.uint8],
        truth: NDArray[np.bool_],
        valid: NDArray[np.bool_] | None = None,
    ) -> LevelCounts:
        """The counts of one image, levels, truth and the pixels that count ``(H, W)``."""
        counts = cls()
        if valid is not None:
            levels, truth = levels[valid], truth[valid]
        for row, members in enumerate((~truth, truth)):
            counts._counts[row] = np.bincount(levels[members], minlength=N_LEVELS)
        return counts

    def add(self, others: LevelCounts) -> None:
        """Count the pixels of others, too."""
        self._counts += others._counts

    def reliability(self) -> pd.DataFrame:
        """What was promised and what was kept (see `reliability`)."""
        return reliability((np.arange(N_LEVELS) + 0.5) / N_LEVELS, *self._counts)

    def ece(self) -> float:
        """The expected calibration error (see `ece`)."""
        return ece(self.reliability())


def reliability(
    probabilities: NDArray[np.floating],
    background: NDArray[np.int64],
    fish: NDArray[np.int64],
) -> pd.DataFrame:
    """What was promised and what was kept, in 15 equal bins of the probability of fish.

    Args:
        probabilities: ``(N,)`` in [0, 1].
        background: how many pixels of each probability are not fish ``(N,)``.
        fish: how many are.

    Returns:
        A row a bin: its ends ``low`` and ``high``, the mean ``probability`` of its pixels, the
        ``fish_fraction`` among them (both missing in an empty bin), and ``n_pixels``.
    """
    number = np.minimum((probabilities * N_RELIABILITY_BINS).astype(int), N_RELIABILITY_BINS - 1)

    def per_bin(weights: np.ndarray) -> np.ndarray:
        return np.bincount(number, weights=weights, minlength=N_RELIABILITY_BINS)

    n_pixels = per_bin(background + fish)
    ends = np.arange(N_RELIABILITY_BINS + 1) / N_RELIABILITY_BINS
    filled = np.where(n_pixels > 0, n_pixels, np.nan)
    return pd.DataFrame(
        {
            "low": ends[:-1],
            "high": ends[1:],
            "probability": per_bin((background + fish) * probabilities) / filled,
            "fish_fraction": per_bin(fish) / filled,
            "n_pixels": n_pixels.astype(np.int64),
        }
    )


def ece(table: pd.DataFrame) -> float:
    """The expected calibration error: mean over pixels of the gap that `reliability` shows.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    gap = (table["probability"] - table["fish_fraction"]).abs() * table["n_pixels"]
    return float(gap.sum() / max(1, table["n_pixels"].sum()))


def _bin_centres() -> np.ndarray:
    width = 2 * LOGIT_LIMIT / N_LOGIT_BINS
    centres: np.ndarray = (np.arange(N_LOGIT_BINS) + 0.5) * width - LOGIT_LIMIT
    return centres
