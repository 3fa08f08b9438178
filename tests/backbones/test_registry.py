from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tiny_checkpoints import params

from fishseg.backbones.open_wheel import DINOV2_VITS14
from fishseg.backbones.registry import HubModel, LocalFolder, resolve
from fishseg.errors import BackboneError

if TYPE_CHECKING:
    from pathlib import Path


def test_registered_names() -> None:
    assert resolve(params("dinov2_vits14")) is DINOV2_VITS14
    names = {"dinov3_convnext_large": "convnext-large", "dinov3_vith16plus": "vith16plus"}
    for name, model in names.items():
        source = resolve(params(name))
        assert isinstance(source, HubModel)
        assert source.hub_id == f"facebook/dinov3-{model}-pretrain-lvd1689m"


def test_a_hub_id() -> None:
    source = resolve(params("timm/vit_small.dinov3", "abc"))
    assert isinstance(source, HubModel)
    assert source.hub_id == "timm/vit_small.dinov3"


def test_a_folder_goes_before_a_hub_id_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner/model").mkdir(parents=True)
    (tmp_path / "owner/model/config.json").touch()
    assert isinstance(resolve(params("owner/model")), LocalFolder)
    assert isinstance(resolve(params(tmp_path / "owner/model")), LocalFolder)


def test_a_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"holds no config\.json"):
        resolve(params(tmp_path))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("dinov3-vits16", "did you mean dinov3_vits16"),
        ("DINOv2_ViTS14", "did you mean dinov2_vits14"),
        ("", "choose one of these"),
        ("resnet", "choose one of these"),
        ("./nowhere", "choose one of these"),
        ("/nowhere/at/all", "choose one of these"),
        ("a/b/c", "choose one of these"),
    ],
)
def test_unknown_names(name: str, remedy: str) -> None:
    with pytest.raises(BackboneError) as refusal:
        resolve(params(name))
    assert refusal.value.remedy is not None
    assert refusal.value.remedy.startswith(remedy)
    assert "dinov3_convnext_tiny" in str(refusal.value)


def test_a_revision_of_what_has_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    for name in ("dinov2_vits14", tmp_path):
        with pytest.raises(BackboneError, match="has no revisions"):
            resolve(params(name, "main"))
