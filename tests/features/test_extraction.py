from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fishseg.audit.inventory import build_inventory
from fishseg.backbones import Backbone, load_backbone
from fishseg.datasets.images import read_image, read_mask, resize_mask
from fishseg.errors import CacheError
from fishseg.features import extraction, shards
from fishseg.features.shards import FeatureCache, is_intact, write_shard
from fishseg.features.working import to_pixels
from fishseg.params import FeaturesParams

CPU = torch.device("cpu")


@pytest.fixture
def inventory(fish_folder: Path) -> pd.DataFrame:
    return build_inventory(Path("data/raw"), max_broken_share=0).table


@pytest.fixture
def backbone(tiny_backbone: Path) -> Backbone:
    return load_backbone(tiny_backbone, (-1,))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def stored() -> list[Path]:
    return sorted(Path("data/.store/shards").iterdir())


def test_the_cache_holds_what_the_backbone_says_of_each_file(
    inventory: pd.DataFrame, backbone: Backbone, features_params: FeaturesParams, workspace: Path
) -> None:
    folder = workspace / "features"
    extraction.extract(inventory, backbone, features_params, folder, CPU)
    cache = FeatureCache(folder)
    assert len(cache.index.shards) == 2  # eight samples, five in a shard
    for sample in inventory.itertuples():
        batch = cache.batch([str(sample.sample_id)])
        image = read_image(Path(str(sample.image_path)))
        pixels = to_pixels(image, cache.size(str(sample.sample_id)))[None]
        assert torch.equal(batch.pixels, pixels)
        assert batch.features.dtype == torch.float16
        torch.testing.assert_close(
            batch.features.float(), backbone(pixels).clone(), atol=2e-3, rtol=2e-3
        )
        mask = read_mask(Path(str(sample.mask_path)), (image.shape[0], image.shape[1]))
        expected = torch.from_numpy(resize_mask(mask, (pixels.shape[2], pixels.shape[3])))
        assert torch.equal(batch.coverage[0, 0], expected)


def test_batches_come_in_the_order_asked_for(
    inventory: pd.DataFrame, backbone: Backbone, features_params: FeaturesParams, workspace: Path
) -> None:
    extraction.extract(inventory, backbone, features_params, workspace / "features", CPU)
    cache = FeatureCache(workspace / "features")
    asked = ["Trout/00003", "Shrimp/00001", "Trout/00001"]
    together = cache.batch(asked)
    for row, sample_id in enumerate(asked):
        assert torch.equal(together.features[row], cache.batch([sample_id]).features[0])
    assert together.target().unique().tolist() == [0.0, 1.0]


def test_the_same_bits_twice_from_an_empty_store(
    inventory: pd.DataFrame,
    backbone: Backbone,
    features_params: FeaturesParams,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extraction.extract(inventory, backbone, features_params, workspace / "one", CPU)
    monkeypatch.setenv("FISHSEG_STORE", str(workspace / "other"))
    extraction.extract(inventory, backbone, features_params, workspace / "two", CPU)
    assert contents(workspace / "one") == contents(workspace / "two")


def test_a_second_run_computes_nothing_and_a_changed_parameter_everything(
    inventory: pd.DataFrame,
    backbone: Backbone,
    features_params: FeaturesParams,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extraction.extract(inventory, backbone, features_params, workspace / "one", CPU)
    computed: list[int] = []

    def count(pixels: torch.Tensor, *args: object) -> torch.Tensor:
        computed.append(len(pixels))
        features: torch.Tensor = backbone(pixels)
        return features.to(torch.float16)

    monkeypatch.setattr(extraction, "features_of", count)
    extraction.extract(inventory, backbone, features_params, workspace / "two", CPU)
    assert computed == []
    assert contents(workspace / "one") == contents(workspace / "two")
    larger = dataclasses.replace(features_params, image_size=70)
    extraction.extract(inventory, backbone, larger, workspace / "three", CPU)
    assert sum(computed) == len(inventory)


def test_a_changed_mask_costs_no_backbone_pass(
    inventory: pd.DataFrame,
    backbone: Backbone,
    features_params: FeaturesParams,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extraction.extract(inventory, backbone, features_params, workspace / "one", CPU)
    monkeypatch.setattr(extraction, "features_of", None)
    repaired = inventory.copy()
    repaired.loc[0, ["mask_path", "mask_sha256"]] = inventory.loc[1, ["mask_path", "mask_sha256"]]
    extraction.extract(repaired, backbone, features_params, workspace / "two", CPU)
    cache = FeatureCache(workspace / "two")
    first, second = inventory["sample_id"][:2]
    assert torch.equal(cache.batch([first]).coverage, cache.batch([second]).coverage)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_shard_in_the_store_is_computed_again(
    inventory: pd.DataFrame,
    backbone: Backbone,
    features_params: FeaturesParams,
    workspace: Path,
    damage: str,
) -> None:
    extraction.extract(inventory, backbone, features_params, workspace / "one", CPU)
    before = contents(workspace / "one")
    for path in stored():
        content = bytearray(path.read_bytes())
        path.unlink()  # the hard link in the folder keeps the good bytes
        if damage == "truncated":
            path.write_bytes(content[: len(content) // 2])
        elif damage == "flipped":
            content[-10] ^= 1
            path.write_bytes(content)
    extraction.extract(inventory, backbone, features_params, workspace / "two", CPU)
    assert contents(workspace / "two") == before


def test_a_killed_run_keeps_its_finished_shards(
    inventory: pd.DataFrame,
    backbone: Backbone,
    features_params: FeaturesParams,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0

    def die_in_the_second_shard(*args: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls > 2:  # the first shard takes two batches
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    real = extraction.features_of
    monkeypatch.setattr(extraction, "features_of", die_in_the_second_shard)
    with pytest.raises(KeyboardInterrupt):
        extraction.extract(inventory, backbone, features_params, workspace / "one", CPU)
    monkeypatch.setattr(extraction, "features_of", real)
    kept = {path.name for path in stored() if is_intact(path)}
    assert len(kept) == 3  # two of masks, one of features
    extraction.extract(inventory, backbone, features_params, workspace / "one", CPU)
    assert len(stored()) == 4


def test_images_of_other_proportions_get_shards_of_their_own(
    inventory: pd.DataFrame, backbone: Backbone, features_params: FeaturesParams, workspace: Path
) -> None:
    table = inventory.copy()
    table.loc[table["class_name"] == "Trout", ["width", "height"]] = [44, 59]
    planned = extraction.plan(
        table, features_params, backbone.patch_multiple, shards.Index.read(_indexed(workspace))
    )
    assert [item.shard.size for item in planned] == [(56, 42), (56, 70)]
    assert all(len({name.split("/")[0] for name in item.shard.sample_ids}) == 1 for item in planned)


def _indexed(workspace: Path) -> Path:
    shards.Index(
        backbone={"name": "tiny", "weights_sha256": "0"},
        fit="aspect",
        image_size=56,
        layers=(-1,),
        channels=32,
        precision="float32",
        shards=(),
    ).write(workspace)
    return workspace


def test_a_shard_says_what_it_holds(workspace: Path) -> None:
    tensors = {"features": torch.randn(2, 3, 4, 5, dtype=torch.float16)}
    write_shard(tensors, workspace / "shard")
    assert is_intact(workspace / "shard")
    assert torch.equal(load_file(workspace / "shard")["features"], tensors["features"])
    assert list(workspace.iterdir()) == [workspace / "shard"]


def test_a_disk_that_refuses_is_one_clear_error(workspace: Path) -> None:
    with pytest.raises(CacheError, match=r"(?s)cannot be written.*FISHSEG_STORE"):
        write_shard({"masks": torch.zeros(1)}, workspace / "no such folder" / "shard")


def test_an_unknown_sample_or_a_missing_index_says_what_to_run(
    inventory: pd.DataFrame, backbone: Backbone, features_params: FeaturesParams, workspace: Path
) -> None:
    with pytest.raises(CacheError, match="dvc repro features"):
        FeatureCache(workspace)
    extraction.extract(inventory, backbone, features_params, workspace / "one", CPU)
    with pytest.raises(CacheError, match="no features of Trout/99999"):
        FeatureCache(workspace / "one").batch(["Trout/99999"])
