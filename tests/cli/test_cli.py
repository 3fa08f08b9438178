from __future__ import annotations

import argparse
import dataclasses
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from drawn_fish import draw_fish
from PIL import Image

import fishseg
from fishseg import cli
from fishseg.audit.inventory import build_inventory
from fishseg.backbones import load_backbone
from fishseg.cli.arguments import path
from fishseg.cli.inputs import find_pictures
from fishseg.decoders.files import save_decoder
from fishseg.evaluation import crossvalidation
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.images.decoding import read_image
from fishseg.params import FeaturesParams, TrainParams
from fishseg.prediction.segmenter import Segmenter
from fishseg.training import loop

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
    result = loop.train(FeatureCache(Path("features")), manifest, train_params, CPU)
    save_decoder(result.decoder, result.card, Path("decoder"))
    return ["--decoder", "decoder", "--backbone", str(tiny_backbone)]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return stopped.value.code if isinstance(stopped.value.code, int) else 1


def message(*arguments: object) -> str:
    """What a command that stops says."""
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return str(stopped.value.code)


def test_predict_writes_the_segmenter_s_mask(trained: list[str], workspace: Path) -> None:
    assert (
        run("predict", "data/raw/Fish_Dataset/Fish_Dataset/Trout/Trout", "--out", "out", *trained)
        == 0
    )
    segmenter = Segmenter.load(Path("decoder"), Path(trained[-1]), CPU)
    for number in range(1, 5):
        picture = f"data/raw/Fish_Dataset/Fish_Dataset/Trout/Trout/{number:05d}.png"
        mask = np.asarray(Image.open(f"out/masks/{number:05d}.png")) > 0
        np.testing.assert_array_equal(mask, segmenter.mask(read_image(Path(picture))))
    assert Path("out/measurements.csv").exists()


def test_predict_averages_over_views_and_starts_anew_for_it(
    trained: list[str], workspace: Path
) -> None:
    picture = "data/raw/Fish_Dataset/Fish_Dataset/Trout/Trout/00001.png"
    segmenter = Segmenter.load(Path("decoder"), Path(trained[-1]), CPU, tta=4)
    for options in ([], ["--tta", "4"]):
        run("predict", picture, "--out", "out", "--probabilities", "8", *options, *trained)
    found = np.asarray(Image.open("out/probabilities/00001.png")) / 255
    expected = segmenter.probability(read_image(Path(picture)))
    np.testing.assert_allclose(found, expected, atol=0.5 / 255 + 1e-6)


def test_a_panorama_and_a_single_pixel_go_through_the_model(
    trained: list[str], workspace: Path
) -> None:
    Image.new("RGB", (20_000, 40), (90, 80, 70)).save("panorama.png")
    Image.new("RGB", (1, 1), (90, 80, 70)).save("pixel.png")
    assert run("predict", "panorama.png", "pixel.png", "--out", "out", *trained) == 0
    assert Image.open("out/masks/panorama.png").size == (20_000, 40)
    assert Image.open("out/masks/pixel.png").size == (1, 1)


def test_predict_measures_again_after_training(trained: list[str], workspace: Path) -> None:
    picture = "data/raw/Fish_Dataset/Fish_Dataset/Trout/Trout/00001.png"
    assert run("predict", picture, "--out", "out", *trained) == 0
    before = Path("out/.fishseg/records/00001.json").read_text()
    card = json.loads(Path("decoder/decoder.json").read_text())
    Path("decoder/decoder.json").write_text(json.dumps({**card, "temperature": 100.0}))
    assert run("predict", picture, "--out", "out", *trained) == 0
    assert Path("out/.fishseg/records/00001.json").read_text() != before


def test_a_threshold_cuts_the_probability_and_starts_anew(
    trained: list[str], workspace: Path
) -> None:
    picture = "data/raw/Fish_Dataset/Fish_Dataset/Trout/Trout/00001.png"
    segmenter = Segmenter.load(Path("decoder"), Path(trained[-1]), CPU)
    areas = []
    for threshold in (0.5, 0.7, 0.3):
        options = [] if threshold == 0.5 else ["--threshold", threshold]
        assert run("predict", picture, "--out", "out", *options, *trained) == 0
        mask = np.asarray(Image.open("out/masks/00001.png")) > 0
        # What is nowhere certain stays below each threshold.
        cut = dataclasses.replace(segmenter, threshold=threshold)
        np.testing.assert_array_equal(mask, cut.mask(read_image(Path(picture))))
        areas.append(mask.sum())
    assert areas[1] < areas[0] < areas[2]


def test_score_cuts_where_it_is_told(
    trained: list[str], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for threshold in ("0.5", "0.999"):
        assert run("score", "data/raw", "--threshold", threshold, *trained) == 0
        found[threshold] = json.loads(capsys.readouterr().out)["mean_iou"]
    assert found["0.999"] < found["0.5"]


@pytest.mark.parametrize("threshold", ["0", "1", "-0.5", "nan", "inf"])
@pytest.mark.parametrize(
    "command",
    [
        ["predict", "x.png", "--out", "out"],
        ["score", "x"],
        ["crossvalidate", "x"],
        ["export", "--out", "x.onnx"],
        ["app"],
    ],
    ids=lambda command: str(command[0]),
)
def test_what_is_no_threshold_is_refused(
    command: list[str], threshold: str, workspace: Path
) -> None:
    said = message(*command, f"--threshold={threshold}")
    assert all(word in said for word in ("--threshold", "above 0 and below 1", "to do:"))


def options() -> Iterator[tuple[str, argparse.Action]]:
    """The options and arguments of all commands."""
    for action in cli._parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from ((name, one) for one in command._actions)


def test_numbers_may_have_a_decimal_comma_and_paths_are_never_empty() -> None:
    kinds = [(name, one.dest, one.type) for name, one in options() if one.type is not None]
    assert [one for one in kinds if one[2] in (float, Path)] == []
    threshold = [one.type for name, one in options() if one.dest == "threshold"]
    assert len(threshold) == 5
    assert {kind("0,6") for kind in threshold if callable(kind)} == {0.6}
    assert len([one for one in kinds if one[2] is path]) > 15


@pytest.mark.parametrize("command", [["predict", "x", "--out", "o"], ["score", "x"]])
def test_an_option_s_old_name_leads_to_the_new_one(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*command, "--views", "8") == 2
    assert "--views is now called --tta" in capsys.readouterr().err


def test_a_decoder_of_another_backbone_is_refused(trained: list[str], workspace: Path) -> None:
    card = json.loads(Path("decoder/decoder.json").read_text())
    card["backbone"]["weights_sha256"] = "0" * 64
    Path("decoder/decoder.json").write_text(json.dumps(card))
    picture = "data/raw/Fish_Dataset/Fish_Dataset/Trout/Trout/00001.png"
    assert "trained on other weights" in message("predict", picture, "--out", "out", *trained)


def test_a_corrupt_checkpoint_is_refused(trained: list[str], workspace: Path) -> None:
    weights = Path("decoder/decoder.safetensors")
    weights.write_bytes(weights.read_bytes()[:200])
    picture = "data/raw/Fish_Dataset/Fish_Dataset/Trout/Trout/00001.png"
    assert "no usable decoder" in message("predict", picture, "--out", "out", *trained)


def test_score_prints_the_metrics_and_nothing_else(
    trained: list[str], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("score", "data/raw", "--galleries", "look", *trained) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["n_images"] == 8
    assert 0 < printed["mean_iou"] <= 1
    assert printed["iou_ci_low"] <= printed["mean_iou"] <= printed["iou_ci_high"]
    assert find_pictures(["look"]).pictures == []  # no photographs to work on
    assert {path.name for path in Path("look").glob("*.png")} == {
        "gallery_best.png",
        "gallery_random.png",
        "gallery_worst.png",
    }


@pytest.fixture
def copies(workspace: Path) -> Path:
    """Four photographs in three turned copies each, as labelled pictures without further word."""
    folder = workspace / "mine"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for seed in range(4):
        image, mask = draw_fish(100 + seed, 200, 150)
        # Noise of single pixels is nothing to be recognised by; stains and scales are.
        grain = np.random.default_rng(seed).normal(0, 1, image.shape[:2])
        stains = cv2.GaussianBlur(grain, (0, 0), 2)[..., None] * 250
        image = np.clip(cv2.GaussianBlur(image, (0, 0), 1) + stains, 0, 255).astype(np.uint8)
        for turns in range(3):
            name = f"{turns}{seed}.png"  # copies are no neighbours
            Image.fromarray(np.rot90(image, turns)).save(folder / "images" / name)
            Image.fromarray(np.rot90(mask, turns)).save(folder / "masks" / name)
    return folder


def test_copies_are_one_photograph_to_score(
    trained: list[str], copies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in Path().iterdir())
    assert run("score", copies, *trained) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["n_images"], printed["n_groups"]) == (12, 4)
    assert sorted(path.name for path in Path().iterdir()) == before  # nothing is left lying about


def test_copies_are_on_one_side_of_every_fold(
    trained: list[str],
    copies: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifests = []
    train = loop.train

    def spy(cache: FeatureCache, manifest: pd.DataFrame, *rest: Any) -> Any:
        manifests.append(manifest)
        return train(cache, manifest, *rest)

    monkeypatch.setattr(loop, "train", spy)
    monkeypatch.setattr(crossvalidation, "MIN_STEPS", 1)
    tree = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    tree["features"] |= {"image_size": 56, "layers": [-1]}
    tree["train"] |= {"decoder": "cnn3", "epochs": 1}
    Path("params.yaml").write_text(yaml.safe_dump(tree))
    arguments = ["--folds", "2", "--masks", str(copies / "masks"), "--out", "deeper/scores.csv"]
    assert run("crossvalidate", copies, *arguments, *trained) == 0
    assert len(manifests) == 4  # two folds, from scratch and from the decoder
    for manifest in manifests:
        # The number of the photograph is the last letter of the name, before that of a view.
        photo = manifest["sample_id"].str.partition("~")[0].str[-1]
        assert (manifest.groupby(photo)["split"].nunique() == 1).all()
        assert set(manifest["split"]) == {"train", "val"}
    printed = capsys.readouterr().out
    assert f"| {copies / 'masks'} | 12 (4) | **1.000**" in printed
    assert printed.count("| 12 (4) |") == 3
    assert pd.read_csv("deeper/scores.csv", dtype=str)["group_id"].nunique() == 4


def test_what_is_measured_is_printed_before_something_fails(
    trained: list[str], copies: Path, capsys: pytest.CaptureFixture[str], workspace: Path
) -> None:
    Path("look").mkdir()
    for name in ("best", "random", "worst"):
        Path(f"look/gallery_{name}.png").mkdir()  # a folder where a file is wanted
    said = message("score", copies, "--galleries", "look", *trained)
    assert "this cannot be written: Is a directory" in said
    assert json.loads(capsys.readouterr().out)["n_images"] == 12
    Path("look.png").write_text("")
    said = message("score", copies, "--galleries", "look.png", *trained)
    assert "File exists" in said
    assert capsys.readouterr().out == ""  # said before any work


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
    Path("a.png").touch()
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", "a.png", "--out", "out", "--decoder", "nowhere"])
    assert "dvc repro train" in str(stopped.value.code)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    assert stopped.value.code == 0
    assert "score" in capsys.readouterr().out


def test_the_version_stands_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"fishseg {fishseg.__version__}\n"
    project = tomllib.loads(
        (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert project["project"]["dynamic"] == ["version"]


@pytest.mark.parametrize(
    "command",
    [["score", "mine"], ["crossvalidate", "mine"], ["measure", "a", "--masks", "b", "--out", "c"]],
)
def test_a_rule_for_masks_that_is_none_is_refused_at_once(
    command: list[str], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command, "--mask-values", "quatsch"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "--mask-values: 'quatsch' does not say which values of a mask are fish" in said
    assert "'fish: 1; ignore: 255'" in said
