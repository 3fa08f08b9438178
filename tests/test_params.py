from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fishseg import params
from fishseg.errors import ParameterError

REPOSITORY = Path(__file__).parents[1]


def edited(tmp_path: Path, **changes: object) -> Path:
    """The repository's parameters with ``section__key`` changed; None removes the key."""
    tree: dict[str, Any] = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    for name, value in changes.items():
        section, key = name.split("__")
        if value is None:
            del tree[section][key]
        else:
            tree[section][key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.mark.parametrize("section", params.SECTIONS, ids=lambda section: str(section.section))
def test_the_repository_s_own_parameters_load(section: type[Any]) -> None:
    loaded = params.load(section, REPOSITORY / "params.yaml")
    for field in dataclasses.fields(section):
        assert field.metadata["meaning"]
        assert getattr(loaded, field.name) is not None


def test_every_section_of_the_file_has_a_dataclass() -> None:
    tree = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    assert list(tree) == [section.section for section in params.SECTIONS]


def test_a_float_that_yaml_reads_as_text_is_coerced(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (REPOSITORY / "params.yaml").read_text()
    path.write_text(re.sub(r"learning_rate: \S+", "learning_rate: 1e-05", text))
    assert isinstance(yaml.safe_load(path.read_text())["train"]["learning_rate"], str)
    assert params.load(params.TrainParams, path).learning_rate == 1e-5


def test_whole_floats_are_whole_numbers_and_booleans_are_not(tmp_path: Path) -> None:
    assert params.load(params.TrainParams, edited(tmp_path, train__epochs=3.0)).epochs == 3
    with pytest.raises(ParameterError, match=r"train\.epochs is True"):
        params.load(params.TrainParams, edited(tmp_path, train__epochs=True))


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        (params.TrainParams, {"train__epochs": 0}, ["train.epochs is 0", "at least 1"]),
        (params.TrainParams, {"train__epochs": 2.5}, ["train.epochs is 2.5", "whole number"]),
        (params.TrainParams, {"train__learning_rate": 0}, ["above 0"]),
        (params.TrainParams, {"train__learning_rate": "fast"}, ["'fast'", "a number"]),
        (params.TrainParams, {"train__learning_rate": float("nan")}, ["nan"]),
        (params.TrainParams, {"train__schedule": "cosin"}, ["'cosin'", "constant, cosine"]),
        (params.TrainParams, {"train__seed": None}, ["train.seed is missing", "git checkout"]),
        (params.TrainParams, {"train__epoch": 3}, ["unknown", "train.epoch", "write train.epochs"]),
        (params.FeaturesParams, {"features__layers": []}, ["features.layers"]),
        (params.FeaturesParams, {"features__layers": [0]}, ["layer 0"]),
        (params.FeaturesParams, {"features__layers": 3}, ["a list of whole numbers"]),
        (params.DataParams, {"data__source": "local"}, ["data.path", "folder"]),
        (params.SplitParams, {"split__folds": 1}, ["one fold"]),
        (params.SplitParams, {"split__folds": 3, "split__fold": 3}, ["no fold 3 of 3", "0 to 2"]),
        (params.SplitParams, {"split__val_fraction": 0.9}, ["none to train on"]),
    ],
)
def test_what_is_not_allowed_is_refused_with_key_and_remedy(
    tmp_path: Path, section: type[Any], changes: dict[str, object], words: list[str]
) -> None:
    path = edited(tmp_path, **changes)
    with pytest.raises(ParameterError) as caught:
        params.load(section, path)
    message = str(caught.value)
    assert all(word in message for word in [*words, str(path), "expected:", "to do:"]), message


def test_a_missing_file_and_broken_yaml_say_where(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="root of the repository"):
        params.load(params.TrainParams, tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("train: [1, 2\n")
    with pytest.raises(ParameterError, match="not YAML"):
        params.load(params.TrainParams, tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("train: 3\n")
    with pytest.raises(ParameterError, match="no section 'train'"):
        params.load(params.TrainParams, tmp_path / "params.yaml")


def test_choose_names_what_there_is_and_what_is_close() -> None:
    assert params.choose({"cnn3": 1}, "cnn3", "train.decoder") == 1
    with pytest.raises(ParameterError, match=r"(?s)one of cnn3, linear.*train\.decoder=linear"):
        params.choose({"cnn3": 1, "linear": 2}, "liner", "train.decoder")
