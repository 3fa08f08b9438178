from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_checkpoints import materialised

from fishseg.backbones.checkpoint import (
    HASHED,
    IMAGENET_MEAN,
    IMAGENET_STD,
    normalisation,
    read_checkpoint,
    weights_hash,
)
from fishseg.errors import BackboneError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return materialised("dinov3_vit", tmp_path)


def test_what_a_folder_says(folder: Path) -> None:
    checkpoint = read_checkpoint(folder)
    assert checkpoint.name == "dinov3_vit"
    assert checkpoint.config["patch_size"] == 16
    assert checkpoint.image_mean == IMAGENET_MEAN
    assert checkpoint.image_std == IMAGENET_STD
    assert checkpoint.weights_sha256 == weights_hash(folder)


def test_the_hash_does_not_depend_on_the_place(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "elsewhere/copy")
    assert weights_hash(copy) == weights_hash(folder)


@pytest.mark.parametrize("file", HASHED)
def test_every_file_counts(folder: Path, file: str) -> None:
    before = weights_hash(folder)
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-2] + b" " + content[-1:])
    assert weights_hash(folder) != before
    with pytest.raises(BackboneError, match="its checksum differs") as refusal:
        read_checkpoint(folder)
    assert refusal.value.where == str(folder / file)


@pytest.mark.parametrize("file", [*HASHED, "source.json"])
def test_every_file_is_needed(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(BackboneError, match=file) as refusal:
        read_checkpoint(folder)
    assert "dvc repro --force backbone" in str(refusal.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"name": 1, "sha256": {}}', "\udc80"])
def test_a_broken_source(folder: Path, content: str) -> None:
    (folder / "source.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(BackboneError, match=r"JSON|which backbone"):
        read_checkpoint(folder)


def test_the_checkpoints_own_normalisation() -> None:
    own = {"image_mean": [0.43, 0.411, 0.296], "image_std": [0.213, 0.156, 0.143], "size": 224}
    assert normalisation(own, Path()) == ((0.43, 0.411, 0.296), (0.213, 0.156, 0.143))


@pytest.mark.parametrize(
    "values", [[0.5], 0.5, [0.5, 0.5, "0.5"], [0.5, 0.5, 0], [0.5, 0.5, None], None, {}]
)
def test_an_impossible_normalisation(values: object) -> None:
    with pytest.raises(BackboneError, match="image_std is") as refusal:
        normalisation(json.loads(json.dumps({"image_std": values})), Path("preprocessor.json"))
    assert refusal.value.where == "preprocessor.json"
