from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fishseg.errors import CacheError
from fishseg.prediction.species import (
    CARD_NAME,
    UNKNOWN,
    WEIGHTS_NAME,
    Distance,
    Regression,
    Species,
    SpeciesClassifier,
    classifier_beside,
    load_classifier,
    pool,
)

CARD: dict[str, Any] = {
    "backbone": {"name": "tiny", "weights_sha256": "1" * 64},
    "layers": (-2, -1),
    "fit": "aspect",
    "image_size": 56,
    "megapixels": 0.0042,
    "dtype": "float16",
    "temperature": 1.5,
}
FEATURES = {**{key: CARD[key] for key in CARD if key != "temperature"}, "layers": [-2, -1]}


def make_classifier(n_channels: int = 2) -> SpeciesClassifier:
    """Bright fish are bream, dark ones are bass; what is not within 3 of either is unknown."""
    eye = np.eye(n_channels, dtype=np.float32)
    centres = np.zeros((2, n_channels), np.float32)
    centres[1, 0] = 4
    weight = np.zeros((2, n_channels), np.float32)
    weight[:, 0] = (-1, 1)
    return SpeciesClassifier(
        classes=("bass", "bream"),
        features=FEATURES,
        regression=Regression(weight=weight, bias=np.array([2, -2], np.float32)),
        distance=Distance(
            class_whitening=eye,
            class_centres=centres,
            whitening=0 * eye,
            centre=np.zeros(n_channels, np.float32),
        ),
        threshold=9.0,
        trained_on={"bass": 3, "bream": 4},
    )


def test_pooling_weighs_patches_by_how_much_is_covered() -> None:
    features = np.array([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 1.0]]], np.float32)
    mask = np.zeros((8, 8), np.bool_)
    mask[:4, :4] = True  # all of the first patch
    mask[4:, 6:] = True  # half of the last one
    assert pool(features, mask) == pytest.approx([(1 + 0.5 * 4) / 1.5, 0.5 / 1.5])
    large = np.kron(mask, np.ones((5, 5), np.bool_))
    assert pool(features, large) == pytest.approx(pool(features, mask))


def test_pooling_at_sizes_that_are_no_multiple_of_the_grid() -> None:
    features = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    whole = np.ones((37, 53), np.bool_)
    assert pool(features, whole) == pytest.approx(features.mean(axis=(1, 2)), abs=1e-5)
    one = np.zeros((400, 500), np.bool_)
    one[399, 499] = True  # a single pixel is under the last patch
    assert pool(features, one) == pytest.approx(features[:, 3, 4], abs=1e-5)


def test_an_empty_mask_has_no_features_and_no_species() -> None:
    features, empty = np.ones((2, 3, 3), np.float32), np.zeros((6, 6), np.bool_)
    assert np.isnan(pool(features, empty)).all()
    assert make_classifier().name(features, empty) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, Species("bass", 0.982)), (4.0, Species("bream", 0.982)), (9.0, Species(UNKNOWN, None))],
)
def test_a_fish_is_named_by_what_lies_under_its_mask(value: float, expected: Species) -> None:
    features = np.full((2, 4, 4), 100.0, np.float32)
    features[:, 1:3, 1:3] = np.array([value, 0])[:, None, None]
    mask = np.zeros((16, 16), np.bool_)
    mask[4:12, 4:12] = True
    assert make_classifier().name(features, mask) == expected


def test_it_survives_the_disk_and_an_onnx_file(tmp_path: Path) -> None:
    made = make_classifier()
    made.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CARD_NAME, WEIGHTS_NAME]
    for again in (load_classifier(tmp_path), SpeciesClassifier.of_metadata(made.to_metadata())):
        assert again is not None
        assert again.to_bytes() == made.to_bytes()
        assert again.classes == made.classes


def test_without_one_there_is_none(tmp_path: Path) -> None:
    assert load_classifier(tmp_path) is None
    assert load_classifier(tmp_path / "nowhere") is None


@pytest.mark.parametrize("damaged", [CARD_NAME, WEIGHTS_NAME])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04K\x01."])
def test_a_damaged_one_is_refused_and_never_unpickled(
    tmp_path: Path, damaged: str, content: bytes
) -> None:
    make_classifier().save(tmp_path)
    (tmp_path / damaged).write_bytes(content)
    with pytest.raises(CacheError, match="dvc repro classify"):
        load_classifier(tmp_path)


def test_it_is_used_for_the_features_it_has_learned_from_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_classifier().save(tmp_path / "classifier")
    found = classifier_beside(tmp_path / "decoder", CARD)
    assert found is not None
    assert found.to_bytes() == make_classifier().to_bytes()
    other = {**CARD, "backbone": {"name": "tiny", "weights_sha256": "2" * 64}}
    with caplog.at_level(logging.WARNING):
        assert classifier_beside(tmp_path / "decoder", other) is None
        assert classifier_beside(tmp_path / "decoder", {**CARD, "megapixels": 1.0}) is None
    assert caplog.text.count("no species are named") == 2
    assert classifier_beside(tmp_path / "elsewhere" / "decoder", CARD) is None


def test_its_card_tells_what_it_is(tmp_path: Path) -> None:
    make_classifier().save(tmp_path)
    card = json.loads((tmp_path / CARD_NAME).read_text(encoding="utf-8"))
    assert card["classes"] == ["bass", "bream"]
    assert card["features"]["backbone"]["weights_sha256"] == "1" * 64
    assert card["threshold"] == 9.0
