"""Reading and computing rows: by OpenVINO, by torch in batches, and where memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_fish import draw_fish
from PIL import Image

from fishseg.backbones import load_backbone, load_torch_backbone
from fishseg.errors import BackboneError, CacheError, DataError
from fishseg.features import compute
from fishseg.features.compute import ImageFile, Row, compute_rows
from fishseg.features.quantisation import dequantise
from fishseg.images.decoding import read_image
from fishseg.images.resizing import to_pixels

CPU = torch.device("cpu")
LANDSCAPE, PORTRAIT = (42, 56), (56, 42)


@pytest.fixture
def images(workspace: Path) -> list[ImageFile]:
    """Five images of one size, then four of another."""
    found = []
    for number, size in enumerate([LANDSCAPE] * 5 + [PORTRAIT] * 4):
        path = workspace / f"{number}.png"
        Image.fromarray(draw_fish(number)[0]).save(path)
        found.append(ImageFile(path, size))
    return found


def alone(image: ImageFile, backbone: Any, dtype: str) -> torch.Tensor:
    pixels = torch.from_numpy(to_pixels(read_image(image.path), image.size))[None]
    return compute.features_of(pixels, backbone, CPU, dtype)[0]


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_rows_come_in_order_with_the_bits_of_single_images(
    images: list[ImageFile], tiny_backbone: Path, dtype: str, precision: torch.dtype
) -> None:
    backbone = load_backbone(tiny_backbone, (-1,), precision)
    rows = list(compute_rows(iter(images), backbone, CPU, dtype))
    assert torch.get_num_threads() == 3
    assert len(rows) == len(images)
    for image, row in zip(images, rows, strict=True):
        expected = torch.from_numpy(to_pixels(read_image(image.path), image.size))
        assert torch.equal(row["pixels"], expected)
        features = row["features"]
        if dtype == "int8":
            features = dequantise(features[None], row["scales"][None])[0]
        assert features.dtype == torch.float16
        assert torch.equal(features, alone(image, backbone, dtype))


def spied(
    monkeypatch: pytest.MonkeyPatch, *, room_for: int = 1000, error: str = "not enough memory: …"
) -> list[int]:
    """The sizes of the batches that are tried, of which those that are too large fail."""
    tried: list[int] = []
    real = compute.compute

    def small_memory(pixels: torch.Tensor, *args: Any) -> Row:
        tried.append(len(pixels))
        if len(pixels) > room_for:
            raise RuntimeError(error)
        return real(pixels, *args)

    monkeypatch.setattr(compute, "compute", small_memory)
    return tried


def test_torch_fills_its_batches_with_images_of_one_size(
    images: list[ImageFile], tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_torch_backbone(tiny_backbone, (-1,))
    tried = spied(monkeypatch)
    rows = list(compute_rows(iter(images), backbone, CPU, "float16", batch_size=3))
    assert tried == [3, 2, 3, 1]
    for image, row in zip(images, rows, strict=True):
        expected = torch.from_numpy(to_pixels(read_image(image.path), image.size))
        assert torch.equal(row["pixels"], expected)
        torch.testing.assert_close(row["features"], alone(image, backbone, "float16"))


def test_on_a_cpu_torch_computes_as_prediction_does_to_the_last_bit(
    images: list[ImageFile], tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_torch_backbone(tiny_backbone, (-1,))
    tried = spied(monkeypatch)
    rows = list(compute_rows(iter(images), backbone, CPU, "float16"))
    assert tried == [1] * len(images)
    for image, row in zip(images, rows, strict=True):
        assert torch.equal(row["features"], alone(image, backbone, "float16"))


@pytest.mark.parametrize(
    ("batch_size", "room_for", "sizes"),
    [(8, 2, [5, 2, 2, 1, 2, 2]), (2, 1, [2, 1, 1, 1, 1, 1, 1, 1, 1, 1])],
)
def test_batches_are_halved_until_they_fit(
    images: list[ImageFile],
    tiny_backbone: Path,
    batch_size: int,
    room_for: int,
    sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = load_torch_backbone(tiny_backbone, (-1,))
    expected = list(compute_rows(iter(images), backbone, CPU, "float16"))
    tried = spied(monkeypatch, room_for=room_for)
    found = list(compute_rows(iter(images), backbone, CPU, "float16", batch_size))
    assert tried == sizes
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one["features"], other["features"])


def test_an_image_too_large_for_the_memory_is_one_clear_error(
    images: list[ImageFile], tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spied(monkeypatch, room_for=0)
    backbone = load_torch_backbone(tiny_backbone, (-1,))
    with pytest.raises(CacheError, match=r"(?s)too much for the memory.*features.megapixels"):
        list(compute_rows(iter(images), backbone, CPU, "float16", 4))


def test_openvino_s_lack_of_memory_is_the_same_error(
    images: list[ImageFile], tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone: Any = load_backbone(tiny_backbone, (-1,))

    def fail(pixels: torch.Tensor) -> None:
        raise RuntimeError("Exception from src/plugins/intel_cpu: std::bad_alloc")

    monkeypatch.setattr(backbone, "on_one_thread", fail)
    with pytest.raises(CacheError, match=r"(?s)too much for the memory.*features.megapixels"):
        list(compute_rows(iter(images), backbone, CPU, "float16"))


@pytest.mark.parametrize("load", [load_backbone, load_torch_backbone])
def test_other_errors_are_not_taken_for_a_lack_of_memory(
    images: list[ImageFile], tiny_backbone: Path, load: Any
) -> None:
    backbone = load(tiny_backbone, (-1,))
    wrong = images[0]._replace(size=(43, 57))
    with pytest.raises(BackboneError, match="multiples of 14"):
        list(compute_rows(iter([wrong]), backbone, CPU, "float16"))


@pytest.mark.parametrize("load", [load_backbone, load_torch_backbone])
def test_an_image_that_can_no_longer_be_read_ends_it(
    images: list[ImageFile], tiny_backbone: Path, load: Any
) -> None:
    images[3].path.unlink()
    rows = compute_rows(iter(images), load(tiny_backbone, (-1,)), CPU, "float16")
    with pytest.raises(DataError, match=r"3\.png"):
        list(rows)


@pytest.mark.parametrize("load", [load_backbone, load_torch_backbone])
def test_only_a_few_images_are_read_before_they_are_asked_for(
    images: list[ImageFile], tiny_backbone: Path, load: Any
) -> None:
    taken = 0

    def endless() -> Iterator[ImageFile]:
        nonlocal taken
        while True:
            taken += 1
            yield images[0]

    rows = compute_rows(endless(), load(tiny_backbone, (-1,)), CPU, "float16")
    for _ in range(50):
        next(rows)
    assert taken < 50 + 4 * max(torch.get_num_threads(), 4) + 2
    rows.close()  # type: ignore[attr-defined]
