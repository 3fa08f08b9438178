from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fishseg import cli, training
from fishseg.audit.inventory import build_inventory
from fishseg.backbones import load_backbone
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.params import FeaturesParams, TrainParams

CPU = torch.device("cpu")


@pytest.fixture
def trained(
    fish_folder: Path,
    tiny_backbone: Path,
    features_params: FeaturesParams,
    train_params: TrainParams,
) -> list[str]:
    """Arguments that name a trained decoder and its backbone."""
    inventory = build_inventory(fish_folder, max_broken_share=0).table
    extract(inventory, load_backbone(tiny_backbone, (-1,)), features_params, Path("features"), CPU)
    manifest = inventory[["sample_id", "class_name", "group_id"]].assign(split=["train", "val"] * 4)
    result = training.train(FeatureCache(Path("features")), manifest, train_params, CPU)
    training.save_decoder(result, Path("decoder"))
    return ["--decoder", "decoder", "--backbone", str(tiny_backbone)]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return stopped.value.code if isinstance(stopped.value.code, int) else 1


def test_predict_writes_a_mask_of_the_picture_s_own_size(
    trained: list[str], workspace: Path
) -> None:
    wide = workspace / "wide.jpg"
    Image.fromarray(np.full((30, 90, 3), 120, np.uint8)).save(wide)
    picture = next(Path("data/raw").glob("**/Trout/00001.png"))
    assert run("predict", picture, wide, "--out", "out", *trained) == 0
    for name, size in (("00001", (59, 44)), ("wide", (90, 30))):
        mask = Image.open(f"out/masks/{name}.png")
        assert mask.size == size
        assert mask.mode == "L"
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
        assert Image.open(f"out/overlays/{name}.png").size == size


def test_a_rotated_photograph_gets_its_mask_as_it_is_shown(
    trained: list[str], workspace: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.full((30, 90, 3), 120, np.uint8)).save("turned.jpg", exif=exif)
    assert run("predict", "turned.jpg", "--out", "out", *trained) == 0
    assert Image.open("out/masks/turned.png").size == (30, 90)


def test_a_broken_picture_is_listed_and_the_rest_goes_on(
    trained: list[str], workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path("empty.png").touch()
    Path("text.jpg").write_text("no picture")
    pictures = sorted(Path("data/raw").glob("**/Trout/0000?.png"))
    assert (
        run("predict", "empty.png", pictures[0], "text.jpg", "gone.png", "--out", "out", *trained)
        == 1
    )
    assert [path.name for path in Path("out/masks").iterdir()] == ["00001.png"]
    last = caplog.records[-1].getMessage()
    assert "3 files" in last
    assert all(name in last for name in ("empty.png", "text.jpg", "gone.png"))


def test_predict_never_overwrites_a_picture_or_another_s_mask(
    trained: list[str], workspace: Path
) -> None:
    first, second = sorted(Path("data/raw").glob("**/00001.png"))[:2]
    assert run("predict", first, second, "--out", "out", *trained) == 1
    Path("masks").mkdir()
    Image.fromarray(np.full((30, 40, 3), 120, np.uint8)).save("masks/fish.png")
    before = Path("masks/fish.png").read_bytes()
    assert run("predict", "masks/fish.png", "--out", ".", *trained) == 1
    assert Path("masks/fish.png").read_bytes() == before


def test_score_prints_the_metrics_and_nothing_else(
    trained: list[str], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("score", "data/raw", "--galleries", "look", *trained) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["n_images"] == 8
    assert 0 < printed["mean_iou"] <= 1
    assert printed["iou_ci_low"] <= printed["mean_iou"] <= printed["iou_ci_high"]
    assert {path.name for path in Path("look").iterdir()} == {
        "gallery_best.png",
        "gallery_random.png",
        "gallery_worst.png",
    }


def test_score_leaves_out_what_is_broken_and_says_so(
    trained: list[str],
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = next(Path("data/raw").glob("**/Trout/00002.png"))
    broken.write_bytes(broken.read_bytes()[:60])
    assert run("score", "data/raw", *trained) == 1
    assert json.loads(capsys.readouterr().out)["n_images"] == 7
    assert "Trout/00002.png" in caplog.records[-1].getMessage()


def test_without_a_decoder_there_is_one_message(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", "a.png", "--out", "out"])
    assert "dvc repro train" in str(stopped.value.code)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    assert stopped.value.code == 0
    assert "fishseg score" in capsys.readouterr().out
