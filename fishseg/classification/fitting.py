"""Learn species from pooled features: the regression, its regularisation, and the distance.

Shapes: ``N`` images, ``K`` species, ``C`` feature channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from fishseg.prediction.species import Distance, Regression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]

# A probability is never less, so that one miss cannot make the log loss infinite.
SMALLEST = 1e-15
_MAX_ITERATIONS = 10_000


def deal_folds(
    names: NDArray[np.str_], groups: NDArray[np.str_] | None, n_folds: int, seed: int
) -> Folds:
    """Rows to learn from and to try on, fold by fold, every class spread over all of them.

    Args:
        names: the class of each image ``(N,)``.
        groups: the photograph of each, none of which is ever on both sides; None deals images as
            if each were a photograph of its own.
        n_folds: how many; fewer where there are fewer photographs, or where even the largest class
            has fewer images.
        seed: of the shuffle.
    """
    units = np.arange(len(names)) if groups is None else groups
    largest = int(np.unique(names, return_counts=True)[1].max())
    n_folds = min(n_folds, len(np.unique(units)), largest)
    if groups is None:
        splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    else:
        splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    return list(splitter.split(names[:, None], names, groups))


def fit_regression(
    pooled: NDArray[np.floating], names: NDArray[np.str_], classes: Sequence[str], c: float
) -> Regression:
    """Standardise, and fit a multinomial logistic regression with an L2 penalty.

    Args:
        pooled: ``(N, C)``.
        names: the class of each ``(N,)``.
        classes: all there are; one without an image gets no probability.
        c: the inverse strength of the penalty, scikit-learn's ``C``.
    """
    scaler = StandardScaler().fit(pooled)
    model = LogisticRegression(C=c, max_iter=_MAX_ITERATIONS)
    model.fit(scaler.transform(pooled), names)
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps the second class's alone
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    weight = np.zeros((len(classes), pooled.shape[1]))
    bias = np.full(len(classes), np.log(SMALLEST))
    rows = [list(classes).index(name) for name in model.classes_]
    # The standardisation is folded in, so that whoever applies it needs none.
    weight[rows] = coefficients / scaler.scale_
    bias[rows] = intercept - weight[rows] @ scaler.mean_
    return Regression(weight=weight.astype(np.float32), bias=bias.astype(np.float32))


def predict_folds(
    pooled: NDArray[np.floating],
    names: NDArray[np.str_],
    classes: Sequence[str],
    c: float,
    folds: Folds,
    *,
    tried: Mapping[str, NDArray[np.floating]],
) -> dict[str, NDArray[np.float64]]:
    """The probabilities ``(N, K)`` of images by regressions that have not learned from them.

    Args:
        pooled: ``(N, C)``, to learn from.
        names: the class of each ``(N,)``.
        classes: all there are.
        c: see `fit_regression`.
        folds: see `deal_folds`.
        tried: features ``(N, C)`` of the same images by whichever name, to try.

    Returns:
        Probabilities by the same names.
    """
    probabilities = {name: np.empty((len(names), len(classes))) for name in tried}
    for learned, others in folds:
        regression = fit_regression(pooled[learned], names[learned], classes, c)
        for name, features in tried.items():
            probabilities[name][others] = regression.probabilities(features[others])
    return probabilities


def choose_c(
    pooled: NDArray[np.floating],
    names: NDArray[np.str_],
    classes: Sequence[str],
    values: Sequence[float],
    folds: Folds,
) -> dict[float, float]:
    """The log loss over folds of each inverse strength of the penalty; the least is the best."""
    losses = {}
    for c in values:
        by_name = predict_folds(pooled, names, classes, c, folds, tried={"": pooled})
        losses[c] = float(log_loss(names, by_name[""], labels=classes))
    return losses


def fit_distance(pooled: NDArray[np.floating], names: NDArray[np.str_]) -> Distance:
    """The relative Mahalanobis distance to the classes of images ``(N, C)``, of at least two.

    The covariances, one within the classes and one of all images, are shrunk (Ledoit and Wolf, "A
    well-conditioned estimator for large-dimensional covariance matrices", 2004): there are fewer
    images than channels where a set is small.
    """
    scaler = StandardScaler().fit(pooled)
    standard = scaler.transform(pooled)
    classes, number = np.unique(names, return_inverse=True)
    means = np.stack([standard[number == k].mean(axis=0) for k in range(len(classes))])
    within, overall = _whitening(standard - means[number]), _whitening(standard)
    # Folded in as in the regression: of raw features x, the standardised ones are (x - mean) / std.
    class_whitening, whitening = within / scaler.scale_, overall / scaler.scale_
    raw_means = means * scaler.scale_ + scaler.mean_
    tensors = {
        "class_whitening": class_whitening,
        "class_centres": raw_means @ class_whitening.T,
        "whitening": whitening,
        "centre": whitening @ scaler.mean_,
    }
    return Distance(**{name: tensor.astype(np.float32) for name, tensor in tensors.items()})


def _whitening(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """``W (C, C)`` with ``W.T @ W`` the inverse of the covariance of centred rows ``(N, C)``."""
    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    # A channel that never varies would make it singular.
    covariance[np.diag_indices_from(covariance)] += 1e-6
    root = np.linalg.cholesky(covariance)
    whitening: NDArray[np.float64] = solve_triangular(root, np.eye(len(root)), lower=True)
    return whitening
