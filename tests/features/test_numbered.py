"""From masks that number their fish to a decoder that tells them apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fishseg import decoders
from fishseg.audit.inventory import build_inventory
from fishseg.backbones import load_backbone
from fishseg.decoders.files import decoder_sha256, load_decoder, save_decoder
from fishseg.errors import ParameterError
from fishseg.evaluation import files
from fishseg.evaluation.predicting import predict_cached
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.params import EvaluateParams, FeaturesParams, TrainParams
from fishseg.prediction.stored import Predictions, write_predictions
from fishseg.training import loop

CPU = torch.device("cpu")
RAW = Path("data/raw")


def cut_in_two() -> pd.DataFrame:
    """The fish of each picture, its left half and its right half numbered as two."""
    for path in RAW.rglob("* GT/*.png"):
        fish = np.asarray(Image.open(path)) > 0
        middle = int(np.flatnonzero(fish.any(axis=0)).mean())
        values = fish.astype(np.uint8) * 9
        values[:, middle:] = fish[:, middle:] * np.uint8(4)
        Image.fromarray(values).save(path)
    return build_inventory(RAW, max_broken_share=0, mask_values="numbered").table


@pytest.fixture
def inventory(fish_folder: Path) -> pd.DataFrame:
    return cut_in_two()


@pytest.fixture
def manifest(inventory: pd.DataFrame) -> pd.DataFrame:
    columns = inventory[["sample_id", "class_name", "group_id"]]
    return columns.assign(split=["train", "train", "train", "val"] * 2)


def test_numbers_reach_the_cache_at_the_working_size(
    cache: FeatureCache, inventory: pd.DataFrame
) -> None:
    assert cache.has_objects
    for sample_id in inventory["sample_id"]:
        batch = cache.batch([sample_id])
        assert batch.objects is not None
        objects = batch.objects[0].numpy()
        assert objects.shape == tuple(batch.pixels.shape[-2:])
        assert set(np.unique(objects)) == {0, 1, 2}
        fish = batch.target()[0, 0].numpy() > 0
        assert not objects[~fish].any()
        assert (objects[fish] > 0).mean() > 0.9  # but where the outline lies between pixels
        # The right half has the lower value.
        left, right = (np.argwhere(objects == number)[:, 1].mean() for number in (2, 1))
        assert left < right


def test_a_set_without_numbers_has_no_such_tensor_and_teaches_none(
    fish_folder: Path,
    tiny_backbone: Path,
    features_params: FeaturesParams,
    train_params: TrainParams,
) -> None:
    plain = build_inventory(RAW, max_broken_share=0).table
    extract(plain, load_backbone(tiny_backbone, (-1,)), features_params, Path("features"), CPU)
    cache = FeatureCache(Path("features"))
    assert not cache.has_objects
    assert cache.batch(list(plain["sample_id"][:1])).objects is None
    manifest = plain[["sample_id", "class_name", "group_id"]].assign(split=["train", "val"] * 4)
    with pytest.raises(ParameterError, match="no mask says which fish is which") as refused:
        loop.train(cache, manifest, train_params.model_copy(update={"instances": "distance"}), CPU)
    assert "data.mask_values=numbered" in str(refused.value)


@pytest.mark.parametrize("instances", ["boundary", "distance"])
@pytest.mark.parametrize("decoder", ["detail", "linear"])
def test_a_decoder_learns_a_second_map_and_the_first_as_before(
    cache: FeatureCache,
    manifest: pd.DataFrame,
    inventory: pd.DataFrame,
    train_params: TrainParams,
    instances: str,
    decoder: str,
    workspace: Path,
) -> None:
    params = train_params.model_copy(
        update={"decoder": decoder, "instances": instances, "epochs": 24}
    )
    result = loop.train(cache, manifest, params, CPU)
    assert result.card.instances == instances
    losses = result.epochs["train_loss"]
    assert losses.iloc[-1] < 0.8 * losses.iloc[0]
    save_decoder(result.decoder, result.card, workspace / "decoder")
    loaded, card = load_decoder(workspace / "decoder", CPU)
    samples = inventory.merge(manifest[["sample_id", "split"]], on="sample_id")
    said = list(predict_cached(samples, cache, loaded, card, CPU))
    assert all(one.interior is not None for one in said)
    write_predictions(said, workspace / "predictions", {})
    for before, after in zip(said, Predictions(workspace / "predictions"), strict=True):
        np.testing.assert_array_equal(before.levels, after.levels)
        assert after.interior is not None
        np.testing.assert_array_equal(before.interior, after.interior)
    found = files.evaluate_cached(
        samples=samples,
        cache=cache,
        decoder=loaded,
        card=card,
        params=EvaluateParams(threshold=0.5, bootstrap_samples=10, seed=0),
        device=CPU,
        decoder_sha256=decoder_sha256(workspace / "decoder"),
        predictions=workspace / "said",
        pooled=workspace / "pooled",
        tables=workspace / "tables",
    )
    assert set(found["train"]["instances"]) == {"connected", "split"}
    assert found["train"]["instances"]["connected"]["n_fish"] == 12


def test_a_decoder_without_a_second_map_is_measured_by_connected_parts(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams, inventory: pd.DataFrame
) -> None:
    result = loop.train(cache, manifest, train_params, CPU)
    samples = inventory.merge(manifest[["sample_id", "split"]], on="sample_id")
    (said, *_) = predict_cached(samples, cache, result.decoder.eval(), result.card, CPU)
    assert said.interior is None
    assert said.answer().interior is None


def test_one_map_lends_its_weights_to_two(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams, workspace: Path
) -> None:
    plain = train_params.model_copy(update={"decoder": "detail"})
    first = loop.train(cache, manifest, plain, CPU)
    save_decoder(first.decoder, first.card, workspace / "first")
    onward = plain.model_copy(
        update={
            "instances": "boundary",
            "init_from": str(workspace / "first"),
            "learning_rate": 1e-9,
            "weight_decay": 0,
            "color_jitter": 0,
        }
    )
    second = loop.train(cache, manifest, onward, CPU)
    batch = cache.batch(list(manifest["sample_id"][:1]))
    first.decoder.eval()
    second.decoder.load_state_dict(
        second.decoder.state_dict()
        | {  # the running means of the batch norms have moved
            name: value for name, value in first.decoder.state_dict().items() if "running" in name
        }
    )
    second.decoder.eval()
    with torch.inference_mode():
        before = first.decoder(batch.features.float(), batch.pixels)
        after = second.decoder(batch.features.float(), batch.pixels)
    assert after.shape[1] == 2
    torch.testing.assert_close(after[:, :1], before, atol=1e-4, rtol=1e-4)
    save_decoder(second.decoder, second.card, workspace / "second")
    back = plain.model_copy(update={"init_from": str(workspace / "second")})
    with pytest.raises(ParameterError, match="for instances boundary"):
        loop.train(cache, manifest, back, CPU)


def test_a_decoder_of_one_map_cannot_be_asked_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        decoders.DECODERS, "one", lambda in_channels: torch.nn.Conv2d(in_channels, 1, 1)
    )
    decoders.build("one", 4)
    with pytest.raises(ParameterError, match="has no second map"):
        decoders.build("one", 4, "boundary")
