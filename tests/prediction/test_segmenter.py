from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fishseg import splits, tables
from fishseg.decoders.files import (
    CARD_NAME,
    check_origin,
    decoder_sha256,
    load_decoder,
    read_card,
    save_decoder,
)
from fishseg.errors import BackboneError, CacheError
from fishseg.evaluation import files, predicting, scoring
from fishseg.features.shards import FeatureCache
from fishseg.images.decoding import read_image
from fishseg.images.masks import read_mask
from fishseg.metrics.familiarity import Familiarity
from fishseg.params import EvaluateParams, SplitParams, TrainParams
from fishseg.prediction import tta
from fishseg.prediction.fine import FineModel
from fishseg.prediction.pooled import Pooled
from fishseg.prediction.segmenter import Segmenter
from fishseg.prediction.stored import Predictions
from fishseg.training import loop

CPU = torch.device("cpu")
EVALUATE = EvaluateParams(threshold=0.5, bootstrap_samples=50, seed=0)


@pytest.fixture
def manifest(inventory: pd.DataFrame, split_params: SplitParams) -> pd.DataFrame:
    return splits.make_manifest(inventory, split_params)


@pytest.fixture
def decoder_folder(
    cache: FeatureCache, manifest: pd.DataFrame, train_params: TrainParams, workspace: Path
) -> Path:
    result = loop.train(cache, manifest, train_params, CPU)
    save_decoder(result.decoder, result.card, workspace / "decoder")
    return workspace / "decoder"


@pytest.mark.parametrize(("threshold", "certainty"), [(0.5, 0.0), (0.45, 0.0), (0.5, 0.7)])
def test_a_file_and_its_cached_features_give_the_same_mask(
    threshold: float,
    certainty: float,
    inventory: pd.DataFrame,
    cache: FeatureCache,
    decoder_folder: Path,
    tiny_backbone: Path,
) -> None:
    card = json.loads((decoder_folder / CARD_NAME).read_text())
    (decoder_folder / CARD_NAME).write_text(json.dumps({**card, "certainty": certainty}))
    segmenter = Segmenter.load(decoder_folder, tiny_backbone, CPU, threshold=threshold)
    cached = predicting.predict_cached(inventory, cache, segmenter.decoder, segmenter.card, CPU)
    for predicted, path in zip(cached, inventory["image_path"], strict=True):
        mask = segmenter.mask(read_image(Path(path)))
        assert mask.any()
        assert not mask.all()
        assert np.array_equal(mask, predicted.mask(segmenter.threshold))


def test_an_answer_is_the_probability_with_what_the_backbone_saw(
    decoder_folder: Path, tiny_backbone: Path, cache: FeatureCache, inventory: pd.DataFrame
) -> None:
    image = read_image(Path(inventory["image_path"][0]))
    plain = Segmenter.load(decoder_folder, tiny_backbone, CPU, tta=2)
    assert plain.answer(image).seen is None
    n_channels = cache.index.channels
    Familiarity(
        directions=np.eye(n_channels, dtype=np.float16)[:2],
        origin=np.zeros(2, np.float32),
        mean=np.zeros(2, np.float32),
        precision=np.eye(2, dtype=np.float32),
        farthest=np.array([1], np.float32),
    ).save(decoder_folder)
    segmenter = Segmenter.load(decoder_folder, tiny_backbone, CPU, tta=2)
    answer = FineModel(model=segmenter).answer(image)
    assert np.array_equal(segmenter.answer(image).probability, plain.probability(image))
    assert answer.seen is not None
    cached = cache.batch([inventory["sample_id"][0]]).features[0].float().numpy()
    np.testing.assert_allclose(answer.seen.embedding, cached[:2], rtol=1e-6)


def test_a_turned_picture_gets_the_turned_answer_of_eight_views(
    decoder_folder: Path, tiny_backbone: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 255, (56, 56, 3), dtype=np.uint8)
    differences = {}
    for n in (1, 8):
        segmenter = Segmenter.load(decoder_folder, tiny_backbone, CPU, tta=n)
        expected = segmenter.probability(image)
        found = tta.turn_back(segmenter.probability(tta.turn(image, 5)), 5)
        differences[n] = np.abs(found - expected).max()
    # Rounding to levels may tip one level either way.
    assert differences[8] < 1.01 / 256 < differences[1]


@pytest.mark.parametrize("rows_at_once", [3, 1000])
def test_scores_of_files_and_of_the_cache_agree(
    rows_at_once: int,
    inventory: pd.DataFrame,
    cache: FeatureCache,
    decoder_folder: Path,
    tiny_backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scoring, "ROWS_AT_ONCE", rows_at_once)
    segmenter = Segmenter.load(decoder_folder, tiny_backbone, CPU)
    said = predicting.predict_files(inventory, segmenter)
    from_files = scoring.score(said, len(inventory), threshold=0.5).table
    assert list(from_files["sample_id"]) == list(inventory["sample_id"])
    cached = predicting.predict_cached(inventory, cache, segmenter.decoder, segmenter.card, CPU)
    from_cache = scoring.score(cached, len(inventory), threshold=0.5).table
    pd.testing.assert_frame_equal(from_files, from_cache)


def test_the_score_is_taken_at_the_original_resolution(
    inventory: pd.DataFrame, cache: FeatureCache, decoder_folder: Path, tiny_backbone: Path
) -> None:
    segmenter = Segmenter.load(decoder_folder, tiny_backbone, CPU)
    first = inventory.iloc[:1]
    scores = scoring.score(predicting.predict_files(first, segmenter), 1, threshold=0.5).table
    image = read_image(Path(first["image_path"].iloc[0]))
    truth = read_mask(Path(first["mask_path"].iloc[0]), (image.shape[0], image.shape[1]), "not 0")
    mask = segmenter.mask(image)
    assert mask.shape == truth.shape == (44, 59)
    assert scores["iou"].iloc[0] == pytest.approx((mask & truth).sum() / (mask | truth).sum())


def test_a_decoder_refuses_a_backbone_it_was_not_trained_on(
    decoder_folder: Path, tiny_backbone: Path
) -> None:
    card = decoder_folder / CARD_NAME
    tree = json.loads(card.read_text())
    tree["backbone"]["weights_sha256"] = "0" * 64
    card.write_text(json.dumps(tree))
    with pytest.raises(BackboneError, match="dvc checkout"):
        Segmenter.load(decoder_folder, tiny_backbone, CPU)


def test_the_evaluation_writes_predictions_and_tables(
    inventory: pd.DataFrame,
    manifest: pd.DataFrame,
    cache: FeatureCache,
    decoder_folder: Path,
    workspace: Path,
) -> None:
    decoder, card = load_decoder(decoder_folder, CPU)
    summary = files.evaluate_cached(
        samples=predicting.with_rejected(manifest, inventory),
        cache=cache,
        decoder=decoder,
        card=card,
        params=EVALUATE,
        device=CPU,
        decoder_sha256=decoder_sha256(decoder_folder),
        predictions=workspace / "predictions",
        pooled=workspace / "pooled",
        tables=workspace / "tables",
    )
    assert [summary[split]["n_images"] for split in tables.SPLITS] == [4, 2, 2]
    scores = pd.read_csv(workspace / "tables/images.csv")
    assert list(scores["sample_id"]) == list(manifest["sample_id"])
    val = scores[scores["split"] == "val"]
    assert summary["val"]["mean_iou"] == pytest.approx(val["iou"].mean(), abs=1e-5)
    assert sorted(path.name for path in (workspace / "tables").iterdir()) == [
        "images.csv",
        "per_class.csv",
        "reliability.csv",
        "risk_coverage.csv",
    ]
    stored = Predictions(workspace / "predictions")
    assert stored.about["decoder"] == card.decoder
    assert list(stored.samples["sample_id"]) == list(manifest["sample_id"])
    stored.check_decoder(decoder_sha256(decoder_folder))
    with pytest.raises(CacheError, match="dvc repro evaluate"):
        stored.check_decoder("0" * 64)
    pooled = Pooled.read(workspace / "pooled")
    assert list(pooled.samples["sample_id"]) == list(manifest["sample_id"])
    assert pooled.features["backbone"]["weights_sha256"] == card.backbone["weights_sha256"]
    # By hand, for one: each patch counts by the share of it that the mask covers.
    batch = cache.batch([manifest["sample_id"].iloc[3]])
    features = batch.features[0].double()
    _, height, width = features.shape
    share = torch.nn.functional.adaptive_avg_pool2d(batch.target(), (height, width))[0, 0]
    expected = (features * share).sum(dim=(1, 2)) / share.sum()
    assert pooled.given[3] == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-3)
    assert pooled.predicted.shape == pooled.given.shape


def test_a_decoder_is_measured_on_what_it_was_trained_from_alone(
    manifest: pd.DataFrame, cache: FeatureCache, decoder_folder: Path
) -> None:
    card = read_card(decoder_folder)
    check_origin(card, cache, manifest)
    other = manifest.assign(split=manifest["split"].replace({"test": "val"}))
    with pytest.raises(CacheError, match="other split"):
        check_origin(card, cache, other)
    elsewhere = dataclasses.replace(card, trained_from={})
    with pytest.raises(CacheError, match="other features"):
        check_origin(elsewhere, cache, manifest)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"fit": "squarish"}, "fit"),
        ({"newer": 1}, "another version of fishseg wrote decoder.json: newer"),
        ({"decoder": "detailx"}, "detailx"),
        ({"layers": None}, "layers"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(
    decoder_folder: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(decoder_folder, folder)
    tree = json.loads((folder / CARD_NAME).read_text())
    (folder / CARD_NAME).write_text(json.dumps({**tree, **change}))
    with pytest.raises(CacheError, match=f"no usable decoder: .*{said}") as caught:
        load_decoder(folder, CPU)
    assert caught.value.where == str(folder)


def test_a_rejected_mask_counts_in_the_raw_score_alone(
    inventory: pd.DataFrame, manifest: pd.DataFrame, cache: FeatureCache, decoder_folder: Path
) -> None:
    val = manifest.loc[manifest["split"] == "val", "sample_id"].iloc[0]
    rejected = inventory.copy()
    rejected.loc[rejected["sample_id"] == val, "mask_status"] = "rejected"
    rest = manifest[manifest["sample_id"] != val]
    sibling = rest.index[rest["split"] == "val"][0]
    group = inventory.set_index("sample_id")["group_id"][val]
    rest = rest.copy()
    rest.loc[sibling, "group_id"] = group
    decoder, card = load_decoder(decoder_folder, CPU)
    samples = predicting.with_rejected(rest, rejected)
    assert samples["sample_id"].iloc[-1] == val
    assert samples["split"].iloc[-1] == "val"
    predictions = predicting.predict_cached(samples, cache, decoder, card, CPU)
    scores = scoring.score(predictions, len(samples), threshold=0.5).table
    summary = scoring.summarise_splits(scores, EVALUATE)["val"]
    in_val = scores[scores["split"] == "val"]
    assert summary["n_images"] == 1
    assert summary["audited_mask_iou"] == summary["mean_iou"]
    assert summary["raw_mask_iou"] == pytest.approx(in_val["iou"].mean(), abs=1e-6)


def test_a_repaired_mask_is_scored_as_repaired_and_as_it_came(
    inventory: pd.DataFrame, cache: FeatureCache, decoder_folder: Path
) -> None:
    repaired = inventory.iloc[:1].copy()
    repaired["mask_path"] = inventory["mask_path"].iloc[1]
    decoder, card = load_decoder(decoder_folder, CPU)

    def score(samples: pd.DataFrame) -> pd.DataFrame:
        predictions = predicting.predict_cached(samples, cache, decoder, card, CPU)
        return scoring.score(predictions, len(samples), threshold=0.5).table

    before, after = score(inventory.iloc[:1]), score(repaired)
    assert after["raw_iou"].iloc[0] == before["iou"].iloc[0]
    assert after["iou"].iloc[0] != before["iou"].iloc[0]
