from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fishseg.backbones import load_backbone
from fishseg.errors import DataError
from fishseg.evaluation import crossvalidation
from fishseg.evaluation.crossvalidation import cross_validate, score_masks, write_views
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.params import FeaturesParams, TrainParams
from fishseg.splits import leaking_groups
from fishseg.training import loop

CPU = torch.device("cpu")


@pytest.fixture
def manifests(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """Those that decoders are trained on, in as few steps as their epochs make."""
    seen: list[pd.DataFrame] = []
    train = loop.train

    def spy(cache: FeatureCache, manifest: pd.DataFrame, *rest: object) -> object:
        seen.append(manifest)
        return train(cache, manifest, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "train", spy)
    monkeypatch.setattr(crossvalidation, "MIN_STEPS", 1)
    return seen


def test_every_picture_is_scored_once_by_a_decoder_that_never_saw_it(
    cache: FeatureCache,
    inventory: pd.DataFrame,
    train_params: TrainParams,
    manifests: list[pd.DataFrame],
) -> None:
    scores = cross_validate(
        inventory, cache, train_params, CPU, threshold=0.5, folds=4, views=inventory.iloc[:0]
    )
    assert list(scores["sample_id"]) == sorted(inventory["sample_id"])
    assert len(manifests) == 4
    tested = [set(m.loc[m["split"] == "val", "group_id"]) for m in manifests]
    assert sum(map(len, tested)) == inventory["group_id"].nunique()
    for manifest, groups in zip(manifests, tested, strict=True):
        assert groups.isdisjoint(manifest.loc[manifest["split"] == "train", "group_id"])
    assert scores["iou"].between(0, 1).all()


def test_views_are_trained_on_with_their_pictures_side_of_the_split(
    inventory: pd.DataFrame,
    tiny_backbone: Path,
    features_params: FeaturesParams,
    train_params: TrainParams,
    manifests: list[pd.DataFrame],
    tmp_path: Path,
) -> None:
    views_folder = tmp_path / "views"
    views_folder.mkdir()
    views = write_views(inventory, views_folder)
    assert len(views) == 7 * len(inventory)
    assert views["sample_id"].is_unique
    assert views["image_sha256"].nunique() == len(views)
    first = inventory.iloc[0]
    turned = views[views["group_id"] == first["group_id"]].set_index("sample_id")
    image = np.asarray(Image.open(first["image_path"]).convert("RGB"))
    for number, expected in (
        (1, np.rot90(image)),
        (4, image[:, ::-1]),
        (6, np.rot90(image, 2)[:, ::-1]),
    ):
        row = turned.loc[f"{first['sample_id']}~{number}"]
        np.testing.assert_array_equal(np.asarray(Image.open(row["image_path"])), expected)
        assert (row["height"], row["width"]) == expected.shape[:2]
        fish = np.asarray(Image.open(row["mask_path"])) == 255
        assert expected[fish].mean() > expected[~fish].mean() + 50

    everything = pd.concat([inventory, views], ignore_index=True)
    extract(everything, load_backbone(tiny_backbone, (-1,)), features_params, Path("features"), CPU)
    cache = FeatureCache(Path("features"))
    params = train_params.model_copy(update={"epochs": 1})
    scores = cross_validate(inventory, cache, params, CPU, threshold=0.5, folds=2, views=views)
    averaged = cross_validate(
        inventory, cache, params, CPU, threshold=0.5, folds=2, views=views, tta=8
    )
    assert not averaged["iou"].equals(scores["iou"])
    assert list(scores["sample_id"]) == sorted(inventory["sample_id"])
    for manifest in manifests:
        assert leaking_groups(manifest) == []
        val = manifest[manifest["split"] == "val"]
        assert not val["sample_id"].str.contains("~").any()
        assert (manifest["split"] == "train").sum() == 8 * val["group_id"].nunique()


def test_small_folders_get_recipe_and_no_fold_chooses_its_epoch(
    train_params: TrainParams,
) -> None:
    few = crossvalidation._recipe(train_params.model_copy(update={"batch_size": 8}), 10)
    assert few.epochs == 100  # two steps an epoch
    assert few.keep == "last"
    assert few.learning_rate == train_params.learning_rate
    going_on = train_params.model_copy(update={"init_from": "decoder"})
    assert few.wise_ft_alpha == 1
    assert crossvalidation._recipe(going_on, 10).learning_rate == few.learning_rate / 4
    assert crossvalidation._recipe(going_on, 10).wise_ft_alpha == 0.5
    many = crossvalidation._recipe(train_params, 10_000)
    assert many.epochs == train_params.epochs


def test_masks_of_others_are_scored_by_name(inventory: pd.DataFrame, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for sample in inventory.itertuples():
        name = f"{Path(str(sample.image_path)).stem}.png"
        if not (theirs / name).exists():
            Image.open(str(sample.mask_path)).save(theirs / name)
    once = inventory.drop_duplicates("image_path")
    once = once[~once["image_path"].map(lambda path: Path(path).stem).duplicated()]
    scores = score_masks(once, theirs)
    assert (scores["iou"] == 1).all()
    (theirs / f"{Path(once['image_path'].iloc[0]).stem}.png").unlink()
    with pytest.raises(DataError, match="0 masks are named like"):
        score_masks(once, theirs)
