"""What the stage ``evaluate`` writes: predictions, numbers, and the tables behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from fishseg.evaluation import predicting, scoring
from fishseg.metrics.calibration import LevelCounts
from fishseg.metrics.confidence import selective_risk
from fishseg.metrics.panoptic import summarise_instances
from fishseg.prediction.model import from_levels
from fishseg.prediction.pooled import Pooled
from fishseg.prediction.species import feature_facts, pool
from fishseg.prediction.stored import Predictions, write_predictions
from fishseg.store import make_folder
from fishseg.tables import UNSEEN_SPLITS, write_csv, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import nn

    from fishseg.decoders.files import DecoderCard
    from fishseg.features.shards import FeatureCache
    from fishseg.params import EvaluateParams

# The numbers of each of them that people compare.
SUMMARY_KEYS = ("mean_iou", "iou_ci_low", "iou_ci_high", "boundary_iou", "n_groups")
CURVE_POINTS = 1000  # of a curve that git keeps, however many images there are


def evaluate_cached(
    *,
    samples: pd.DataFrame,
    cache: FeatureCache,
    decoder: nn.Module,
    card: DecoderCard,
    params: EvaluateParams,
    device: torch.device,
    decoder_sha256: str,
    predictions: Path,
    pooled: Path,
    tables: Path,
) -> dict[str, Any]:
    """Predict every sample (see `fishseg.evaluation.predicting.with_rejected`) and score it.

    Args:
        samples: a row a sample.
        cache: their features.
        decoder: in evaluation mode, on ``device``.
        card: what it was trained with.
        params: how to measure.
        device: where to compute.
        decoder_sha256: what tells the decoder from others, for whoever reads what it said.
        predictions: the folder for what the decoder says.
        pooled: the folder for the features under its masks and the given ones.
        tables: the folder for ``images.csv`` (a row a sample), ``per_class.csv`` (of val),
            ``reliability.csv`` and ``risk_coverage.csv`` (of val and test).

    Returns:
        What ``metrics/evaluate.json`` says.
    """
    said = predicting.predict_cached(
        samples, cache, decoder, card, device, threshold=params.threshold
    )
    about = {**describe(card, params.threshold), "decoder_sha256": decoder_sha256}
    write_predictions(said, predictions, about)
    pool_features(Predictions(predictions), cache, params.threshold).write(pooled)
    scores = scoring.score(Predictions(predictions), len(samples), threshold=params.threshold)
    summary = scoring.summarise_splits(scores.table, params)
    kept = scores.table[scores.table["mask_status"] != "rejected"]
    levels = {split: scores.levels.get(split, LevelCounts()) for split in UNSEEN_SPLITS}
    for split, counts in levels.items():
        if summary[split]["n_images"]:
            ece = round(counts.ece(), 6)
            summary[split]["calibration"] = {"temperature": card.temperature, "ece": ece}
    for split, ways in scores.instances.items():
        summary[split]["instances"] = {
            way: summarise_instances(images) for way, images in sorted(ways.items())
        }
    make_folder(tables)
    write_table(
        scores.table.round(6),
        tables / "images.csv",
        predictions / "images.parquet",
        by=["class_name", "split", "mask_status"],
        means=["iou", "boundary_iou"],
    )
    written = {
        "per_class": tabulate_classes(kept[kept["split"] == "val"]),
        "reliability": tabulate_reliability(levels),
        "risk_coverage": tabulate_risk_coverage(kept),
    }
    for name, table in written.items():
        write_csv(table.round(6), tables / f"{name}.csv")
    return {**summary, "decoder": card.provenance(params.threshold)}


def pool_features(predictions: Predictions, cache: FeatureCache, threshold: float) -> Pooled:
    """The features under the masks, given and predicted, of all samples whose mask is trusted."""
    kept = predictions.samples[predictions.samples["mask_status"] != "rejected"]
    # Rows of what is there: small arrays that stay between large ones that go keep their memory.
    given, predicted = (np.empty((len(kept), cache.index.channels), np.float32) for _ in range(2))
    progress = tqdm(predictions.of(kept), total=len(kept), desc="pool", unit="image")
    for number, one in enumerate(progress):
        batch = cache.batch([one.sample.sample_id])
        features = batch.features[0].numpy()
        given[number] = pool(features, batch.target()[0, 0].numpy() > 0)
        predicted[number] = pool(features, from_levels(one.levels) >= threshold)
    return Pooled(
        samples=kept,
        given=given,
        predicted=predicted,
        features=feature_facts(vars(cache.index)),
    )


def describe(card: DecoderCard, threshold: float) -> dict[str, Any]:
    """What said something, for whoever reads it later."""
    return {
        "backbone": card.backbone["name"],
        "layers": list(card.layers),
        "decoder": card.decoder,
        "working_size": f"{card.megapixels:g} MP"
        if card.fit == "aspect"
        else f"{card.image_size} px square",
        "threshold": threshold,
    }


def headline(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What ``metrics/summary.json`` says: of val and test, the numbers that people compare.

    Args:
        summary: what ``metrics/evaluate.json`` says.
    """
    return {
        split: {key: summary[split][key] for key in SUMMARY_KEYS if key in summary[split]}
        for split in UNSEEN_SPLITS
    }


def tabulate_classes(scores: pd.DataFrame) -> pd.DataFrame:
    """A row a class: ``class_name, mean_iou, mean_boundary_iou``."""
    means = scores.groupby("class_name")[["iou", "boundary_iou"]].mean()
    means.columns = pd.Index(["mean_iou", "mean_boundary_iou"])
    return means.reset_index()


def tabulate_reliability(levels: Mapping[str, LevelCounts]) -> pd.DataFrame:
    """What `LevelCounts.reliability` says of each split, with its ``split``."""
    tables = [counts.reliability().assign(split=split) for split, counts in levels.items()]
    return pd.concat(tables, ignore_index=True)


def tabulate_risk_coverage(scores: pd.DataFrame) -> pd.DataFrame:
    """A row an image of val and test, the most confident of each first; of many, some.

    Returns:
        ``split``, ``coverage`` (share of the images), ``risk`` (mean of ``1 - IoU`` over them) and
        ``optimal_risk`` (the same in the best order).
    """
    tables = []
    for split in UNSEEN_SPLITS:
        rows = scores[scores["split"] == split]
        coverage = np.arange(1, len(rows) + 1) / max(1, len(rows))
        risk = selective_risk(rows["confidence"], rows["iou"])
        optimal_risk = selective_risk(rows["iou"], rows["iou"])
        columns = {"coverage": coverage, "risk": risk, "optimal_risk": optimal_risk}
        kept = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), CURVE_POINTS)).astype(int))
        tables.append(pd.DataFrame({"split": split, **columns}).iloc[kept])
    return pd.concat(tables, ignore_index=True)
