"""The stage `classify`, from pooled features to its files."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from species_features import FEATURES, PARAMS, draw_pooled

from fishseg.classification.files import NO_MASK, classify, headline
from fishseg.prediction.pooled import Pooled
from fishseg.prediction.species import UNKNOWN, load_classifier


def written(pooled: Pooled, folder: Path) -> dict[str, bytes]:
    classify(pooled, PARAMS).write(folder / "classifier", folder / "tables")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_species_that_differ_are_told_apart() -> None:
    result = classify(draw_pooled(), PARAMS)
    metrics = result.metrics
    assert metrics["classifier"]
    assert metrics["classes"] == list("abcd")
    assert metrics["n_train"] == 4 * 6 * 3
    assert headline(metrics)["val"]["macro_recall"] == metrics["val"]["predicted"]["macro_recall"]
    for split in ("val", "test"):
        for kind in ("given", "predicted"):
            assert metrics[split][kind]["accuracy"] > 0.95
        assert metrics["unknown"][split]["auroc"] > 0.95
        assert metrics["unknown"][split]["n_never_learned"] == 0
    assert metrics["c"] in PARAMS.c_values
    json.dumps(metrics, allow_nan=False)
    assert (result.confusion["actual"] == result.confusion["predicted"]).mean() > 0.95
    assert set(result.per_class["split"]) == {"val", "test"}


def test_a_random_split_flatters_where_copies_are_all_there_is_to_know() -> None:
    compared = classify(draw_pooled(apart=0.3), PARAMS).metrics["cross_validation"]
    grouped, random = (compared[name]["given"]["accuracy"] for name in ("grouped", "random"))
    assert random > grouped + 0.1


def test_val_decides_nothing() -> None:
    """What is learned is the same, whatever val and test hold."""
    pooled = draw_pooled()
    rows = (pooled.samples["split"] != "train").to_numpy()
    others = pooled.given.copy()
    others[rows] = np.random.default_rng(5).standard_normal(others[rows].shape)
    first = classify(pooled, PARAMS).classifier
    second = classify(dataclasses.replace(pooled, given=others), PARAMS).classifier
    assert first is not None
    assert second is not None
    assert first.to_bytes() == second.to_bytes()


def test_the_same_bits_twice(tmp_path: Path) -> None:
    first = written(draw_pooled(), tmp_path / "1")
    assert first == written(draw_pooled(), tmp_path / "2")
    assert list(first) == [
        "classifier/classifier.json",
        "classifier/classifier.safetensors",
        "tables/confusion.csv",
        "tables/per_class.csv",
    ]


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("n_photos", [4, 5])
def test_few_photographs_of_a_copy_each_make_fewer_folds(n_classes: int, n_photos: int) -> None:
    pooled = draw_pooled(n_classes=n_classes, n_photos=n_photos, n_copies=1)
    metrics = classify(pooled, PARAMS.model_copy(update={"folds": 4})).metrics
    assert metrics["classifier"]
    assert metrics["val"]["given"]["n_images"] == n_classes


def test_a_species_that_is_left_out_counts_as_no_learned_one() -> None:
    """Of `d` train has one photograph: whoever calls it unknown is right, and not to be blamed."""
    pooled = draw_pooled()
    of_d = (pooled.samples["class_name"] == "d") & (pooled.samples["split"] == "train")
    photographs = pooled.samples["group_id"][of_d].unique()
    gone = pooled.samples["group_id"].isin(photographs[1:]).to_numpy()
    fewer = Pooled(
        samples=pooled.samples[~gone].reset_index(drop=True),
        given=pooled.given[~gone],
        predicted=pooled.predicted[~gone],
        features=pooled.features,
    )
    metrics = classify(fewer, PARAMS).metrics
    assert metrics["left_out"] == {"d": 1}
    without = (fewer.samples["class_name"] != "d").to_numpy()
    others = Pooled(
        samples=fewer.samples[without].reset_index(drop=True),
        given=fewer.given[without],
        predicted=fewer.predicted[without],
        features=fewer.features,
    )
    expected = classify(others, PARAMS).metrics["unknown"]
    for split in ("val", "test"):
        found = metrics["unknown"][split]
        assert found["n_never_learned"] > 0
        assert found["auroc"] == expected[split]["auroc"]
        assert found["known_rejected"] == expected[split]["known_rejected"]


def test_one_class_gives_numbers_and_no_classifier(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = classify(draw_pooled(n_classes=1), PARAMS)
    assert result.classifier is None
    assert result.metrics["classifier"] is False
    assert headline(result.metrics) == {}
    assert "one class, a" in result.metrics["reason"]
    assert "no classifier is written" in caplog.text
    result.write(tmp_path / "classifier", tmp_path / "tables")
    assert list((tmp_path / "classifier").iterdir()) == []
    assert load_classifier(tmp_path / "classifier") is None
    assert list(pd.read_csv(tmp_path / "tables/confusion.csv").columns) == ["actual", "predicted"]


def test_two_classes_are_told_apart_and_nothing_is_unknown() -> None:
    result = classify(draw_pooled(n_classes=2), PARAMS)
    assert result.metrics["val"]["predicted"]["accuracy"] > 0.95
    assert "fewer than 3" in result.metrics["unknown"]["reason"]
    assert result.classifier is not None
    far = np.full((1, 12), 1e6)
    assert not result.classifier.is_unknown(far).any()


def test_a_class_of_one_photograph_is_left_out_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pooled = draw_pooled()
    samples = pooled.samples
    kept = ((samples["class_name"] != "d") | (samples["group_id"] == "d0")).to_numpy()
    few = Pooled(
        samples=samples[kept],
        given=pooled.given[kept],
        predicted=pooled.predicted[kept],
        features=FEATURES,
    )
    with caplog.at_level(logging.WARNING):
        metrics = classify(few, PARAMS).metrics
    assert metrics["classes"] == list("abc")
    assert metrics["left_out"] == {"d": 1}
    (line,) = [one for one in caplog.messages if "class d" in one]
    assert "one photograph" in line


def test_a_class_that_was_held_out_is_unknown() -> None:
    pooled = draw_pooled()
    samples = pooled.samples.copy()
    samples["split"] = samples["split"].replace({"val": "train"})
    samples.loc[samples["class_name"] == "d", "split"] = "val"
    held_out = dataclasses.replace(pooled, samples=samples)
    metrics = classify(held_out, PARAMS).metrics
    assert metrics["val"]["predicted"] == {"n_images": 0}
    assert metrics["unknown"]["val"]["n_never_learned"] == 9 * 3
    assert metrics["unknown"]["val"]["never_learned_accepted"] < 0.1


def test_masks_without_fish() -> None:
    """One that is given is left out; one that is predicted is a miss."""
    pooled = draw_pooled()
    samples = pooled.samples
    given, predicted = pooled.given.copy(), pooled.predicted.copy()
    val = np.flatnonzero(samples["split"] == "val")
    given[val[0]] = np.nan
    predicted[val[1]] = np.nan
    result = classify(dataclasses.replace(pooled, given=given, predicted=predicted), PARAMS)
    found = result.metrics["val"]
    assert found["given"]["n_images"] == found["predicted"]["n_images"] == len(val) - 1
    assert found["given"]["accuracy"] - found["predicted"]["accuracy"] == pytest.approx(
        1 / (len(val) - 1), abs=1e-5
    )
    assert (result.confusion["predicted"] == NO_MASK).sum() == 1


def test_what_is_kept_names_species_and_what_is_far_from_all(tmp_path: Path) -> None:
    pooled = draw_pooled()
    classify(pooled, PARAMS).write(tmp_path / "classifier", tmp_path / "tables")
    classifier = load_classifier(tmp_path / "classifier")
    assert classifier is not None
    mask = np.ones((28, 28), np.bool_)
    for number in (0, len(pooled.given) - 1):
        features = np.broadcast_to(pooled.given[number][:, None, None], (12, 2, 2))
        named = classifier.name(features, mask)
        assert named is not None
        assert named.name == pooled.samples["class_name"].iloc[number]
        assert named.probability is not None
        assert named.probability > 0.5
        far = classifier.name(features + 100 * np.arange(12)[:, None, None], mask)
        assert far == (UNKNOWN, None)
