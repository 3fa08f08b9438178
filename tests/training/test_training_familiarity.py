from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from fishseg.features.shards import FeatureCache
from fishseg.metrics.familiarity import Seen
from fishseg.params import TrainParams
from fishseg.prediction.instances import find_fish
from fishseg.training import familiarity as familiarity_of_training
from fishseg.training import loop
from fishseg.training.familiarity import fit_familiarity

CPU = torch.device("cpu")


def test_training_fish_are_familiar_and_other_features_are_not(
    inventory: pd.DataFrame,
    cache: FeatureCache,
    train_params: TrainParams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Three epochs on four tiny pictures make no good mask.
    monkeypatch.setattr(familiarity_of_training, "GOOD_IOU", 0.0)
    manifest = inventory.assign(split=["train", "val"] * 4)
    result = loop.train(cache, manifest, train_params, CPU)
    familiarity = fit_familiarity(result.decoder, result.card, cache, manifest, CPU)
    assert familiarity is not None
    again = fit_familiarity(result.decoder, result.card, cache, manifest, CPU)
    assert again is not None
    for name, value in vars(familiarity).items():
        assert np.array_equal(getattr(again, name), value), name
    rng = np.random.default_rng(0)
    for sample_id in manifest.loc[manifest["split"] == "train", "sample_id"]:
        batch = cache.batch([sample_id])
        features = batch.features[0].float().numpy()
        mask = batch.target()[0, 0].numpy()
        (fish,) = find_fish(mask, 0.5, seen=Seen(familiarity, familiarity.embed(features)))
        assert not fish.unlike_training
        noise = 10 * rng.normal(size=features.shape)
        (other,) = find_fish(mask, 0.5, seen=Seen(familiarity, familiarity.embed(noise)))
        assert other.unlike_training


@pytest.mark.parametrize("splits", [["train", "val"] + ["test"] * 6, ["train"] * 8])
def test_too_few_pictures_give_nothing_and_a_line(
    splits: list[str],
    inventory: pd.DataFrame,
    cache: FeatureCache,
    train_params: TrainParams,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trained = loop.train(cache, inventory.assign(split=["train", "val"] * 4), train_params, CPU)
    manifest = inventory.assign(split=splits)
    assert fit_familiarity(trained.decoder, trained.card, cache, manifest, CPU) is None
    assert "too few" in caplog.text


def test_sums_give_the_mean_and_covariance_of_all_patches() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(3, 2, (n, 5)).astype(np.float32) for n in (1, 7, 32)]
    seen = familiarity_of_training._Seen.nothing(3, 5)
    for part in parts:
        seen.add(part)
    together = np.concatenate(parts).astype(np.float64)
    np.testing.assert_allclose(seen.mean, together.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(seen.covariance, np.cov(together.T), rtol=1e-9)


def test_of_many_pictures_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(familiarity_of_training, "MOST_PICTURES", 3)
    assert familiarity_of_training._some(list("abcdefg")) == ["a", "d", "g"]
    assert familiarity_of_training._some(list("ab")) == ["a", "b"]
    assert familiarity_of_training._some([]) == []
