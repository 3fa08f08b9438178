"""The real hub client, against a stand-in for the hub."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

import huggingface_hub.constants
import pytest
from hub_server import COMMIT, HubServer
from tiny_checkpoints import params, save_checkpoint

from fishseg.backbones import hub as fishseg_hub
from fishseg.backbones import load_torch_backbone, materialise
from fishseg.backbones.registry import DINOV2_VITS14_HUB
from fishseg.errors import BackboneError, DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DINOV3 = "facebook/dinov3-vits16-pretrain-lvd1689m"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A hub that offers a tiny DINOv3, and an empty cache."""
    server = HubServer()
    server.serve(save_checkpoint("dinov3_vit", tmp_path / "checkpoint"))
    # huggingface_hub reads the environment only once, on import.
    constants = huggingface_hub.constants
    template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.stop()


def fetch(tmp_path: Path, name: str = "dinov3_vits16", revision: str = "") -> Path:
    folder = tmp_path / "backbone"
    materialise(params(name, revision), folder)
    return folder


def test_a_registered_model_is_fetched_and_its_commit_recorded(
    hub: HubServer, tmp_path: Path
) -> None:
    folder = fetch(tmp_path)
    source = json.loads((folder / "source.json").read_text())
    assert source["name"] == "dinov3_vits16"
    assert source["source"] == DINOV3
    assert source["revision"] == COMMIT
    assert "DINOv3 License" in source["licence"]
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    assert load_torch_backbone(folder, (-1,)).name == "dinov3_vits16"


def test_the_open_weights_of_their_makers_are_asked_for_at_one_commit(
    hub: HubServer, tmp_path: Path
) -> None:
    folder = fetch(tmp_path, "dinov2_vits14_hub")
    revision = DINOV2_VITS14_HUB.revision
    assert len(revision) == 40
    assert any(f"/facebook/dinov2-small/resolve/{revision}/" in path for path in hub.requests)
    source = json.loads((folder / "source.json").read_text())
    assert (source["name"], source["revision"]) == ("dinov2_vits14_hub", revision)
    assert (source["source"], source["licence"]) == ("facebook/dinov2-small", "Apache-2.0")
    fetch(tmp_path, "dinov2_vits14_hub", "v1.2")
    assert "GET /api/models/facebook/dinov2-small/revision/v1.2" in hub.requests


def test_only_what_is_needed_is_fetched(hub: HubServer, tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "model.onnx", "model.fp16.safetensors", "README.md"):
        hub.files[name] = b"x"
    fetch(tmp_path, "owner/model")
    fetched = {path.rsplit("/", 1)[-1] for path in hub.requests if "/resolve/" in path}
    assert fetched == {"config.json", "model.safetensors"}


def test_any_hub_id_with_a_revision_is_asked_for_that_revision(
    hub: HubServer, tmp_path: Path
) -> None:
    fetch(tmp_path, "owner/model", "v1.2")
    assert "GET /api/models/owner/model/revision/v1.2" in hub.requests


def test_what_was_fetched_before_serves_without_the_hub(hub: HubServer, tmp_path: Path) -> None:
    first = (fetch(tmp_path) / "source.json").read_bytes()
    hub.stop()
    assert (fetch(tmp_path) / "source.json").read_bytes() == first


def test_loading_asks_no_hub(hub: HubServer, tmp_path: Path) -> None:
    folder = fetch(tmp_path)
    hub.requests.clear()
    load_torch_backbone(folder, (1, -1))
    assert hub.requests == []


@pytest.mark.parametrize(
    ("status", "code", "where", "message"),
    [
        (401, "GatedRepo", "/resolve/", f"accept the licence on https://huggingface.co/{DINOV3}"),
        (403, "GatedRepo", "/resolve/", "hf auth login"),
        (403, "GatedRepo", "/api/", "HF_TOKEN"),
        (403, "", "/api/", "accept the licence"),
        (401, "", "/api/", "does not know your token"),
        (404, "RepoNotFound", "/api/", "check the spelling"),
        (404, "RevisionNotFound", "/api/", "has no revision 'v1.2'"),
        (500, "", "/api/", "500 Internal Server Error"),
    ],
)
def test_each_refusal_says_what_to_do(
    hub: HubServer, tmp_path: Path, status: int, code: str, where: str, message: str
) -> None:
    hub.refuse(status, code, where=where)
    with pytest.raises(DownloadError) as refusal:
        fetch(tmp_path, revision="v1.2")
    assert message in str(refusal.value)
    assert f"https://huggingface.co/{DINOV3}" in str(refusal.value)
    assert not (tmp_path / "backbone/source.json").exists()


def test_no_connection(hub: HubServer, tmp_path: Path) -> None:
    hub.stop()
    with pytest.raises(DownloadError, match="check the network"):
        fetch(tmp_path)


def test_offline(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="unset HF_HUB_OFFLINE"):
        fetch(tmp_path)
    assert hub.requests == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Data processing error: No space left on device (os error 28)"),
    ],
)
def test_full_disk(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fill_the_disk(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(fishseg_hub, "snapshot_download", fill_the_disk)
    with pytest.raises(DownloadError, match="the disk is full"):
        fetch(tmp_path)


def test_a_model_without_safetensors(hub: HubServer, tmp_path: Path) -> None:
    hub.files["pytorch_model.bin"] = hub.files.pop("model.safetensors")
    with pytest.raises(BackboneError, match="no safetensors weights"):
        fetch(tmp_path, "owner/model")


def test_a_model_of_another_kind(hub: HubServer, tmp_path: Path) -> None:
    hub.files["config.json"] = b'{"model_type": "resnet"}'
    with pytest.raises(BackboneError, match="'resnet' is not supported") as refusal:
        fetch(tmp_path, "owner/model")
    assert "dinov2, dinov2_with_registers, dinov3_vit, dinov3_convnext" in str(refusal.value)


def test_a_model_without_config(hub: HubServer, tmp_path: Path) -> None:
    del hub.files["config.json"]
    with pytest.raises(BackboneError, match=r"without config\.json"):
        fetch(tmp_path, "owner/model")
