"""The experiment behind the decoder that ships."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

import stages
from experiments import pretrained
from experiments.study import changed
from fishseg import params
from fishseg.datasets import sample
from fishseg.datasets.sample import anywhere
from fishseg.datasets.sample.anywhere.photographs import PHOTOGRAPHS
from fishseg.plots.galleries import GalleryItem
from fishseg.prediction.stored import Predicted

REPOSITORY = Path(__file__).parents[1]


def test_the_recipe_has_valid_parameters(tmp_path: Path) -> None:
    recipe = pretrained.read_recipe(REPOSITORY / pretrained.DECLARED)
    assert recipe.train.seed != recipe.val.seed
    base = yaml.safe_load((REPOSITORY / params.DEFAULT_PATH).read_text(encoding="utf-8"))
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed(base, recipe.overrides)), encoding="utf-8")
    params.load(params.FeaturesParams, path)
    assert params.load(params.TrainParams, path).init_from == str(stages.DECODER)


def draw_two(seed: int, pictures_per_place: int, folder: Path) -> None:
    """Stands in for the renderer: two pictures, one without fish."""
    rng = np.random.default_rng(seed)
    for place, number in (("Ice", 1), ("Nothing", 1)):
        for part, suffix in (("images", "jpg"), ("masks", "png")):
            target = folder / part / place
            target.mkdir(parents=True)
            picture = rng.integers(0, 256, (20, 30, 3), np.uint8)
            if part == "masks":
                picture = np.zeros((20, 30), np.uint8)
                picture[5:10, 5:20] = 255 if place == "Ice" else 0
            cv2.imwrite(str(target / f"{number:05d}.{suffix}"), picture)


def draw_one_of_the_market(wanted: params.DataParams, folder: Path) -> None:
    """Stands in for the market, in its layout."""
    assert (wanted.scene, wanted.copies_per_photo, wanted.wrong_mask_share) == ("market", 1, 0)
    rng = np.random.default_rng(wanted.seed + 100)
    for part, shape in (("Trout", (20, 30, 3)), ("Trout GT", (20, 30))):
        target = folder / "Fish_Dataset" / "Fish_Dataset" / "Trout" / part
        target.mkdir(parents=True)
        picture = rng.integers(0, 2, shape, np.uint8) * np.uint8(255)
        cv2.imwrite(str(target / "00001.png"), picture)


def test_pictures_are_drawn_once_and_kept_apart_by_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path))
    monkeypatch.setattr(anywhere, "draw_set", draw_two)
    monkeypatch.setattr(sample, "download", draw_one_of_the_market)
    sets = {
        split: pretrained.DrawnSet(seed=seed, pictures_per_place=1, market_per_species=1)
        for split, seed in (("train", 1), ("val", 2))
    }
    found = pd.concat([pretrained.drawn(pictures, split) for split, pictures in sets.items()])
    assert list(found["sample_id"]) == [
        "Ice/train-00001",
        "Nothing/train-00001",
        "Trout/train-00001",
        "Ice/val-00001",
        "Nothing/val-00001",
        "Trout/val-00001",
    ]
    assert list(found["split"]) == ["train"] * 3 + ["val"] * 3
    assert found["image_sha256"].nunique() == 6

    def draw_again(seed: int, pictures_per_place: int, folder: Path) -> None:
        raise AssertionError("drawn twice")

    monkeypatch.setattr(anywhere, "draw_set", draw_again)
    again = pretrained.drawn(sets["train"], "train")
    assert list(again["image_sha256"]) == list(found["image_sha256"][:3])
    with pytest.raises(AssertionError, match="drawn twice"):
        pretrained.drawn(
            pretrained.DrawnSet(seed=3, pictures_per_place=1, market_per_species=1), "train"
        )


def test_examples_show_the_first_picture_of_each_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_two(1, 1, tmp_path)
    shown: list[GalleryItem] = []
    monkeypatch.setattr(pretrained, "gallery", lambda items, *_: shown.extend(items))
    rows = []
    for sample_id in ("Ice/val-1", "Ice/val-2", "Nothing/val-1"):
        place = sample_id.split("/")[0]
        paths = {part: tmp_path / part / place / "00001" for part in ("images", "masks")}
        rows.append(
            {
                "sample_id": sample_id,
                "class_name": place,
                "image_path": str(paths["images"].with_suffix(".jpg")),
                "mask_path": str(paths["masks"].with_suffix(".png")),
                "mask_rule": pretrained.MASK_VALUES,
                "height": 20,
                "width": 30,
                "iou": 0.25,
            }
        )
    scores = pd.DataFrame(rows)
    levels = np.zeros((20, 30), np.uint8)
    levels[:10] = 255
    predictions = [Predicted(sample=row, levels=levels) for row in scores.itertuples(index=False)]
    pretrained.draw_examples(predictions, scores, threshold=0.5)
    assert [item.sample_id for item in shown] == ["Ice/val-1", "Nothing/val-1"]
    assert [item.truth.sum() for item in shown] == [5 * 15, 0]
    assert all(item.prediction[:10].all() and not item.prediction[10:].any() for item in shown)


def test_the_model_card_names_every_photograph_and_what_was_measured() -> None:
    recipe = pretrained.read_recipe(REPOSITORY / pretrained.DECLARED)
    scores = pd.DataFrame(
        {"class_name": ["Ice", "Ice", "Wood"], "iou": [0.5, 0.7, 1.0], "boundary_iou": [0, 0.5, 1]}
    )
    card = pretrained.model_card(recipe, scores, 640, 123456, "dinov2_vits14")
    assert "640 pictures" in card
    assert "123,456 parameters" in card
    assert "| Ice | 0.600 | 0.250 |" in card
    assert "| all | **0.733** | 0.500 |" in card
    for photograph in PHOTOGRAPHS.values():
        assert f"{photograph.title}, by {photograph.author} ({photograph.licence};" in card
