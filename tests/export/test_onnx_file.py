from __future__ import annotations

import dataclasses
import errno
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from fishseg import cli, decoders
from fishseg.backbones import load_torch_backbone, materialise
from fishseg.decoders.files import CARD_NAME, WEIGHTS_NAME, DecoderCard
from fishseg.decoders.inference import decode
from fishseg.errors import ModelError
from fishseg.export import onnx_file
from fishseg.export.model_card import agreement_lines, model_card
from fishseg.export.onnx_file import Exported
from fishseg.params import BackboneParams
from fishseg.prediction.onnx_model import (
    CHECKSUM_KEY,
    DECODER,
    SPECIES_KEY,
    WHOLE,
    ModelFacts,
    OnnxSegmenter,
)
from fishseg.prediction.segmenter import Segmenter
from fishseg.prediction.species import Distance, Regression, SpeciesClassifier, feature_facts

CPU = torch.device("cpu")
VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56}
ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**VIT, patch_size=14)),
    "dinov3_vit": lambda: transformers.DINOv3ViTModel(
        transformers.DINOv3ViTConfig(
            **VIT, patch_size=16, intermediate_size=64, num_register_tokens=4
        )
    ),
    "dinov3_convnext": lambda: transformers.DINOv3ConvNextModel(
        transformers.DINOv3ConvNextConfig(hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 1, 1])
    ),
}
# As photographs come: lying, standing, square, wider than 4 to 1, and a single pixel.
SIZES = [(44, 59), (90, 61), (56, 56), (20, 170), (1, 1)]


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Smooth noise, so that masks have an inside and an outline."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, 5, 5), np.float32))
    image = nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return (255 * image[0].permute(1, 2, 0)).byte().numpy()


PICTURES = [picture(size, seed) for seed, size in enumerate(SIZES)]


def build_segmenter(
    folder: Path,
    architecture: str,
    decoder: str,
    layers: tuple[int, ...] = (1, -1),
    instances: str = "none",
    guided_radius: int = 0,  # what is drawn here is too small to have edges left
    temperature: float = 1.0,
) -> Segmenter:
    """A segmenter of random weights, as the stages leave it in ``folder``."""
    torch.manual_seed(0)
    ARCHITECTURES[architecture]().save_pretrained(folder / "hub")
    materialise(BackboneParams(name=str(folder / "hub"), revision=""), folder / "backbone")
    backbone = load_torch_backbone(folder / "backbone", layers)
    network = decoders.build(decoder, backbone.channels, instances)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    card = DecoderCard(
        decoder=decoder,
        in_channels=backbone.channels,
        backbone={"name": backbone.name, "weights_sha256": backbone.weights_sha256},
        layers=layers,
        fit="aspect",
        image_size=56,
        megapixels=0.0042,
        dtype="float16",
        temperature=temperature,
        guided_radius=guided_radius,
        instances=instances,
    )
    (folder / "decoder").mkdir()
    save_file(network.state_dict(), folder / "decoder" / WEIGHTS_NAME)
    (folder / "decoder" / CARD_NAME).write_text(json.dumps(dataclasses.asdict(card)))
    return Segmenter.load(
        folder / "decoder",
        folder / "backbone",
        CPU,
        torch.float32,
        load=load_torch_backbone,
        threshold=0.4,
    )


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return build_segmenter(tmp_path_factory.mktemp("model"), "dinov2", "detail")


@pytest.fixture(scope="module")
def exported(segmenter: Segmenter) -> Exported:
    return onnx_file.export(segmenter, part=WHOLE, opset=18, pictures=PICTURES)


@pytest.fixture(scope="module")
def model_file(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    onnx_file.write(exported, path, model_card="# What this is\n")
    return path


def open_session(model: Path | bytes) -> onnxruntime.InferenceSession:
    """A file, or its content, in the runtime that fishseg itself does not use."""
    content = model if isinstance(model, bytes) else model.read_bytes()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def assert_same_answers(model_file: Path, segmenter: Segmenter) -> None:
    in_use = OnnxSegmenter.load(model_file)
    assert in_use.threshold == segmenter.threshold
    for image in PICTURES:
        found, expected = in_use.probability(image), segmenter.probability(image)
        assert found.shape == image.shape[:2]
        assert found.dtype == np.float32
        # As kept, in 256 levels, a probability at the edge of one may lie in the next.
        assert np.abs(found - expected).max() < 1.01 / 256
        working = in_use.working_probability(image), segmenter.working_probability(image)
        assert np.abs(working[0] - working[1]).max() < onnx_file.MAX_DIFFERENCE["float16"]


def test_pictures_of_every_shape_get_what_torch_gives(
    exported: Exported, model_file: Path, segmenter: Segmenter
) -> None:
    assert exported.agreement.n_pictures == len(PICTURES)
    # Sums in another order take some features to the next step of float16.
    assert exported.agreement.max_difference < onnx_file.MAX_DIFFERENCE["float16"]
    assert exported.agreement.min_iou >= onnx_file.MIN_IOU
    assert_same_answers(model_file, segmenter)


def test_the_file_runs_elsewhere_too(model_file: Path, segmenter: Segmenter) -> None:
    elsewhere, in_use = open_session(model_file), OnnxSegmenter.load(model_file)
    images = np.stack([picture((56, 84), seed) for seed in range(2)])
    (found,) = elsewhere.run(None, {"image": images})
    used = in_use.network(images)["probability"]
    assert np.abs(found - used).max() < onnx_file.MAX_DIFFERENCE["float16"]
    # The graph itself is exact: what more OpenVINO differs by is its own arithmetic.
    expected = np.stack([segmenter.working_probability(image) for image in images])
    assert np.abs(found - expected).max() < 1e-4


def test_the_answers_are_worth_comparing(segmenter: Segmenter) -> None:
    probability = segmenter.probability(PICTURES[0])
    assert 0.1 < (probability >= segmenter.threshold).mean() < 0.9
    assert np.ptp(probability) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "opset"), [("dinov2", 23), ("dinov3_vit", 18), ("dinov3_convnext", 18)]
)
def test_every_backbone_gives_what_torch_gives(
    architecture: str, opset: int, tmp_path: Path
) -> None:
    segmenter = build_segmenter(tmp_path, architecture, "cnn3", guided_radius=8, temperature=0.8)
    exported = onnx_file.export(segmenter, part=WHOLE, opset=opset, pictures=PICTURES)
    onnx_file.write(exported, tmp_path / "model.onnx", model_card="")
    assert_same_answers(tmp_path / "model.onnx", segmenter)


def test_the_decoder_alone(tmp_path: Path) -> None:
    segmenter = build_segmenter(
        tmp_path, "dinov3_convnext", "cnn3", layers=(2, 4), guided_radius=8, temperature=2.5
    )
    exported = onnx_file.export(segmenter, part=DECODER, opset=18, pictures=PICTURES[:1])
    session = open_session(exported.graph.SerializeToString())
    for n_images, grid in ((1, (9, 4)), (3, (2, 12))):
        # Stage 2 has stride 8, and the deepest stage 32.
        features = torch.randn(n_images, segmenter.backbone.channels, 4 * grid[0], 4 * grid[1])
        pixels = torch.randint(0, 256, (n_images, 3, 32 * grid[0], 32 * grid[1])).byte()
        expected = decode(segmenter.decoder, features, pixels, segmenter.card, CPU)[:, 0]
        (found,) = session.run(None, {"features": features.numpy(), "pixels": pixels.numpy()})
        assert np.abs(found - expected.numpy()).max() < 1e-4


def test_a_batch_gets_what_its_images_get_alone(exported: Exported) -> None:
    session = open_session(exported.graph.SerializeToString())
    images = np.stack([picture((70, 98), seed) for seed in range(3)])
    (together,) = session.run(None, {"image": images})
    assert together.shape == (3, 70, 98)
    for image, probability in zip(images, together, strict=True):
        (alone,) = session.run(None, {"image": image[None]})
        assert np.abs(probability - alone[0]).max() < 1e-5


def test_the_file_says_what_it_is_and_not_where_it_was_made(
    model_file: Path, segmenter: Segmenter
) -> None:
    metadata = open_session(model_file).get_modelmeta().custom_metadata_map
    facts = ModelFacts.of_metadata(metadata, model_file)
    assert (facts.part, facts.fit, facts.patch_multiple) == (WHOLE, "aspect", 14)
    assert (facts.image_size, facts.megapixels) == (56, 0.0042)
    card = json.loads(json.dumps(dataclasses.asdict(segmenter.card)))
    assert facts.card == card
    assert metadata["model_card"] == model_file.with_suffix(".md").read_text() == "# What this is\n"
    content = model_file.read_bytes()
    for trace in (b"/fishseg/", b".py", str(Path.home()).encode()):
        assert trace not in content


def test_features_in_eight_bits_are_rounded_in_the_graph_too(segmenter: Segmenter) -> None:
    card = dataclasses.replace(segmenter.card, dtype="int8")
    coarse = dataclasses.replace(segmenter, card=card)
    exported = onnx_file.export(coarse, part=WHOLE, opset=18, pictures=PICTURES)
    assert exported.agreement.max_difference < onnx_file.MAX_DIFFERENCE["int8"]
    # What eight bits change is more than where the two differ, or the test could not tell.
    changed = max(
        float(np.abs(coarse.probability(image) - segmenter.probability(image)).max())
        for image in PICTURES
    )
    assert changed > exported.agreement.max_difference


def test_a_graph_that_forgets_to_round_is_noticed(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = dataclasses.replace(segmenter.card, dtype="int8")
    monkeypatch.setattr(onnx_file, "rounded", lambda features: features)
    monkeypatch.setitem(onnx_file.MAX_DIFFERENCE, "int8", 1e-3)
    with pytest.raises(ModelError, match="does not agree"):
        onnx_file.export(
            dataclasses.replace(segmenter, card=card), part=WHOLE, opset=18, pictures=PICTURES
        )


def test_bfloat16_is_another_model_by_little_and_that_is_said(tmp_path: Path) -> None:
    exact = build_segmenter(tmp_path, "dinov2", "detail")
    in_bf16 = Segmenter.load(tmp_path / "decoder", tmp_path / "backbone", CPU, torch.bfloat16)
    found = onnx_file.export(exact, part=WHOLE, opset=18, pictures=PICTURES, in_bf16=in_bf16)
    assert found.in_bf16 is not None
    assert found.in_bf16.n_pictures == len(PICTURES)
    expected = max(
        float(np.abs(in_bf16.working_probability(image) - exact.working_probability(image)).max())
        for image in PICTURES
    )
    off = found.agreement.max_difference
    assert expected > 10 * off
    assert found.in_bf16.max_difference == pytest.approx(expected, abs=off)
    lines = list(agreement_lines(found))
    assert lines[1].startswith(f"computing in bfloat16, on {len(PICTURES)} pictures")


class Deceitful(nn.Module):
    """One thing in torch and another in the exported graph."""

    def forward(self, features: Tensor, pixels: Tensor) -> Tensor:
        shift = 0.5 if torch.compiler.is_exporting() else -0.5
        return pixels[:, :1].float() * 0 + features.mean() * 0 + shift


class Undecided(nn.Module):
    """Computes what depends on the values, not on the sizes alone."""

    def forward(self, features: Tensor, pixels: Tensor) -> Tensor:
        return pixels[:, :1].float() * (2.0 if features.mean() > 0 else 1.0)


def test_a_decoder_that_has_no_graph_is_refused(segmenter: Segmenter) -> None:
    wrong = dataclasses.replace(segmenter, decoder=Undecided())
    with pytest.raises(ModelError, match="cannot be expressed in ONNX"):
        onnx_file.export(wrong, part=DECODER, opset=18, pictures=PICTURES[:1])


def test_weights_that_do_not_fit_into_one_file_are_refused(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 1000)
    with pytest.raises(ModelError, match="--part decoder"):
        onnx_file.export(segmenter, part=WHOLE, opset=18, pictures=[])


def test_without_onnxscript_the_message_says_how_to_get_it(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install '\.\[train\]'"):
        onnx_file.export(segmenter, part=WHOLE, opset=18, pictures=[])


def test_a_full_disk_leaves_nothing_behind(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ModelError, match="No space left"):
        onnx_file.write(exported, tmp_path / "model.onnx", model_card="")
    assert list(tmp_path.iterdir()) == []


def test_pictures_to_compare_on_come_without_data_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "N_PICTURES", 1)
    pictures = onnx_file.comparison_pictures(tmp_path)
    assert len({image.shape for image in pictures}) == 3
    assert all(image.dtype == np.uint8 and image.std() > 10 for image in pictures)


def test_the_command_writes_model_and_card_or_nothing(
    segmenter: Segmenter, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = ("--decoder", "decoder", "--backbone", "backbone")

    def run(*arguments: str) -> object:
        with pytest.raises(SystemExit) as stopped:
            cli.main(["export", "--part", "decoder", *folders, *arguments])
        return stopped.value.code

    def load_with(decoder: nn.Module) -> None:
        loaded = dataclasses.replace(segmenter, decoder=decoder)
        monkeypatch.setattr(Segmenter, "load", lambda *_, **__: loaded)

    monkeypatch.setattr(onnx_file, "comparison_pictures", lambda root: PICTURES[:1])
    load_with(Deceitful())
    assert "ends in .onnx" in str(run("--out", "model.bin"))
    assert "does not agree" in str(run("--out", "head.onnx"))
    assert [path.name for path in workspace.iterdir()] == ["data"]  # the store
    load_with(decoders.build("linear", segmenter.backbone.channels).eval())
    assert run("--out", "out/head.onnx") == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["head.md", "head.onnx"]
    assert "`features`" in Path("out/head.md").read_text()


def with_species(segmenter: Segmenter) -> Segmenter:
    """The segmenter with two species that are told apart by the mean of its features."""
    channels = segmenter.card.in_channels
    rng = np.random.default_rng(0)
    row = rng.standard_normal(channels).astype(np.float32) / channels
    eye = np.eye(channels, dtype=np.float32)
    classifier = SpeciesClassifier(
        classes=("bass", "bream"),
        features=feature_facts(vars(segmenter.card)),
        regression=Regression(weight=np.stack([row, -row]), bias=np.zeros(2, np.float32)),
        distance=Distance(
            class_whitening=eye,
            class_centres=np.zeros((2, channels), np.float32),
            whitening=0 * eye,
            centre=np.zeros(channels, np.float32),
        ),
        threshold=1e6,
        trained_on={"bass": 1, "bream": 1},
    )
    return dataclasses.replace(segmenter, classifier=classifier)


def test_species_travel_in_the_file_and_agree_with_torch(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    naming = with_species(segmenter)
    exported = onnx_file.export(naming, part=WHOLE, opset=18, pictures=PICTURES)
    assert 0 <= exported.agreement.max_species_difference < 1e-3
    assert "of a species by" in next(iter(agreement_lines(exported)))
    onnx_file.write(exported, tmp_path / "model.onnx", model_card="")
    in_use = OnnxSegmenter.load(tmp_path / "model.onnx")
    assert in_use.classifier is not None
    assert naming.classifier is not None
    assert in_use.classifier.to_bytes() == naming.classifier.to_bytes()
    names = set()
    for image in PICTURES:
        ours, theirs = in_use.answer(image), naming.answer(image)
        assert ours.features is not None
        assert theirs.features is not None
        assert np.abs(ours.features - theirs.features).max() < 1e-2
        mask = np.ones(image.shape[:2], np.bool_)
        found, expected = (
            classifier.name(features, mask)
            for classifier, features in (
                (in_use.classifier, ours.features),
                (naming.classifier, theirs.features),
            )
        )
        assert found is not None
        assert expected is not None
        assert found.name == expected.name
        assert found.probability == pytest.approx(expected.probability, abs=1e-3)
        names.add(found.name)
        assert np.abs(ours.probability - in_use.probability(image)).max() == 0


def test_a_file_without_species_names_none(model_file: Path) -> None:
    in_use = OnnxSegmenter.load(model_file)
    assert in_use.classifier is None
    assert in_use.answer(PICTURES[0]).features is None


def test_species_that_are_damaged_are_refused(segmenter: Segmenter, tmp_path: Path) -> None:
    exported = onnx_file.export(with_species(segmenter), part=WHOLE, opset=18, pictures=[])
    path = tmp_path / "model.onnx"
    onnx_file.write(exported, path, model_card="")
    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == SPECIES_KEY:
            entry.value = "{}"
    onnx.save(model, path)
    with pytest.raises(ModelError, match="export it again"):
        OnnxSegmenter.load(path)


@pytest.mark.parametrize("part", [WHOLE, DECODER])
def test_a_second_map_comes_along(tmp_path: Path, part: str) -> None:
    segmenter = build_segmenter(tmp_path, "dinov2", "detail", instances="boundary")
    made = onnx_file.export(segmenter, part=part, opset=18, pictures=PICTURES[:2])
    assert [output.name for output in made.graph.graph.output] == ["probability", "interior"]
    assert made.facts.card["instances"] == "boundary"
    if part == DECODER:
        return
    onnx_file.write(made, tmp_path / "model.onnx", model_card="")
    in_use = OnnxSegmenter.load(tmp_path / "model.onnx", tta=2)
    expected = dataclasses.replace(segmenter, tta=2)
    for image in PICTURES[:3]:
        found, wanted = in_use.answer(image), expected.answer(image)
        assert found.interior is not None
        assert wanted.interior is not None
        assert found.probability.shape == found.interior.shape == image.shape[:2]
        # A level more or less.
        assert np.abs(found.probability - wanted.probability).max() <= 1.01 / 256
        assert np.abs(found.interior - wanted.interior).max() <= 1.01 / 256


def test_a_file_whose_weights_were_damaged_is_refused(tmp_path: Path) -> None:
    """What no parser can see: it is a model still, and gives other masks."""
    made = onnx_file.export(
        build_segmenter(tmp_path, "dinov2", "detail"), part=WHOLE, opset=18, pictures=PICTURES[:1]
    )
    path = tmp_path / "model.onnx"
    onnx_file.write(made, path, model_card="")
    OnnxSegmenter.load(path)
    weights = max((one.raw_data for one in onnx.load(path).graph.initializer), key=len)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(weights, weights[:-4] + bytes(4)))
    with pytest.raises(ModelError, match="this file is damaged"):
        OnnxSegmenter.load(path)
    # Those of earlier versions have no checksum.
    without = onnx.load_model_from_string(whole)
    kept = {prop.key: prop.value for prop in without.metadata_props if prop.key != CHECKSUM_KEY}
    del without.metadata_props[:]
    onnx.helper.set_model_props(without, kept)
    onnx.save(without, path)
    OnnxSegmenter.load(path)


def test_a_second_map_and_species_are_told_apart_by_their_names(tmp_path: Path) -> None:
    naming = with_species(build_segmenter(tmp_path, "dinov2", "detail", instances="distance"))
    made = onnx_file.export(naming, part=WHOLE, opset=18, pictures=PICTURES[:1])
    outputs = [output.name for output in made.graph.graph.output]
    assert outputs == ["probability", "interior", "features"]
    card = model_card(made, tmp_path)
    assert all(f"| `{name}` |" in card for name in outputs)
    # In another order, the same.
    results = made.graph.graph.output
    features = results.pop()
    results.insert(0, features)
    onnx_file.write(made, tmp_path / "model.onnx", model_card=card)
    found, wanted = (
        model.answer(PICTURES[0]) for model in (OnnxSegmenter.load(tmp_path / "model.onnx"), naming)
    )
    for ours, theirs in (
        (found.probability, wanted.probability),
        (found.interior, wanted.interior),
        (found.features, wanted.features),
    ):
        assert ours is not None
        assert theirs is not None
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-2
