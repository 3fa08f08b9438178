"""What a classifier says of species that it has never learned: left out one by one.

A species is left out of training, and its fish are then to be told from those of the others by
their distance alone. Fish of species that were learned are measured by classifiers that have not
learned from their photograph.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

from fishseg.classification.fitting import fit_distance
from fishseg.metrics.bootstrap import bootstrap_weighted
from fishseg.tables import slug

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fishseg.classification.fitting import Folds

# With fewer, one species is left when another is left out, and nothing is relative to anything.
MIN_CLASSES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trials:
    """Distances of fish whose species was learned, and of fish whose species was left out.

    Attributes:
        left_out: the species that was left out ``(T,)``.
        distance: of the fish ``(T,)``.
        unknown: whether it is of that species ``(T,)``.
        groups: its photograph ``(T,)``.
    """

    left_out: NDArray[np.str_]
    distance: NDArray[np.float64]
    unknown: NDArray[np.bool_]
    groups: NDArray[np.str_]

    def auroc(self) -> float:
        """How well the distance tells one from the other: 1 is always, 0.5 is chance."""
        return float(roc_auc_score(self.unknown, self.distance))

    def of(self, class_name: str) -> Trials:
        """Those in which one species was left out."""
        rows = self.left_out == class_name
        return Trials(**{name: values[rows] for name, values in vars(self).items()})


def leave_out_within(
    pooled: NDArray[np.floating], names: NDArray[np.str_], groups: NDArray[np.str_], folds: Folds
) -> Trials:
    """Leave each species out of the train split, and try on folds of it."""
    parts = []
    for class_name in np.unique(names):
        for learned, others in folds:
            rows = learned[names[learned] != class_name]
            distance = fit_distance(pooled[rows], names[rows]).distances(pooled[others])
            parts.append(_trials(class_name, distance, names[others], groups[others]))
    return _joined(parts)


def leave_out(
    pooled: NDArray[np.floating],
    names: NDArray[np.str_],
    tried: Sequence[tuple[NDArray[np.floating], NDArray[np.str_], NDArray[np.str_]]],
) -> list[Trials]:
    """Leave each species out of the train split, and try on others.

    Args:
        pooled: of the train split ``(N, C)``.
        names: the class of each ``(N,)``.
        tried: sets of features ``(M, C)``, classes ``(M,)`` and photographs ``(M,)``.

    Returns:
        The trials of each set.
    """
    parts: list[list[Trials]] = [[] for _ in tried]
    for class_name in np.unique(names):
        rows = names != class_name
        fitted = fit_distance(pooled[rows], names[rows])
        for part, (others, other_names, groups) in zip(parts, tried, strict=True):
            part.append(_trials(class_name, fitted.distances(others), other_names, groups))
    return [_joined(part) for part in parts]


def fit_threshold(trials: Trials) -> float:
    """The distance that tells best: with the smallest sum of both error rates (Youden, 1950)."""
    false, true, thresholds = roc_curve(trials.unknown, trials.distance, drop_intermediate=False)
    best = int((true - false)[1:].argmax()) + 1
    # Half way to the next smaller distance, so that no rounding decides.
    below = thresholds[min(best + 1, len(thresholds) - 1)]
    return round(float((thresholds[best] + below) / 2), 4)


def summarise(trials: Trials, threshold: float, *, samples: int, seed: int) -> dict[str, Any]:
    """The error rates at a threshold, and what no threshold decides.

    Returns:
        ``auroc`` with its 95% interval over photographs, over all species that were left out, and
        ``per_class`` of each; ``known_rejected``, the share of fish of learned species that are
        called unknown, and ``unknown_accepted``, of those of the species left out that are not.
        Nothing where there is no fish of either kind.
    """
    known, unknown = trials.distance[~trials.unknown], trials.distance[trials.unknown]
    if not len(known) or not len(unknown):
        return {"n_unknown": len(unknown)}

    def auroc(weights: NDArray[np.float64]) -> float:
        if not weights[trials.unknown].any() or not weights[~trials.unknown].any():
            return float("nan")
        return float(roc_auc_score(trials.unknown, trials.distance, sample_weight=weights))

    low, high = bootstrap_weighted(auroc, pd.Series(trials.groups), samples=samples, seed=seed)
    return {
        "n_unknown": len(unknown),
        "n_groups": len(np.unique(trials.groups[trials.unknown])),
        **_rounded(
            auroc=trials.auroc(),
            auroc_ci_low=low,
            auroc_ci_high=high,
            known_rejected=float((known > threshold).mean()),
            unknown_accepted=float((unknown <= threshold).mean()),
        ),
        "per_class": {
            slug(str(name)): _rounded(
                auroc=one.auroc(),
                unknown_accepted=float((one.distance[one.unknown] <= threshold).mean()),
            )
            for name in np.unique(trials.left_out)
            if (one := trials.of(name)).unknown.any() and not one.unknown.all()
        },
    }


def _trials(
    class_name: str,
    distance: NDArray[np.float64],
    names: NDArray[np.str_],
    groups: NDArray[np.str_],
) -> Trials:
    return Trials(
        left_out=np.full(len(names), class_name),
        distance=distance,
        unknown=names == class_name,
        groups=groups,
    )


def _joined(parts: list[Trials]) -> Trials:
    return Trials(
        **{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])}
    )


def _rounded(**values: float) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}
