from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from red_model import FACTS, red_model

from fishseg.errors import ModelError
from fishseg.images.resizing import at_size
from fishseg.prediction.model import from_levels, to_levels
from fishseg.prediction.onnx_model import DECODER, METADATA_KEY, OnnxSegmenter


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return red_model(tmp_path / "model.onnx", FACTS.to_metadata())


def test_the_file_alone_says_how_it_is_used(model_file: Path) -> None:
    segmenter = OnnxSegmenter.load(model_file, n_threads=1)
    assert segmenter.threshold == 0.3
    assert OnnxSegmenter.load(model_file, threshold=0.7).threshold == 0.7
    assert segmenter.facts == FACTS
    image = np.zeros((44, 59, 3), np.uint8)
    image[:, 30:, 0] = 255
    working = segmenter.working_probability(image)
    assert working.shape == (56, 70)  # 56 * 59 / 44 = 75 is nearer to 70 than to 84
    found = segmenter.probability(image)
    assert found.shape == (44, 59)
    assert np.array_equal(found, at_size(from_levels(to_levels(working)), (44, 59)))
    assert np.array_equal(found >= 0.5, image[..., 0] > 0)
    # The middle of the lowest and of the highest of 256 levels.
    assert (found[:, :28] == 0.5 / 256).all()
    assert (found[:, 33:] == 255.5 / 256).all()


def test_a_part_that_is_nowhere_certain_is_no_fish(tmp_path: Path) -> None:
    card = {**FACTS.card, "certainty": 0.9}
    metadata = dataclasses.replace(FACTS, card=card).to_metadata()
    strict = OnnxSegmenter.load(red_model(tmp_path / "strict.onnx", metadata), threshold=0.3)
    image = np.zeros((56, 70, 3), np.uint8)  # of working size: nothing is resampled
    image[10:40, 5:25, 0], image[10:40, 40:60, 0] = 255, 204
    expected = np.zeros((56, 70), bool)
    expected[10:40, 5:25] = True
    assert np.array_equal(strict.probability(image) >= strict.threshold, expected)
    assert np.array_equal(strict.answer(image).probability, strict.probability(image))
    assert strict.working_probability(image)[20, 50] == pytest.approx(0.8)


def test_an_average_over_views(model_file: Path) -> None:
    image = np.zeros((44, 59, 3), np.uint8)
    image[:, 30:, 0] = 255
    one, many = (OnnxSegmenter.load(model_file, tta=tta) for tta in (1, 8))
    # This model looks at each pixel alone, so that views differ where they are resampled.
    np.testing.assert_array_equal(many.probability(image) >= 0.5, one.probability(image) >= 0.5)
    assert many.working_probability(image).shape == one.working_probability(image).shape


def test_a_picture_of_one_pixel_and_a_panorama_have_their_own_size(model_file: Path) -> None:
    segmenter = OnnxSegmenter.load(model_file)
    assert segmenter.working_probability(np.zeros((10, 2000, 3), np.uint8)).shape == (28, 112)
    for size in ((1, 1), (10, 2000)):
        flat = np.full((*size, 3), 51, np.uint8)
        assert segmenter.probability(flat) == pytest.approx(np.full(size, 51.5 / 256), abs=1e-6)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        OnnxSegmenter.load(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"", b"no model", "cut", "flipped"])
def test_a_damaged_file(content: bytes | str, model_file: Path) -> None:
    whole = model_file.read_bytes()
    if content == "cut":
        content = whole[: len(whole) // 2]
    elif content == "flipped":
        content = whole.replace(b"Gather", b"Gath\xffr")
    assert isinstance(content, bytes)
    model_file.write_bytes(content)
    with pytest.raises(ModelError, match="that OpenVINO can run") as raised:
        OnnxSegmenter.load(model_file)
    assert str(model_file) in str(raised.value)


def test_a_model_of_another_program(tmp_path: Path) -> None:
    path = red_model(tmp_path / "model.onnx", {"author": "someone"})
    with pytest.raises(ModelError, match="fishseg did not export it"):
        OnnxSegmenter.load(path)


@pytest.mark.parametrize(
    "change", [{"format": 1}, {"threshold": None, "zoom": 3}, {"format": None}, None]
)
def test_a_model_of_another_version(change: dict[str, Any] | None, tmp_path: Path) -> None:
    tree = json.loads(FACTS.to_metadata()[METADATA_KEY])
    changed = {key: value for key, value in {**tree, **(change or {})}.items() if value is not None}
    text = "[]" if change is None else json.dumps(changed)
    path = red_model(tmp_path / "model.onnx", {METADATA_KEY: text})
    with pytest.raises(ModelError, match="another version of fishseg"):
        OnnxSegmenter.load(path)


def test_the_decoder_alone_cannot_take_pictures(tmp_path: Path) -> None:
    facts = dataclasses.replace(FACTS, part=DECODER)
    path = red_model(tmp_path / "model.onnx", facts.to_metadata())
    with pytest.raises(ModelError, match="without its backbone"):
        OnnxSegmenter.load(path)
