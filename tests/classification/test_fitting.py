from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from species_features import draw_pooled

from fishseg.classification import fitting

POOLED = draw_pooled()
NAMES = POOLED.samples["class_name"].to_numpy(dtype=str)
GROUPS = POOLED.samples["group_id"].to_numpy(dtype=str)


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c", "d"]])
def test_it_says_what_scikit_learn_says(classes: list[str]) -> None:
    rows = np.isin(NAMES, classes)
    pooled, names = 100 + 5 * POOLED.given[rows], NAMES[rows]
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=10_000))
    theirs.fit(pooled, names)
    ours = fitting.fit_regression(pooled, names, classes, 0.1)
    tried = pooled + np.random.default_rng(0).standard_normal(pooled.shape)
    # The weights are kept in float32.
    assert np.abs(ours.probabilities(tried) - theirs.predict_proba(tried)).max() < 1e-3


def test_a_class_without_an_image_gets_no_probability() -> None:
    rows = NAMES != "c"
    regression = fitting.fit_regression(POOLED.given[rows], NAMES[rows], list("abcd"), 1.0)
    probabilities = regression.probabilities(POOLED.given)
    assert probabilities[:, 2].max() < 1e-3
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_no_photograph_is_on_both_sides() -> None:
    for learned, others in fitting.deal_folds(NAMES, GROUPS, 3, seed=0):
        assert not set(GROUPS[learned]) & set(GROUPS[others])
        assert set(NAMES[others]) == set("abcd")
    both = [
        set(GROUPS[learned]) & set(GROUPS[others])
        for learned, others in fitting.deal_folds(NAMES, None, 3, seed=0)
    ]
    assert all(both)


def test_the_penalty_is_chosen_by_photographs_that_were_not_seen() -> None:
    """Species that do not differ: whoever believes little is right."""
    same = draw_pooled(apart=0)
    folds = fitting.deal_folds(NAMES, GROUPS, 3, seed=0)
    losses = fitting.choose_c(same.given, NAMES, list("abcd"), [1e-4, 100.0], folds)
    assert losses[1e-4] == pytest.approx(np.log(4), abs=0.05)
    assert losses[100.0] > losses[1e-4]


def test_the_distance_is_the_relative_mahalanobis_distance() -> None:
    """Against the definition, written out with scikit-learn's inverse covariances."""
    rows = np.isin(NAMES, ["a", "b", "c"])
    pooled, names = POOLED.given[rows], NAMES[rows]
    standard = StandardScaler().fit(pooled)
    scaled = standard.transform(pooled)
    means = {name: scaled[names == name].mean(axis=0) for name in "abc"}
    within = scaled - np.array([means[name] for name in names])
    precision = {}
    for kind, centred in (("class", within), ("all", scaled)):
        covariance = LedoitWolf(assume_centered=True).fit(centred).covariance_
        precision[kind] = np.linalg.inv(covariance + 1e-6 * np.eye(len(covariance)))
    tried = standard.transform(POOLED.given)
    expected = np.min(
        [
            np.einsum("ni,ij,nj->n", tried - m, precision["class"], tried - m)
            for m in means.values()
        ],
        axis=0,
    ) - np.einsum("ni,ij,nj->n", tried, precision["all"], tried)
    found = fitting.fit_distance(pooled, names).distances(POOLED.given)
    assert found == pytest.approx(expected, rel=1e-3, abs=0.05)
    assert found[NAMES == "d"].min() > found[rows].max()
