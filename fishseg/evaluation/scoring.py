"""Measure predictions against the masks, image by image, at the images' original resolution."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from fishseg.evaluation.counting import match_fish
from fishseg.images.masks import read_objects, read_truth
from fishseg.images.resizing import resize_mask
from fishseg.metrics.calibration import LevelCounts
from fishseg.metrics.confidence import selective_risk, stability
from fishseg.metrics.masks import iou, overlap_counts, score_image, summarise
from fishseg.parallel import ordered_map
from fishseg.prediction.model import from_levels
from fishseg.tables import SPLITS

if TYPE_CHECKING:
    from fishseg.metrics.panoptic import ImageMatches
    from fishseg.params import EvaluateParams
    from fishseg.prediction.stored import Predicted

# A table holds a row in a tenth of the memory that a dictionary takes.
ROWS_AT_ONCE = 1000
# What a row of scores says of its sample.
IDENTITY = ("sample_id", "class_name", "group_id", "mask_status", "split")


class Scores(NamedTuple):
    """What predictions are worth.

    Attributes:
        table: a row a sample, in the order given: ``sample_id, class_name, group_id,
            mask_status``, ``split`` where the samples have one, what
            `fishseg.metrics.masks.score_image` gives at the original resolution, ``raw_iou``
            against the raw mask, ``confidence``, and ``batch_intersection, batch_union`` in pixels
            of the working resolution.
        levels: of each split, its pixels by probability, at the working resolution and without
            samples whose mask was rejected.
        instances: of each split, the fish of each image whose mask numbers them, by what was taken
            for a fish (see `fishseg.evaluation.counting.match_fish`); without rejected masks.
    """

    table: pd.DataFrame
    levels: dict[str, LevelCounts]
    instances: dict[str, dict[str, list[ImageMatches]]]


def score(predictions: Iterable[Predicted], n_samples: int, *, threshold: float) -> Scores:
    """Score predictions against the masks of their samples.

    Args:
        predictions: of samples with the columns of the inventory that name and size their files.
        n_samples: how many there are, for the progress bar.
        threshold: the probability from which a pixel is fish.

    Raises:
        DataError: a mask that can no longer be read.
    """
    scored = ordered_map(lambda one: _score_one(one, threshold), predictions)
    progress = iter(tqdm(scored, total=n_samples, desc="score", unit="image"))
    tables = []
    levels: dict[str, LevelCounts] = defaultdict(LevelCounts)
    instances: dict[str, dict[str, list[ImageMatches]]] = defaultdict(lambda: defaultdict(list))
    while some := list(itertools.islice(progress, ROWS_AT_ONCE)):
        tables.append(pd.DataFrame([row for row, _, _ in some]))
        for row, counted, matches in some:
            if row["mask_status"] != "rejected":
                split = row.get("split", "")
                levels[split].add(counted)
                for way, found in matches.items():
                    instances[split][way].append(found)
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return Scores(table, dict(levels), {split: dict(ways) for split, ways in instances.items()})


def _score_one(
    predicted: Predicted, threshold: float
) -> tuple[dict[str, Any], LevelCounts, dict[str, ImageMatches]]:
    sample = predicted.sample
    size = (sample.height, sample.width)
    answer = predicted.answer()
    probability = answer.probability
    mask = probability >= threshold
    truth = read_truth(Path(sample.mask_path), size, sample.mask_rule)
    scores = score_image(mask, *truth)
    raw_iou = scores["iou"]
    if sample.raw_mask_path != sample.mask_path:
        raw_truth = read_truth(Path(sample.raw_mask_path), size, sample.raw_mask_rule)
        raw_iou = iou(overlap_counts(mask, *raw_truth))
    working_truth = resize_mask(truth.fish, predicted.levels.shape) >= 128
    working_valid = None
    if truth.valid is not None:
        working_valid = resize_mask(truth.valid, predicted.levels.shape) >= 128
    found = from_levels(predicted.levels) >= threshold
    working = overlap_counts(found, working_truth, working_valid)
    row = {
        **{name: getattr(sample, name) for name in IDENTITY if hasattr(sample, name)},
        **scores,
        "raw_iou": raw_iou,
        "confidence": stability(probability, threshold),
        "batch_intersection": working.intersection,
        "batch_union": working.union,
    }
    objects = read_objects(Path(sample.mask_path), size, sample.mask_rule)
    matches = {} if objects is None else match_fish(answer, threshold, objects, truth.valid)
    return row, LevelCounts.of(predicted.levels, working_truth, working_valid), matches


def summarise_splits(scores: pd.DataFrame, params: EvaluateParams) -> dict[str, Any]:
    """What ``metrics/evaluate.json`` says: the metrics of each split.

    Beside the metrics on the masks that the audit lets stand or has repaired, which
    ``audited_mask_iou`` repeats, ``raw_mask_iou`` is the mean IoU with the raw masks,
    samples with a rejected mask included: nobody's score rises by leaving out hard cases.
    ``confidence`` is what `summarise_confidence` gives.
    """
    summary: dict[str, Any] = {}
    for split in SPLITS:
        whole = scores[scores["split"] == split]
        kept = whole[whole["mask_status"] != "rejected"]
        summary[split] = summarise(
            kept, bootstrap_samples=params.bootstrap_samples, seed=params.seed
        )
        if len(kept):
            summary[split]["audited_mask_iou"] = round(float(kept["iou"].mean()), 6)
            summary[split]["raw_mask_iou"] = round(float(whole["raw_iou"].mean()), 6)
            summary[split]["confidence"] = summarise_confidence(kept)
    return summary


def summarise_confidence(scores: pd.DataFrame) -> dict[str, float]:
    """How well the confidence sorts images by their IoU.

    Returns:
        ``spearman``, the rank correlation of both (left out where either is the same for all
        images), and ``aurc``, the area under the risk-coverage curve (see
        `fishseg.metrics.confidence.selective_risk`), between that of the best order,
        ``aurc_optimal``, and that of a random one, ``aurc_random``.
    """
    found = {
        "aurc": selective_risk(scores["confidence"], scores["iou"]).mean(),
        "aurc_optimal": selective_risk(scores["iou"], scores["iou"]).mean(),
        "aurc_random": 1 - scores["iou"].mean(),
    }
    if scores[["confidence", "iou"]].nunique().min() > 1:
        found = {"spearman": scores["confidence"].corr(scores["iou"], method="spearman"), **found}
    return {name: round(float(value), 6) for name, value in found.items()}
