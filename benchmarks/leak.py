"""What a random split hides: ``make leak``.

Splits the audited inventory twice with the parameters in ``params.yaml``, once at random and once
by photograph, trains the same decoder on each from the cached features, and prints how many val
images have a sibling in train, and what val IoU each split reports.
"""

from __future__ import annotations

import logging
from typing import Any

from benchmarks.results import NUMBERS, write_between_marks
from fishseg import devices, params, splits
from fishseg.errors import FishsegError
from fishseg.evaluation.crossvalidation import train_and_score
from fishseg.features.shards import FeatureCache
from fishseg.metrics.masks import summarise
from fishseg.tables import read_inventory
from stages import FEATURES, INVENTORY


def main() -> None:
    """Measure, print, and write the table into docs/numbers.md."""
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
    write_between_marks("leak: make leak", table, NUMBERS)


def measure(strategy: str) -> dict[str, Any]:
    """The leak of a split and the val IoU of a decoder trained on it."""
    split_params = params.load(params.SplitParams).model_copy(update={"strategy": strategy})
    settings = params.load(params.EvaluateParams)
    train_params = params.load(params.TrainParams)
    inventory = read_inventory(INVENTORY)
    manifest = splits.make_manifest(inventory, split_params)
    cache = FeatureCache(FEATURES)
    scores = train_and_score(
        inventory,
        manifest,
        cache,
        train_params,
        devices.select(),
        threshold=params.load(params.EvaluateParams).threshold,
    )
    summary = summarise(scores, bootstrap_samples=settings.bootstrap_samples, seed=settings.seed)
    keys = ("n_images", "n_groups", "mean_iou", "iou_ci_low", "iou_ci_high")
    return {
        "val_leak": splits.summary(manifest)["val_leak"],
        **{key: summary[key] for key in keys},
    }


if __name__ == "__main__":
    main()
