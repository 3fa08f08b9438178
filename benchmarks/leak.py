"""What a random split hides: ``make leak``.

Splits the audited inventory twice with the parameters in ``params.yaml``, once at random and once
by photograph, trains the same decoder on each from the cached features, and prints how many val
images have a sibling in train, and what val IoU each split reports.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pandas as pd

from benchmarks.results import write_between_marks
from fishseg import devices, evaluation, params, splits, training
from fishseg.audit.table import read_inventory
from fishseg.errors import FishsegError
from fishseg.features.shards import FeatureCache
from stages import FEATURES, INVENTORY


def main() -> None:
    """Measure, print, and write the table into the README."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        measured = {strategy: measure(strategy) for strategy in ("random", "grouped")}
    except FishsegError as error:
        raise SystemExit(f"ERROR: {error}") from None
    table = [
        "| split | val images with a sibling in train | val mean IoU [95% interval] |",
        "|---|---|---|",
    ]
    for strategy, found in measured.items():
        interval = f"[{found['iou_ci_low']:.3f}, {found['iou_ci_high']:.3f}]"
        table.append(
            f"| {strategy} | {found['val_leak']:.1%} of {found['n_images']} "
            f"| **{found['mean_iou']:.3f}** {interval} |"
        )
    print("\n".join(table))
    write_between_marks("leak: make leak", table)


def measure(strategy: str) -> dict[str, Any]:
    """The leak of a split and the val IoU of a decoder trained on it."""
    split_params = dataclasses.replace(params.load(params.SplitParams), strategy=strategy)
    evaluate_params = params.load(params.EvaluateParams)
    inventory = read_inventory(INVENTORY)
    cache = FeatureCache(FEATURES)
    device = devices.select()
    manifest = splits.make_manifest(inventory, split_params)
    result = training.train(cache, manifest, params.load(params.TrainParams), device)
    scores = score_val(inventory, manifest, cache, result)
    summary = evaluation.summarise_splits(scores, evaluate_params)["val"]
    keys = ("n_images", "n_groups", "mean_iou", "iou_ci_low", "iou_ci_high")
    return {
        "val_leak": splits.summary(manifest)["val_leak"],
        **{key: summary[key] for key in keys},
    }


def score_val(
    inventory: pd.DataFrame,
    manifest: pd.DataFrame,
    cache: FeatureCache,
    result: training.TrainingResult,
) -> pd.DataFrame:
    """Scores of the val split, a row an image."""
    samples = evaluation.with_rejected(manifest[manifest["split"] == "val"], inventory)
    predictions = evaluation.predict_cached(
        samples, cache, result.decoder.eval(), result.card, devices.select()
    )
    return evaluation.score(predictions, len(samples))


if __name__ == "__main__":
    main()
