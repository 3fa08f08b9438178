"""Evaluation to files: the score of every image, histograms, bars and galleries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from fishseg import plots
from fishseg.decoders.files import DecoderCard
from fishseg.evaluation import scoring
from fishseg.evaluation.scoring import Predicted
from fishseg.features.shards import FeatureCache
from fishseg.images.decoding import read_image
from fishseg.images.masks import read_mask
from fishseg.metrics.calibration import LogitHistogram
from fishseg.metrics.confidence import selective_risk
from fishseg.params import EvaluateParams

# What the decoder has not learned from: only there its probabilities can be held against it.
UNSEEN_SPLITS = ("val", "test")
Predict = Callable[[pd.DataFrame], Iterable[Predicted]]


def evaluate_cached(
    *,
    samples: pd.DataFrame,
    cache: FeatureCache,
    decoder: nn.Module,
    card: DecoderCard,
    params: EvaluateParams,
    device: torch.device,
    folder: Path,
) -> dict[str, Any]:
    """Score every sample (see `scoring.with_rejected`) and draw what a reader wants.

    ``folder`` gets ``images.csv`` (a row a sample), ``per_class.csv`` (of val), ``reliability.csv``
    and ``risk_coverage.csv`` (of val and test), and in ``pictures/`` a histogram, bars a class, how
    far probabilities and confidences can be trusted, and the galleries of val.

    Returns:
        What ``metrics/evaluate.json`` says.
    """

    def predict(samples: pd.DataFrame) -> Iterable[Predicted]:
        return scoring.predict_cached(samples, cache, decoder, card, device)

    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    histograms = {split: LogitHistogram() for split in UNSEEN_SPLITS}
    predictions = scoring.count_logits(predict(samples), histograms, card.temperature)
    scores = scoring.score(predictions, len(samples))
    summary = scoring.summarise_splits(scores, params)
    scores.round(6).to_csv(folder / "images.csv", index=False, lineterminator="\n")
    scores, samples = (table[table["mask_status"] != "rejected"] for table in (scores, samples))
    plots.iou_histogram(scores, pictures / "iou_histogram.png")
    plots.per_class_bars(summary, pictures / "per_class.png")
    for split, histogram in histograms.items():
        if summary[split]["n_images"]:
            summary[split]["calibration"] = histogram.summarise(card.temperature)
    write_reliability(histograms, card.temperature, folder)
    write_risk_coverage(scores, folder)
    val_scores, val_samples = (table[table["split"] == "val"] for table in (scores, samples))
    per_class = val_scores.groupby("class_name")[["iou", "boundary_iou"]].mean().round(6)
    per_class.columns = pd.Index(["mean_iou", "mean_boundary_iou"])
    per_class.to_csv(folder / "per_class.csv", lineterminator="\n")
    draw_galleries(val_scores, val_samples, predict, params, pictures)
    return summary


def write_reliability(
    histograms: Mapping[str, LogitHistogram], temperature: float, folder: Path
) -> None:
    """Write ``reliability.csv``, of each split with and without its temperature, and a picture."""
    tables = [
        histogram.reliability(value).assign(split=split, calibrated=calibrated)
        for split, histogram in histograms.items()
        for calibrated, value in ((1, temperature), (0, 1.0))
    ]
    table = pd.concat(tables, ignore_index=True).round(6)
    table.to_csv(folder / "reliability.csv", index=False, lineterminator="\n")
    plots.reliability(table, folder / "pictures" / "reliability.png")


def write_risk_coverage(scores: pd.DataFrame, folder: Path) -> None:
    """Write ``risk_coverage.csv``, of each split, and a picture.

    Its rows: ``split``, ``coverage`` (share of the images, the most confident first), ``risk``
    (mean of ``1 - IoU`` over them) and ``optimal_risk`` (the same in the best order).
    """
    tables = []
    for split in UNSEEN_SPLITS:
        rows = scores[scores["split"] == split]
        coverage = np.arange(1, len(rows) + 1) / max(1, len(rows))
        risk = selective_risk(rows["confidence"], rows["iou"])
        optimal_risk = selective_risk(rows["iou"], rows["iou"])
        columns = {"coverage": coverage, "risk": risk, "optimal_risk": optimal_risk}
        tables.append(pd.DataFrame({"split": split, **columns}))
    table = pd.concat(tables, ignore_index=True).round(6)
    table.to_csv(folder / "risk_coverage.csv", index=False, lineterminator="\n")
    plots.risk_coverage(table, folder / "pictures" / "risk_coverage.png")


def draw_galleries(
    scores: pd.DataFrame,
    samples: pd.DataFrame,
    predict: Predict,
    params: EvaluateParams,
    folder: Path,
) -> None:
    """Write ``gallery_best.png``, ``gallery_random.png`` and ``gallery_worst.png``.

    Args:
        scores: a row a sample with ``sample_id`` and ``iou``.
        samples: the same samples as rows of the inventory.
        predict: gives the prediction for each row of such a table, in its order.
        params: how many pictures, and the seed of the random ones.
        folder: where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ranked = scores.sort_values(["iou", "sample_id"], ascending=[False, True])
    n_random = min(params.gallery_random, len(scores))
    chosen = {
        "best": ranked.head(params.gallery_best),
        "random": scores.sample(n_random, random_state=params.seed).sort_values("sample_id"),
        "worst": ranked.iloc[::-1].head(params.gallery_worst),
    }
    by_id = samples.set_index("sample_id", drop=False)
    for name, picked in chosen.items():
        rows = by_id.loc[list(picked["sample_id"])]
        items = [
            plots.GalleryItem(
                image=read_image(Path(predicted.sample.image_path)),
                truth=read_mask(
                    Path(predicted.sample.mask_path),
                    predicted.mask.shape,
                    predicted.sample.mask_rule,
                ),
                prediction=predicted.mask,
                iou=iou,
                class_name=predicted.sample.class_name,
                sample_id=predicted.sample.sample_id,
            )
            for predicted, iou in zip(predict(rows), picked["iou"], strict=True)
        ]
        plots.gallery(items, folder / f"gallery_{name}.png", title=f"{len(items)} {name} images")
