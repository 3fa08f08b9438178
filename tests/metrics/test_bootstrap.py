from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy
from numpy.typing import NDArray

from fishseg.metrics import bootstrap
from fishseg.metrics.bootstrap import bootstrap_interval, paired_difference


def interval(
    values: NDArray[np.float64], groups: list[str], samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    return bootstrap.bootstrap_interval(
        pd.Series(values), pd.Series(groups), samples=samples, seed=seed
    )


def test_copies_of_a_photo_do_not_narrow_the_interval() -> None:
    photos = np.random.default_rng(0).normal(0.9, 0.05, size=20)
    names = [f"photo{i}" for i in range(20)]
    copies = np.repeat(photos, 10)

    alone = interval(photos, names)
    grouped = interval(copies, list(np.repeat(names, 10)))
    pretended_independent = interval(copies, [f"copy{i}" for i in range(200)])

    # Ten identical copies say what one says; taken for evidence they narrow it by sqrt(10).
    assert grouped == pytest.approx(alone)
    assert np.ptp(grouped) == pytest.approx(math.sqrt(10) * np.ptp(pretended_independent), rel=0.1)


def test_interval_agrees_with_scipy_where_every_image_is_its_own_photo() -> None:
    values = np.random.default_rng(1).beta(20, 2, size=60)
    ours = interval(values, [str(i) for i in range(60)], samples=5000)
    theirs = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=5000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.1 * (theirs.high - theirs.low))


def test_groups_of_unequal_size_weigh_by_their_images() -> None:
    # Resampling must estimate the mean over images (0.1), not over groups (0.5).
    low, high = interval(np.array([1.0] + [0.0] * 9), ["a", *["b"] * 9], samples=500)
    assert (low, high) == (0.0, 1.0)
    values = np.tile([1.0] + [0.0] * 9, 50)
    groups = [f"{i // 10}{'a' if i % 10 == 0 else 'b'}" for i in range(500)]
    low, high = interval(values, groups)
    assert low < 0.1 < high < 0.2


def test_interval_depends_on_the_seed_and_on_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).uniform(size=31)
    groups = [f"g{i % 7}" for i in range(31)]
    once = interval(values, groups, samples=101)

    assert interval(values, groups, samples=101) == once
    assert interval(values[::-1], groups[::-1], samples=101) == pytest.approx(once, abs=1e-12)
    assert interval(values, groups, samples=101, seed=1) != once
    monkeypatch.setattr(bootstrap, "DRAWS_PER_CHUNK", 1)
    assert interval(values, groups, samples=101) == once


def test_a_single_photo_gives_no_spread() -> None:
    assert interval(np.array([0.25, 0.75]), ["a", "a"]) == (0.5, 0.5)


def test_an_interval_of_a_share_is_that_of_the_sums() -> None:
    # Photograph a keeps half, b all: between all a and all b lies every resample.
    kept, whole = pd.Series([0.2, 0.3, 0.9]), pd.Series([0.4, 0.6, 0.9])
    groups = pd.Series(["a", "a", "b"])
    assert bootstrap_interval(kept, groups, of=whole) == pytest.approx((0.5, 1.0))
    ones = pd.Series([1.0, 1.0, 1.0])
    assert bootstrap_interval(kept, groups, of=ones) == bootstrap_interval(kept, groups)


def scores(**ious: float) -> pd.Series[float]:
    return pd.Series(ious)


def test_a_difference_is_that_of_the_images_both_have() -> None:
    before = scores(a1=0.5, a2=0.7, b1=0.9)
    after = scores(c1=0.1, b1=0.95, a1=0.6)  # another order, and another image
    found = paired_difference(before, after, pd.Series({"a1": "a", "b1": "b", "c1": "c"}))
    assert found is not None
    assert found.mean == pytest.approx((0.1 + 0.05) / 2)
    assert (found.n_images, found.n_groups) == (2, 2)
    assert (found.low, found.high) == pytest.approx((0.05, 0.1))
    assert paired_difference(before, scores(d=1.0), pd.Series({"d": "d"})) is None


def test_what_makes_an_image_hard_for_both_does_not_widen_the_difference() -> None:
    rng = np.random.default_rng(0)
    hard = pd.Series(rng.uniform(0.3, 1, 40))
    groups = pd.Series([str(number // 2) for number in range(40)])
    found = paired_difference(hard, hard - 0.02 + rng.normal(0, 0.01, 40), groups)
    low, high = bootstrap_interval(hard, groups)
    assert found is not None
    assert found.high < 0  # though the intervals of the two means overlap by far
    assert found.high - found.low < 0.1 * (high - low)


def test_a_paired_interval_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    before, after = (pd.Series(rng.beta(20, 2, size=60)) for _ in range(2))
    found = paired_difference(before, after, pd.Series([str(i) for i in range(60)]), samples=5000)
    assert found is not None
    theirs = scipy.stats.bootstrap(
        (after.to_numpy(), before.to_numpy()),
        lambda one, other, axis: np.mean(one - other, axis=axis),
        paired=True,
        n_resamples=5000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.1 * width)
