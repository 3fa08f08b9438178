"""Measure a decoder against the masks, image by image, at the images' original resolution."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from fishseg.decoders.inference import decode
from fishseg.images.decoding import read_image
from fishseg.images.masks import read_truth
from fishseg.images.resizing import at_size, resize_mask
from fishseg.metrics.confidence import selective_risk, stability
from fishseg.metrics.masks import iou, overlap_counts, score_image, summarise
from fishseg.parallel import ordered_map
from fishseg.prediction import tta
from fishseg.splits import SPLITS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fishseg.decoders.files import DecoderCard
    from fishseg.features.shards import FeatureCache
    from fishseg.metrics.calibration import LogitHistogram
    from fishseg.params import EvaluateParams
    from fishseg.prediction.segmenter import Segmenter


# Nearer to 0 or 1 a float32 probability no longer tells its logit.
SMALLEST_PROBABILITY = 1e-7
# A table holds a row in a tenth of the memory that a dictionary takes.
ROWS_AT_ONCE = 1000
# What a row of scores says of its sample.
IDENTITY = ("sample_id", "class_name", "group_id", "mask_status", "split")
# What predicting and scoring take of the inventory; the rest is not kept in memory.
NEEDED = [
    "sample_id",
    "class_name",
    "group_id",
    "mask_status",
    "image_path",
    "mask_path",
    "raw_mask_path",
    "mask_rule",
    "raw_mask_rule",
    "width",
    "height",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicted:
    """The decoder's answer to one sample.

    Attributes:
        sample: the sample's row.
        mask: ``(H0, W0)`` at the original resolution.
        confidence: its stability, in [0, 1] (see `fishseg.metrics.confidence`).
        working_probability: ``(H, W)`` float32 at the working resolution.
        working_mask: ``(H, W)`` at the working resolution.
        working_truth: ``(H, W)`` at the working resolution.
        working_valid: ``(H, W)`` there, the pixels that count; None if all do.
    """

    sample: Any
    mask: NDArray[np.bool_]
    confidence: float
    working_probability: NDArray[np.float32]
    working_mask: NDArray[np.bool_]
    working_truth: NDArray[np.bool_]
    working_valid: NDArray[np.bool_] | None = None


def predict_cached(
    samples: pd.DataFrame,
    cache: FeatureCache,
    decoder: nn.Module,
    card: DecoderCard,
    device: torch.device,
    *,
    n_views: int = 1,
) -> Iterator[Predicted]:
    """The decoder's answer to every sample, in the order given, from cached features.

    Args:
        samples: a row a sample.
        cache: their features; if ``n_views`` is not 1, also those of their views, each under its
            `fishseg.prediction.tta.view_id`.
        decoder: in evaluation mode, on ``device``.
        card: what it was trained with.
        device: where to compute.
        n_views: 1, or 2, 4 or 8 flipped and turned views to average over.

    Raises:
        CacheError: a sample without features.
    """

    def probability_of(sample_id: str, view: int) -> NDArray[np.float32]:
        # One at a time, as prediction does it: the same sums in the same order.
        batch = cache.batch([tta.view_id(sample_id, view)])
        working = decode(
            decoder, batch.features, batch.pixels, device, temperature=card.temperature
        )
        return working[0, 0].numpy()

    sample: Any
    for sample in samples.itertuples(index=False):
        probability = tta.average(functools.partial(probability_of, sample.sample_id), n_views)
        batch = cache.batch([sample.sample_id])
        truth, counted = batch.target()[0, 0].bool().numpy(), batch.counted()
        valid = None if counted is None else counted[0, 0].numpy()
        yield _predicted(sample, probability, card.threshold, truth, valid)


def predict_files(samples: pd.DataFrame, segmenter: Segmenter) -> Iterator[Predicted]:
    """The segmenter's answer to every sample, in the order given, from the image files.

    Raises:
        DataError: a file that can no longer be read.
    """
    threshold = segmenter.card.threshold
    sample: Any
    for sample in samples.itertuples(index=False):
        probability = segmenter.working_probability(read_image(Path(sample.image_path)))
        truth = read_truth(Path(sample.mask_path), (sample.height, sample.width), sample.mask_rule)
        fish = resize_mask(truth.fish, probability.shape) >= 128
        valid = None
        if truth.valid is not None:
            valid = resize_mask(truth.valid, probability.shape) >= 128
        yield _predicted(sample, probability, threshold, fish, valid)


def _predicted(
    sample: Any,
    working_probability: NDArray[np.float32],
    threshold: float,
    working_truth: NDArray[np.bool_],
    working_valid: NDArray[np.bool_] | None,
) -> Predicted:
    """The answer in a probability ``(H, W)``, at both resolutions."""
    full_probability = at_size(working_probability, (sample.height, sample.width))
    mask = full_probability >= threshold
    return Predicted(
        sample=sample,
        mask=mask,
        confidence=stability(full_probability, threshold),
        working_probability=working_probability,
        working_mask=working_probability >= threshold,
        working_truth=working_truth,
        working_valid=working_valid,
    )


def count_logits(
    predictions: Iterable[Predicted], histograms: Mapping[str, LogitHistogram], temperature: float
) -> Iterator[Predicted]:
    """Pass predictions on, counting the pixels of those whose split has a histogram.

    The logits are counted as they were before the temperature; where a mask was rejected, not at
    all.
    """
    for predicted in predictions:
        sample = predicted.sample
        if sample.split in histograms and sample.mask_status != "rejected":
            probability = torch.from_numpy(predicted.working_probability)
            logits = temperature * torch.logit(probability, eps=SMALLEST_PROBABILITY)
            truth = torch.from_numpy(predicted.working_truth)
            valid = predicted.working_valid
            counted = None if valid is None else torch.from_numpy(valid)
            histograms[sample.split].add(logits, truth, counted)
        yield predicted


def score(predictions: Iterable[Predicted], n_samples: int) -> pd.DataFrame:
    """Score predictions against the masks of their samples.

    Returns:
        A row a sample, in the order given: ``sample_id, class_name, group_id, mask_status``,
        ``split`` where the samples have one, what `fishseg.metrics.masks.score_image` gives at the
        original resolution, ``raw_iou`` against the mask that came with the image, ``confidence``,
        and ``batch_intersection, batch_union`` in pixels of the working resolution.

    Raises:
        DataError: a mask that can no longer be read.
    """
    rows = ordered_map(_score_one, predictions)
    progress = iter(tqdm(rows, total=n_samples, desc="evaluate", unit="image"))
    tables = []
    while some := list(itertools.islice(progress, ROWS_AT_ONCE)):
        tables.append(pd.DataFrame(some))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _score_one(predicted: Predicted) -> dict[str, Any]:
    sample = predicted.sample
    size = (sample.height, sample.width)
    truth = read_truth(Path(sample.mask_path), size, sample.mask_rule)
    scores = score_image(predicted.mask, *truth)
    raw_iou = scores["iou"]
    if sample.raw_mask_path != sample.mask_path:
        raw_truth = read_truth(Path(sample.raw_mask_path), size, sample.raw_mask_rule)
        raw_iou = iou(overlap_counts(predicted.mask, *raw_truth))
    working = overlap_counts(
        predicted.working_mask, predicted.working_truth, predicted.working_valid
    )
    return {
        **{name: getattr(sample, name) for name in IDENTITY if hasattr(sample, name)},
        **scores,
        "raw_iou": raw_iou,
        "confidence": predicted.confidence,
        "batch_intersection": working.intersection,
        "batch_union": working.union,
    }


def with_rejected(manifest: pd.DataFrame, inventory: pd.DataFrame) -> pd.DataFrame:
    """The manifest's samples in its order, with their ``split`` and what is `NEEDED` of them.

    Samples whose mask the audit rejected follow behind; each belongs to the split of its group.
    They count in ``raw_mask_iou`` alone.
    """
    facts = inventory[NEEDED]
    samples = manifest[["sample_id", "split"]].merge(facts, on="sample_id", validate="1:1")
    split_of = manifest.drop_duplicates("group_id").set_index("group_id")["split"]
    rejected = facts[facts["mask_status"] == "rejected"].copy()
    rejected["split"] = rejected["group_id"].map(split_of)
    return pd.concat([samples, rejected.dropna(subset="split")], ignore_index=True)


def summarise_splits(scores: pd.DataFrame, params: EvaluateParams) -> dict[str, Any]:
    """What ``metrics/evaluate.json`` says: the metrics of each split.

    Beside the metrics on the masks that the audit lets stand or has repaired, which
    ``audited_mask_iou`` repeats, ``raw_mask_iou`` is the mean IoU with the masks as they came,
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
