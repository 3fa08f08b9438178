"""OpenVINO against torch, its bits, what the store keeps of it, and that it reports nothing."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tiny_checkpoints import MODELS, materialised
from torch import Tensor

from fishseg import store
from fishseg.backbones import (
    OpenVinoBackbone,
    TorchBackbone,
    load_backbone,
    load_torch_backbone,
    openvino_model,
    runtime,
)
from fishseg.errors import BackboneError

REPOSITORY = Path(__file__).parents[2]
MULTIPLES = {"dinov2": 14, "dinov2_with_registers": 14, "dinov3_vit": 16, "dinov3_convnext": 32}
LAYERS = (3, 1)
pytestmark = pytest.mark.usefixtures("empty_store")


@pytest.fixture
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHSEG_STORE", str(tmp_path / "store"))


def noise(height: int, width: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=generator)


def converted(folder: Path, dtype: torch.dtype = torch.float32) -> OpenVinoBackbone:
    backbone = load_backbone(folder, LAYERS, dtype)
    assert isinstance(backbone, OpenVinoBackbone)
    return backbone


@pytest.mark.parametrize("architecture", MODELS)
def test_one_model_gives_what_torch_gives_of_images_of_any_size(
    architecture: str, tmp_path: Path
) -> None:
    folder, multiple = materialised(architecture, tmp_path), MULTIPLES[architecture]
    exact, half = converted(folder), converted(folder, torch.bfloat16)
    plain = load_torch_backbone(folder, LAYERS)
    assert (exact.name, exact.weights_sha256) == (plain.name, plain.weights_sha256)
    assert (exact.channels, exact.patch_multiple) == (plain.channels, plain.patch_multiple)
    for height, width, n_images in ((1, 1, 1), (3, 5, 2), (5, 3, 1), (9, 4, 1)):
        pixels = noise(height * multiple, width * multiple, n_images)
        expected = plain(pixels)
        found = exact(pixels)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert float((half(pixels) - expected).norm() / expected.norm()) < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", MODELS)
def test_the_bits_depend_neither_on_threads_nor_on_company(
    architecture: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    folder, multiple = materialised(architecture, tmp_path), MULTIPLES[architecture]
    pixels = noise(9 * multiple, 5 * multiple, batch=6)
    before = torch.get_num_threads()
    found = []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            backbone = converted(folder, dtype)
            found.append(backbone(pixels))  # all threads on one image
            with ThreadPoolExecutor(n_threads) as pool:  # an image a thread
                found.append(torch.cat(list(pool.map(backbone.on_one_thread, pixels.split(1)))))
            found.append(torch.cat([backbone(image) for image in pixels.split(1)]))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(other, found[0]) for other in found)


def test_features_of_one_image_do_not_change_with_the_next(tmp_path: Path) -> None:
    backbone = converted(materialised("dinov2", tmp_path))
    first = backbone(noise(28, 28))
    kept = first.clone()
    backbone(255 - noise(28, 28))
    assert torch.equal(first, kept)


@pytest.mark.parametrize("n_streams", [1, 2])
def test_processes_do_not_all_begin_at_the_same_core(n_streams: int, tmp_path: Path) -> None:
    """Two at once, such as two experiments of a queue, would be half as fast as they can be."""
    backbone = converted(materialised("dinov2", tmp_path))
    compiled = runtime.compile_model(backbone.model, runtime.F32, n_streams, n_streams)
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_what_does_not_divide_is_refused(tmp_path: Path) -> None:
    backbone = converted(materialised("dinov2", tmp_path))
    for compute in (backbone, backbone.on_one_thread):
        with pytest.raises(BackboneError, match="multiples of 14") as refusal:
            compute(noise(28, 43))
        assert refusal.value.remedy == "resize to 28 x 42"


def kept() -> Path:
    (folder,) = store.folder("converted").iterdir()
    return folder


def test_a_network_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = materialised("dinov2", tmp_path)
    before = converted(folder)(noise(28, 42))
    monkeypatch.setattr(openvino_model, "_convert", None)
    assert torch.equal(converted(folder)(noise(28, 42)), before)
    converted(folder, torch.bfloat16)  # the type is chosen when it is compiled
    with pytest.raises(TypeError):
        load_backbone(folder, (2,))


@pytest.mark.parametrize("damage", ["model.bin", "model.xml", "facts.json", "missing"])
def test_a_damaged_model_is_converted_again(damage: str, tmp_path: Path) -> None:
    folder = materialised("dinov2", tmp_path)
    before = converted(folder)(noise(28, 42))
    if damage == "missing":
        (kept() / "model.bin").unlink()
    else:
        content = bytearray((kept() / damage).read_bytes())
        content[len(content) // 2] ^= 64
        (kept() / damage).write_bytes(content)
    assert torch.equal(converted(folder)(noise(28, 42)), before)
    facts = json.loads((kept() / "facts.json").read_text())
    for name, checksum in facts["sha256"].items():
        assert store.file_sha256(kept() / name) == checksum


def test_without_openvino_torch_computes_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = materialised("dinov2", tmp_path)
    monkeypatch.setattr(openvino_model, "openvino", lambda: None)
    with caplog.at_level(logging.WARNING):
        backbone = load_backbone(folder, LAYERS)
    assert isinstance(backbone, TorchBackbone)
    assert "OpenVINO is not installed: torch computes" in caplog.text


def test_a_network_that_openvino_does_not_know_is_left_to_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = materialised("dinov2", tmp_path)

    def refuse(*args: object, **options: object) -> None:
        raise RuntimeError("No conversion rule found for aten::fish\nand much more")

    monkeypatch.setattr(runtime.openvino(), "convert_model", refuse)
    with caplog.at_level(logging.WARNING):
        backbone = load_backbone(folder, LAYERS)
    assert isinstance(backbone, TorchBackbone)
    assert "cannot convert dinov2: No conversion rule found for aten::fish; torch" in caplog.text
    assert not list(store.folder("converted").iterdir())


CONVERT = """
import sys
from pathlib import Path

def watch(event, arguments):
    if event.startswith("socket."):
        print("the network:", event, arguments)

sys.addaudithook(watch)
from fishseg.backbones import load_backbone
print(type(load_backbone(Path(sys.argv[1]), (1,))).__name__)
"""


def test_nothing_is_reported_even_where_the_package_that_reports_is_installed(
    tmp_path: Path,
) -> None:
    reporter = tmp_path / "installed/openvino_telemetry"
    reporter.mkdir(parents=True)
    (reporter / "__init__.py").write_text("print('the package that reports is imported')")
    folder = materialised("dinov2", tmp_path)
    paths = os.pathsep.join([str(REPOSITORY), str(reporter.parent)])
    environment = {**os.environ, "PYTHONPATH": paths}
    done, control = (
        subprocess.run(
            [sys.executable, "-c", script, str(folder)],
            capture_output=True,
            check=False,
            text=True,
            env=environment,
        )
        for script in (CONVERT, "import openvino")
    )
    assert done.stdout.splitlines() == ["OpenVinoBackbone"], done.stderr
    # Without the precaution it would have been.
    assert "the package that reports is imported" in control.stdout


@pytest.mark.parametrize("first", ["main", "threads"])
def test_threads_that_compute_at_once_do_not_wait_for_each_other_for_ever(first: str) -> None:
    """Python's lock was held by a thread that waited for one that waited for Python's lock."""
    program = f"""
import sys, threading
from fishseg.backbones import runtime

if {first!r} == "main":
    runtime.openvino()
sys.setswitchinterval(1e-6)
ready = False

def use():
    while not ready:
        pass
    runtime.openvino().Type.u8.to_dtype()

threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads:
    thread.start()
ready = True
for thread in threads:
    thread.join()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
