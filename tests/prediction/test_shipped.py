from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fishseg import decoders, store
from fishseg.backbones import weights_hash
from fishseg.decoders.files import CARD_NAME, DecoderCard, save_decoder
from fishseg.errors import BackboneError, CacheError
from fishseg.prediction import shipped
from fishseg.prediction.light import is_shipped


def save(folder: Path, backbone: Path) -> None:
    """A decoder that names the folder of its backbone as what to fetch."""
    card = DecoderCard(
        decoder="linear",
        in_channels=32,
        backbone={"name": str(backbone), "weights_sha256": weights_hash(backbone)},
        layers=(-1,),
        fit="aspect",
        image_size=56,
        megapixels=0.003,
        dtype="float16",
        temperature=1.0,
    )
    torch.manual_seed(0)
    save_decoder(decoders.build("linear", 32), card, folder)


@pytest.fixture
def ships(workspace: Path, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A decoder that ships; the user's cache folder lies in the workspace."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(workspace / "cache"))
    monkeypatch.setattr(shipped, "PRETRAINED", workspace / "package")
    save(workspace / "package", tiny_backbone)
    return workspace / "package"


def test_without_a_project_it_is_the_one_that_ships_and_its_backbone_is_fetched_once(
    ships: Path, workspace: Path, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, backbone = shipped.locate(None, None)
    assert decoder == ships
    assert backbone.is_relative_to(workspace / "cache")
    assert weights_hash(backbone) == weights_hash(tiny_backbone)

    def fetched_again(*_: object) -> None:
        pytest.fail("it is there already")

    monkeypatch.setattr(shipped, "materialise", fetched_again)
    assert shipped.locate(None, None) == (decoder, backbone)


def test_in_a_project_it_is_the_project_s(ships: Path, tiny_backbone: Path) -> None:
    save(shipped.DECODER, tiny_backbone)
    shipped.BACKBONE.symlink_to(tiny_backbone, target_is_directory=True)
    assert shipped.locate(None, None) == (shipped.DECODER, shipped.BACKBONE)
    assert shipped.locate(ships, None) == (ships, shipped.BACKBONE)
    assert shipped.locate(None, ships) == (shipped.DECODER, ships)


def test_a_backbone_with_other_weights_is_refused_and_not_kept(
    ships: Path, workspace: Path
) -> None:
    card = ships / CARD_NAME
    tree = json.loads(card.read_text())
    tree["backbone"]["weights_sha256"] = "0" * 64
    card.write_text(json.dumps(tree))
    with pytest.raises(BackboneError, match="not the one of this decoder"):
        shipped.locate(None, None)
    assert list((workspace / "cache/fishseg/backbones").iterdir()) == []


def test_without_any_decoder_a_message_says_what_to_do(ships: Path) -> None:
    (ships / CARD_NAME).unlink()
    with pytest.raises(CacheError, match="--decoder FOLDER"):
        shipped.locate(None, None)


def test_outside_of_a_project_the_store_is_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FISHSEG_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert store.folder("audit").is_relative_to(tmp_path / "cache")
    (tmp_path / "dvc.yaml").touch()
    assert store.folder("audit") == Path("data/.store/audit")


def test_it_is_known_however_its_folder_is_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shipped.PRETRAINED.parent)
    assert is_shipped(Path("pretrained"))
    assert is_shipped(Path("../fishseg/pretrained"))
    assert not is_shipped(Path("prediction"))
