from __future__ import annotations

import numpy as np
import pytest
from species_features import draw_pooled

from fishseg.classification import fitting, unknown
from fishseg.classification.unknown import Trials


def trials(known: list[float], strange: list[float]) -> Trials:
    n = len(known) + len(strange)
    return Trials(
        left_out=np.full(n, "a"),
        distance=np.array([*known, *strange]),
        unknown=np.arange(n) >= len(known),
        groups=np.array([f"photo {number}" for number in range(n)]),
    )


def test_the_threshold_lies_between_what_it_tells_apart() -> None:
    assert 2 < unknown.fit_threshold(trials([0, 1, 2], [3, 4])) < 3
    # Rather one of four known fish rejected than one of three strangers accepted.
    assert 2 < unknown.fit_threshold(trials([0, 1, 2, 3], [2.5, 4, 5])) < 2.5


def test_error_rates_by_hand() -> None:
    summary = unknown.summarise(trials([0, 1, 2, 3], [2.5, 4]), 2.7, samples=50, seed=0)
    assert summary["known_rejected"] == 0.25
    assert summary["unknown_accepted"] == 0.5
    assert summary["auroc"] == pytest.approx(7 / 8)  # of eight pairs one is the wrong way round
    assert summary["auroc_ci_low"] <= summary["auroc"] <= summary["auroc_ci_high"]
    assert summary["per_class"]["a"]["auroc"] == pytest.approx(7 / 8)


def test_without_strangers_there_is_nothing_to_say() -> None:
    assert unknown.summarise(trials([0, 1], []), 1, samples=50, seed=0) == {"n_unknown": 0}


@pytest.mark.parametrize(("apart", "low", "high"), [(4.0, 0.97, 1.0), (0.0, 0.35, 0.65)])
def test_it_tells_species_that_differ_and_not_those_that_do_not(
    apart: float, low: float, high: float
) -> None:
    pooled = draw_pooled(apart=apart, n_photos=12, seed=1)
    names = pooled.samples["class_name"].to_numpy(dtype=str)
    groups = pooled.samples["group_id"].to_numpy(dtype=str)
    folds = fitting.deal_folds(names, groups, 3, seed=0)
    assert low <= unknown.leave_out_within(pooled.given, names, groups, folds).auroc() <= high


def test_what_is_left_out_is_not_learned() -> None:
    pooled = draw_pooled(n_classes=3)
    names = pooled.samples["class_name"].to_numpy(dtype=str)
    groups = pooled.samples["group_id"].to_numpy(dtype=str)
    (found,) = unknown.leave_out(pooled.given, names, [(pooled.given, names, groups)])
    for name in "abc":
        rows = names != name
        expected = fitting.fit_distance(pooled.given[rows], names[rows]).distances(pooled.given)
        assert np.array_equal(found.of(name).distance, expected)
        assert np.array_equal(found.of(name).unknown, names == name)
