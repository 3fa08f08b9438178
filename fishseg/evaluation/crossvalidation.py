"""How well a decoder would do on a labelled folder, each picture scored by one that never saw it.

For a folder too small to spare pictures for a test: the pictures are dealt to folds, whole
photographs at a time, and each fold is scored by a decoder trained on the others, and on flipped
and turned views of them. No number of a fold decides anything about its decoder: the number of
steps is fixed and the last weights are kept.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from fishseg import splits, tables
from fishseg.audit.mask_values import read_values, resolve_rule
from fishseg.errors import DataError
from fishseg.evaluation.predicting import predict_cached
from fishseg.evaluation.scoring import score
from fishseg.features.shards import FeatureCache
from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import AUTO, ZERO_255
from fishseg.images.masks import read_mask, read_truth
from fishseg.metrics.masks import score_image
from fishseg.params import SplitParams, TrainParams
from fishseg.prediction.tta import N_VIEWS, turn, view_id
from fishseg.store import file_sha256
from fishseg.training import loop

log = logging.getLogger(__name__)

# An epoch of few pictures is few steps; a decoder needs some hundreds.
MIN_STEPS = 200
# A decoder that is trained already forgets less at a lower rate, and when moved half way back.
FINE_TUNING = 0.25  # of the learning rate
WISE_FT_ALPHA = 0.5
# What views of a mask hold where it does not count.
UNKNOWN_LEVEL = 128
THEIRS = "write them as 0 and 255, by the rule {}"


def cross_validate(
    inventory: pd.DataFrame,
    cache: FeatureCache,
    params: TrainParams,
    device: torch.device,
    *,
    folds: int,
    views: pd.DataFrame,
    threshold: float,
    tta: int = 1,
) -> pd.DataFrame:
    """Score every picture with a decoder trained on the other folds.

    Args:
        inventory: the pictures, a row each.
        cache: the features of pictures and views.
        params: how to train; more epochs are run where they would make too few steps.
        device: where to train.
        folds: the number of folds, at least 2.
        views: what `write_views` gives, or an empty table.
        threshold: the probability from which a pixel is fish.
        tta: how many views of a picture its score averages over.

    Returns:
        What `fishseg.evaluation.scoring.score` gives, in the order of ``sample_id``.

    Raises:
        DataError: there are fewer photographs than folds.
    """
    parts = []
    for fold in range(folds):
        split_params = SplitParams(
            strategy="grouped",
            val_fraction=0,
            test_fraction=0,
            folds=folds,
            fold=fold,
            held_out_class="",
            train_photos_per_class=0,
            seed=params.seed,
        )
        # One class: the folds shall be even over all pictures, however few there are of a class.
        manifest = splits.make_manifest(inventory.assign(class_name="all"), split_params)
        train_groups = manifest.loc[manifest["split"] == "train", "group_id"]
        seen = views[views["group_id"].isin(train_groups)].assign(class_name="all", split="train")
        whole = pd.concat([manifest, seen[tables.MANIFEST_COLUMNS]], ignore_index=True)
        n_train = int((whole["split"] == "train").sum())
        recipe = _recipe(params, n_train)
        parts.append(
            train_and_score(inventory, whole, cache, recipe, device, threshold=threshold, tta=tta)
        )
    return pd.concat(parts).sort_values("sample_id", ignore_index=True)


def train_and_score(
    inventory: pd.DataFrame,
    manifest: pd.DataFrame,
    cache: FeatureCache,
    params: TrainParams,
    device: torch.device,
    *,
    threshold: float,
    tta: int = 1,
) -> pd.DataFrame:
    """Train on the manifest's train split, and score each image of val.

    Args:
        inventory: the samples of val with the masks to measure against, which need not be those
            that were trained on.
        manifest: who trains and who is tested.
        cache: the features and masks of all of them.
        params: how to train.
        device: where to.
        threshold: the probability from which a pixel is fish.
        tta: see `fishseg.evaluation.predicting.predict_cached`.

    Returns:
        What `fishseg.evaluation.scoring.score` gives, in the manifest's order.
    """
    result = loop.train(cache, manifest, params, device)
    val = manifest.loc[manifest["split"] == "val", ["sample_id"]]
    samples = val.merge(inventory, on="sample_id", validate="1:1")
    decoder = result.decoder.eval()
    predictions = predict_cached(
        samples, cache, decoder, result.card, device, tta=tta, threshold=threshold
    )
    return score(predictions, len(samples), threshold=threshold).table


def write_views(inventory: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Write the seven other ways to flip and turn each picture by right angles.

    Exact: no pixel is resampled. A backbone's features do not turn with the image, so these are
    new features to learn from.

    Args:
        inventory: the pictures, a row each.
        folder: where to write the views and their masks.

    Returns:
        Rows as the inventory's. ``sample_id`` ends in the number of the view; ``group_id`` is that
        of the picture, so that no view of a picture stands on the other side of a split.
    """
    rows: list[dict[str, object]] = []
    for number, (_, sample) in enumerate(inventory.iterrows()):
        image = read_image(Path(sample["image_path"]))
        truth = read_truth(Path(sample["mask_path"]), image.shape[:2], sample["mask_rule"])
        levels = truth.fish.astype(np.uint8) * 255
        if truth.valid is not None:
            levels[~truth.valid] = UNKNOWN_LEVEL
        rule = ZERO_255 if truth.valid is None else f"{ZERO_255}; ignore: {UNKNOWN_LEVEL}"
        for view in range(1, N_VIEWS):
            image_path = folder / f"{number:05d}-{view}.png"
            mask_path = folder / f"{number:05d}-{view}-mask.png"
            turned = turn(image, view)
            Image.fromarray(turned).save(image_path)
            Image.fromarray(turn(levels, view)).save(mask_path)
            changed: dict[str, object] = {
                "sample_id": view_id(sample["sample_id"], view),
                "image_path": str(image_path),
                "mask_path": str(mask_path),
                "raw_mask_path": str(mask_path),
                "mask_rule": rule,
                "raw_mask_rule": rule,
                "image_sha256": file_sha256(image_path),
                "mask_sha256": file_sha256(mask_path),
                "height": turned.shape[0],
                "width": turned.shape[1],
            }
            rows.append(dict(sample) | changed)
    return pd.DataFrame(rows, columns=inventory.columns)


def _recipe(params: TrainParams, n_train: int) -> TrainParams:
    steps_per_epoch = math.ceil(n_train / params.batch_size)
    epochs = max(params.epochs, math.ceil(MIN_STEPS / steps_per_epoch))
    params = params.model_copy(update={"epochs": epochs, "keep": "last"})
    if params.init_from:
        rate = params.learning_rate * FINE_TUNING
        params = params.model_copy(update={"learning_rate": rate, "wise_ft_alpha": WISE_FT_ALPHA})
    return params


def score_masks(inventory: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Score masks that something else made: one a picture, with the name of its file.

    Raises:
        DataError: a picture has no mask there, or more than one.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.png")):
        found.setdefault(path.stem, []).append(path)
    rows = []
    files = [path for paths in found.values() for path in paths]
    rule = resolve_rule(
        [read_values(path) for path in files],
        [path.relative_to(folder).as_posix() for path in files],
        AUTO,
        choice=THEIRS,
    )
    for sample in inventory.itertuples(index=False):
        candidates = found.get(Path(str(sample.image_path)).stem, [])
        if len(candidates) != 1:
            raise DataError(
                f"{len(candidates)} masks are named like {sample.sample_id}",
                where=folder,
                expected="one PNG a picture, of the same name",
            )
        size = (int(sample.height), int(sample.width))  # type: ignore[arg-type]
        theirs = read_mask(candidates[0], size, rule)
        truth = read_truth(Path(str(sample.mask_path)), size, str(sample.mask_rule))
        scores = score_image(theirs, *truth)
        rows.append({"sample_id": sample.sample_id, "group_id": sample.group_id, **scores})
    return pd.DataFrame(rows)
