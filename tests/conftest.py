"""What several test files share: eight tiny fish, a tiny random backbone, a working directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from drawn_fish import draw_fish
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from transformers import Dinov2Config, Dinov2Model

from fishseg import devices
from fishseg.audit.inventory import build_inventory
from fishseg.backbones import load_backbone, materialise
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.params import BackboneParams, FeaturesParams, SplitParams, TrainParams

CLASSES = ("Trout", "Shrimp")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that no core waits for one at the end."""
    items.sort(key=lambda item: item.path.parent.name != "end_to_end")


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stores keep of backbones, for all tests together: converting takes a second."""
    return tmp_path_factory.mktemp("converted")


@pytest.fixture
def workspace(tmp_path: Path, converted: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory, with a store of its own."""
    (tmp_path / "data/.store").mkdir(parents=True)
    (tmp_path / "data/.store/converted").symlink_to(converted, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FISHSEG_STORE", raising=False)
    monkeypatch.setenv("FISHSEG_DEVICE", "cpu")
    return tmp_path


@pytest.fixture
def fish_folder(workspace: Path) -> Path:
    """``data/raw`` with four fish of each of two classes, in the Kaggle layout."""
    for class_number, name in enumerate(CLASSES):
        folder = workspace / "data/raw/Fish_Dataset/Fish_Dataset" / name
        for kind in (name, f"{name} GT"):
            (folder / kind).mkdir(parents=True)
        for number in range(1, 5):
            image, mask = draw_fish(10 * class_number + number)
            Image.fromarray(image).save(folder / name / f"{number:05d}.png")
            Image.fromarray(mask).save(folder / f"{name} GT" / f"{number:05d}.png")
    return workspace / "data/raw"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real browser without a window; without one, its tests are skipped."""
    found = os.environ.get("FISHSEG_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), "")
    if not found:
        pytest.skip("no Chromium or Chrome on PATH; FISHSEG_BROWSER may name one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv2 of two blocks and random weights, as the stage ``backbone`` leaves one."""
    torch.manual_seed(0)
    checkpoint = tmp_path_factory.mktemp("checkpoint") / "tiny"
    config = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=56,
        patch_size=14,
    )
    Dinov2Model(config).save_pretrained(checkpoint)
    folder = tmp_path_factory.mktemp("backbone")
    materialise(BackboneParams(name=str(checkpoint), revision=""), folder)
    return folder


@pytest.fixture
def features_params() -> FeaturesParams:
    return FeaturesParams(
        fit="aspect",
        image_size=56,
        megapixels=0.0042,  # 56 px high where the picture is 59x44
        layers=(-1,),
        dtype="float16",
        batch_size=3,
        shard_size=5,
    )


@pytest.fixture
def train_params() -> TrainParams:
    return TrainParams(
        decoder="cnn3",
        loss="bce_dice",
        instances="none",
        epochs=3,
        batch_size=2,
        learning_rate=0.003,
        weight_decay=0.01,
        schedule="cosine",
        warmup_fraction=0.1,
        color_jitter=0.2,
        feature_noise=0,
        ema_decay=0,
        keep="best",
        init_from="",
        wise_ft_alpha=1,
        guided_radius=8,
        seed=1,
    )


@pytest.fixture
def split_params() -> SplitParams:
    return SplitParams(
        strategy="grouped",
        val_fraction=0.25,
        test_fraction=0.25,
        folds=0,
        fold=0,
        held_out_class="",
        train_photos_per_class=0,
        seed=0,
    )


@pytest.fixture
def inventory(fish_folder: Path) -> pd.DataFrame:
    """Of the pictures of `fish_folder`, not audited."""
    return build_inventory(Path("data/raw"), max_broken_share=0).table


@pytest.fixture
def cache(
    inventory: pd.DataFrame, tiny_backbone: Path, features_params: FeaturesParams
) -> FeatureCache:
    """Their features, in the folder ``features``."""
    cpu = torch.device("cpu")
    backbone = load_backbone(tiny_backbone, (-1,), devices.precision(cpu))
    extract(inventory, backbone, features_params, Path("features"), cpu)
    return FeatureCache(Path("features"))
