from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from fishseg.errors import CacheError
from fishseg.metrics.familiarity import FILE_NAME, Familiarity, patches_of


def familiarity(n_channels: int = 6, n_directions: int = 3) -> Familiarity:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(n_directions, n_directions))
    return Familiarity(
        directions=rng.normal(size=(n_directions, n_channels)).astype(np.float16),
        origin=rng.normal(size=n_directions).astype(np.float32),
        mean=rng.normal(size=n_directions).astype(np.float32),
        precision=(root @ root.T).astype(np.float32),
        farthest=np.array([2.5], np.float32),
    )


def test_the_patches_of_a_mask_are_those_that_it_covers_by_half() -> None:
    feature_map = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    mask = np.zeros((30, 40), bool)
    mask[10:20, 10:36] = True  # patches 5 and 6 wholly, 7 to six tenths
    assert patches_of(mask, feature_map).ravel().tolist() == [5, 6, 7]
    mask[:, 34:] = False
    assert patches_of(mask, feature_map).ravel().tolist() == [5, 6]


def test_a_fish_smaller_than_a_patch_has_the_patch_it_lies_in() -> None:
    feature_map = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    mask = np.zeros((30, 40), bool)
    mask[22:24, 28:33] = True
    assert patches_of(mask, feature_map).ravel().tolist() == [11]


def test_a_cut_out_mask_has_the_patches_of_the_whole_one() -> None:
    feature_map = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    mask = np.zeros((63, 101), bool)
    mask[11:40, 17:80] = np.random.default_rng(1).random((29, 63)) < 0.8
    cut_out = patches_of(mask[11:40, 17:80], feature_map, (63, 101), (17, 11))
    assert np.array_equal(cut_out, patches_of(mask, feature_map))


def test_the_distance_is_that_of_mahalanobis() -> None:
    known = familiarity()
    patches = np.array([[0.3, -2, 1], [0.5, 0, 3]], np.float32)
    expected = mahalanobis([0.4, -1, 2], known.mean, known.precision)
    assert known.distance(patches) == pytest.approx(expected, rel=1e-5)
    nearer, farther = (
        dataclasses.replace(known, farthest=np.array([factor * expected], np.float32))
        for factor in (0.9, 1.1)
    )
    assert nearer.is_unlike(patches)
    assert not farther.is_unlike(patches)


def test_an_embedding_is_a_projection_of_every_patch() -> None:
    known = familiarity()
    features = np.random.default_rng(1).normal(size=(6, 2, 3)).astype(np.float16)
    embedding = known.embed(features)
    assert embedding.shape == (3, 2, 3)
    one = known.directions.astype(np.float32) @ features[:, 1, 2].astype(np.float32) - known.origin
    np.testing.assert_allclose(embedding[:, 1, 2], one, rtol=1e-5)


def test_it_is_kept_in_a_small_file(tmp_path: Path) -> None:
    kept = familiarity(n_channels=768, n_directions=64)
    kept.save(tmp_path)
    assert (tmp_path / FILE_NAME).stat().st_size < 150_000
    found = Familiarity.load(tmp_path)
    assert found is not None
    for name, value in vars(kept).items():
        assert np.array_equal(getattr(found, name), value)


def test_a_decoder_without_the_file_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert Familiarity.load(tmp_path) is None
    assert len(caplog.messages) == 1
    assert "does not know what its training pictures looked like" in caplog.text


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    familiarity().save(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CacheError, match="dvc repro train"):
        Familiarity.load(tmp_path)
