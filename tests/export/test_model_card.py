from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

from fishseg.datasets.sources import SOURCES
from fishseg.errors import ModelError
from fishseg.export.model_card import DATA, model_card
from fishseg.export.onnx_file import Agreement, Exported
from fishseg.prediction.onnx_model import DECODER, WHOLE, ModelFacts

REPOSITORY = Path(__file__).parents[2]
SCORES: dict[str, Any] = {
    "mean_iou": 0.9362,
    "iou_ci_low": 0.9023,
    "iou_ci_high": 0.9571,
    "boundary_iou": 0.8348,
    "worst_iou": 0.7955,
    "n_images": 45,
    "n_groups": 9,
    "per_class": {"sea_bass": {"mean_iou": 0.9511, "n_images": 5}},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with the small files of a run."""
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    files: dict[str, Any] = {
        "metrics/evaluate.json": {"val": SCORES, "test": {**SCORES, "mean_iou": 0.9051}},
        "metrics/split.json": {"train": {"n_images": 180, "n_groups": 36}, "val_leak": 0.0},
        "metrics/audit.json": {"masks": {"ok": 262, "repaired": 8, "rejected": 0}},
        "metrics/robustness.json": {
            "n_images": 9,
            "n_trials": 36,
            "mean_iou_retained": 0.85,
            "retained_ci_low": 0.79,
            "retained_ci_high": 0.9,
            "clean": {"mean_iou": 0.97},
            "defocus_blur": {"iou_retained": 0.62, "ci_low": 0.5, "ci_high": 0.7},
            "glare": {"iou_retained": 0.95, "ci_low": 0.9, "ci_high": 0.99},
        },
        "data/backbone/source.json": {
            "name": params(tmp_path)["backbone"]["name"],
            "licence": "Apache-2.0 or so",
        },
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def params(root: Path) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((root / "params.yaml").read_text())
    return tree


def exported(root: Path, part: str = WHOLE) -> Exported:
    tree = params(root)
    facts = ModelFacts(
        part=part,
        fit=tree["features"]["fit"],
        image_size=tree["features"]["image_size"],
        megapixels=tree["features"]["megapixels"],
        patch_multiple=14,
        threshold=tree["evaluate"]["threshold"],
        card={
            "decoder": tree["train"]["decoder"],
            "layers": tree["features"]["layers"],
            "backbone": {"name": tree["backbone"]["name"], "weights_sha256": "0123456789abcdef"},
        },
    )
    agreement = Agreement(n_pictures=6, max_difference=2e-5, min_iou=0.99987)
    return Exported(graph=onnx.ModelProto(), facts=facts, opset=18, agreement=agreement)


def change(root: Path, section: str, key: str, value: object) -> None:
    tree = params(root)
    tree[section][key] = value
    (root / "params.yaml").write_text(yaml.safe_dump(tree))


def test_the_card_says_what_the_tracked_numbers_say(root: Path) -> None:
    card = model_card(exported(root), root)
    for said in (
        "| mean IoU | **0.936** [0.902, 0.957] | **0.905** [0.902, 0.957] |",
        "| images (photographs) | 45 (9) | 45 (9) |",
        "| worst image | 0.795 | 0.795 |",
        "| sea bass | 0.951 | 5 |",
        "Split whole photographs at a time: train 180 images of 36 photographs",
        "262 kept raw, 8 repaired",
        "Backbone weights: Apache-2.0 or so",
        "keeps 85% [79%, 90%] of the IoU (95%, over photographs); the least with defocus blur 62% "
        "[50%, 70%], glare",
        "fish from 0.5 on",
        "masks have an IoU of at least 0.99987",
        "drawn by a program",
    ):
        assert said in card
    assert "None" not in card
    assert "nan" not in card


def test_a_leaky_split_is_called_one(root: Path) -> None:
    change(root, "split", "strategy", "random")
    card = model_card(exported(root), root)
    assert "(leaky)" in card
    assert "expect less on new photographs" in card


def test_numbers_of_another_run_are_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = exported(root)
    change(root, "features", "megapixels", 0.067)
    card = model_card(model, root)
    assert "0.936" not in card
    assert "Not known here." in card
    assert "numbers are left out" in caplog.text


def test_numbers_at_another_threshold_are_left_out(root: Path) -> None:
    model = exported(root)
    assert "0.936" in model_card(model, root)
    change(root, "evaluate", "threshold", 0.3)
    assert "0.936" not in model_card(model, root)


def test_without_a_run_there_are_no_numbers(root: Path, tmp_path_factory: Any) -> None:
    card = model_card(exported(root), tmp_path_factory.mktemp("elsewhere"))
    assert "Not known here." in card
    assert "Backbone weights: not known here" in card


@pytest.mark.parametrize("lacking", ["retained_ci_low", "photographs"])
def test_robustness_is_quoted_with_its_interval_or_not_at_all(root: Path, lacking: str) -> None:
    path = root / "metrics/robustness.json"
    metrics = json.loads(path.read_text())
    if lacking == "photographs":
        metrics["n_images"] = 1
    else:
        del metrics[lacking]
    path.write_text(json.dumps(metrics))
    assert "spoiled" not in model_card(exported(root), root)


def test_missing_metrics_are_no_hindrance(root: Path) -> None:
    shutil.rmtree(root / "metrics")
    card = model_card(exported(root), root)
    assert "Not measured." in card
    assert "drawn by a program" in card


def test_the_decoder_alone_has_other_inputs(root: Path) -> None:
    card = model_card(exported(root, DECODER), root)
    assert "| `features` | float32 | (B, C, h, w) |" in card
    assert "`image`" not in card
    assert "fishseg predict" not in card


@pytest.mark.parametrize("name", ["evaluate", "robustness"])
def test_numbers_of_another_decoder_are_refused(root: Path, name: str) -> None:
    model = exported(root)
    facts = dataclasses.replace(
        model.facts,
        card={**model.facts.card, "weights_sha256": "ab" * 32, "version": "0.1.0"},
    )
    model = dataclasses.replace(model, facts=facts)
    file = root / f"metrics/{name}.json"
    measured = json.loads(file.read_text())
    file.write_text(json.dumps({**measured, "decoder": {"weights_sha256": "ab" * 32}}))
    card = model_card(model, root)
    assert f"| decoder, trained by fishseg 0.1.0 | `{'ab' * 32}` |" in card
    assert "| backbone | `0123456789abcdef` |" in card
    file.write_text(json.dumps({**measured, "decoder": {"weights_sha256": "cd" * 32}}))
    with pytest.raises(ModelError, match="belong to another decoder, of sha256 cdcdcdcdcdcd"):
        model_card(model, root)


@pytest.mark.parametrize("name", ["evaluate", "robustness"])
def test_numbers_of_another_threshold_are_left_out(root: Path, name: str) -> None:
    """`params.yaml` was edited, and nothing measured since."""
    file = root / f"metrics/{name}.json"
    measured = json.loads(file.read_text())
    for threshold, is_said in ((0.5, True), (0.7, False)):
        file.write_text(json.dumps({**measured, "decoder": {"threshold": threshold}}))
        assert ("mean IoU" in model_card(exported(root), root)) == is_said


def test_there_are_words_for_every_data_source() -> None:
    assert set(DATA) == set(SOURCES)
