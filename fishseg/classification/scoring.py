"""How well species are told apart: accuracy, macro recall, log loss, calibration; per class.

Shapes: ``N`` images, ``K`` species.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fishseg.classification.fitting import SMALLEST
from fishseg.metrics.bootstrap import bootstrap_interval, bootstrap_weighted
from fishseg.metrics.calibration import ece, reliability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PER_CLASS = ("class_name", "recall", "precision", "n_images", "taken_for")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """What a classifier says of images, and what they are.

    Attributes:
        classes: the species.
        names: what each image is, one of them ``(N,)``.
        groups: its photograph ``(N,)``.
        probabilities: ``(N, K)``; all the same where there was no mask to look under, which is
            never right.
    """

    classes: Sequence[str]
    names: NDArray[np.str_]
    groups: NDArray[np.str_]
    probabilities: NDArray[np.float64]

    @property
    def number(self) -> NDArray[np.int64]:
        """Which species each image is ``(N,)``."""
        return np.searchsorted(np.array(self.classes), self.names)

    @property
    def best(self) -> NDArray[np.int64]:
        """Which species each is taken for ``(N,)``; -1 where there was no mask."""
        best: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        best[np.ptp(self.probabilities, axis=1) == 0] = -1
        return best

    def summarise(self, *, samples: int, seed: int) -> dict[str, Any]:
        """``accuracy``, ``macro_recall``, ``log_loss`` and ``ece``, the first three with intervals.

        95%, by bootstrap over photographs. ``ece`` is that of the most probable species, in 15 bins
        (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
        """
        if not len(self.names):
            return {"n_images": 0}
        groups = pd.Series(self.groups)
        right = self.best == self.number
        own = self.probabilities[np.arange(len(right)), self.number]
        surprise = -np.log(np.maximum(own, SMALLEST))

        def macro_recall(weights: NDArray[np.float64]) -> float:
            n_all = np.bincount(self.number, weights, minlength=len(self.classes))
            n_right = np.bincount(self.number, weights * right, minlength=len(self.classes))
            return float((n_right[n_all > 0] / n_all[n_all > 0]).mean())

        whole = {
            "accuracy": float(right.mean()),
            "macro_recall": macro_recall(np.ones(len(right))),
            "log_loss": float(surprise.mean()),
        }
        mean = functools.partial(bootstrap_interval, groups=groups, samples=samples, seed=seed)
        ends = {
            "accuracy": mean(pd.Series(right.astype(float))),
            "macro_recall": bootstrap_weighted(macro_recall, groups, samples=samples, seed=seed),
            "log_loss": mean(pd.Series(surprise)),
        }
        summary: dict[str, Any] = {}
        for name, value in whole.items():
            low, high = ends[name]
            summary[name] = round(value, 6)
            summary |= {f"{name}_ci_low": round(low, 6), f"{name}_ci_high": round(high, 6)}
        table = reliability(
            self.probabilities.max(axis=1), (~right).astype(np.int64), right.astype(np.int64)
        )
        return {
            **summary,
            "ece": round(ece(table), 6),
            "n_images": len(right),
            "n_groups": int(groups.nunique()),
        }

    def per_class(self) -> pd.DataFrame:
        """A row a species: ``class_name, recall, precision, n_images, taken_for``.

        Precision is missing where no image is taken for the species; ``taken_for`` is the species
        that its images are most often mistaken for, or nothing.
        """
        rows = []
        for k, name in enumerate(self.classes):
            mine, taken = self.number == k, self.best == k
            wrong = self.best[mine & ~taken & (self.best >= 0)]
            most = int(np.bincount(wrong).argmax()) if len(wrong) else None
            rows.append(
                {
                    "class_name": name,
                    "recall": (taken & mine).sum() / mine.sum() if mine.any() else np.nan,
                    "precision": (taken & mine).sum() / taken.sum() if taken.any() else np.nan,
                    "n_images": int(mine.sum()),
                    "taken_for": "" if most is None else self.classes[most],
                }
            )
        return pd.DataFrame(rows)
