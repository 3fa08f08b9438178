"""Measure a decoder against the masks, image by image, at the images' original resolution."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from fishseg.datasets.images import read_image, read_mask, resize_mask
from fishseg.decoders.inference import at_size, decode
from fishseg.metrics import overlap_counts, score_image, summarise
from fishseg.parallel import ordered_map
from fishseg.splits import SPLITS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fishseg.features.shards import FeatureCache
    from fishseg.params import EvaluateParams
    from fishseg.prediction import Segmenter


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicted:
    """The decoder's answer to one sample.

    Attributes:
        sample: the sample's row.
        mask: ``(H0, W0)`` at the original resolution.
        working_mask: ``(H, W)`` at the working resolution.
        working_truth: ``(H, W)`` at the working resolution.
    """

    sample: Any
    mask: NDArray[np.bool_]
    working_mask: NDArray[np.bool_]
    working_truth: NDArray[np.bool_]


def predict_cached(
    samples: pd.DataFrame,
    cache: FeatureCache,
    decoder: nn.Module,
    threshold: float,
    device: torch.device,
) -> Iterator[Predicted]:
    """The decoder's answer to every sample, in the order given, from cached features.

    Raises:
        CacheError: a sample without features.
    """
    sample: Any
    for sample in samples.itertuples(index=False):
        # One at a time, as prediction does it: the same sums in the same order.
        batch = cache.batch([sample.sample_id])
        probability = decode(decoder, batch.features, batch.pixels, device)
        yield Predicted(
            sample=sample,
            mask=at_size(probability, (sample.height, sample.width)) >= threshold,
            working_mask=(probability[0, 0] >= threshold).numpy(),
            working_truth=batch.target()[0, 0].bool().numpy(),
        )


def predict_files(samples: pd.DataFrame, segmenter: Segmenter) -> Iterator[Predicted]:
    """The segmenter's answer to every sample, in the order given, from the image files.

    Raises:
        DataError: a file that can no longer be read.
    """
    threshold = segmenter.card.threshold
    sample: Any
    for sample in samples.itertuples(index=False):
        probability = segmenter.working_probability(read_image(Path(sample.image_path)))
        size = (probability.shape[-2], probability.shape[-1])
        truth = read_mask(Path(sample.mask_path), (sample.height, sample.width))
        yield Predicted(
            sample=sample,
            mask=at_size(probability, (sample.height, sample.width)) >= threshold,
            working_mask=(probability[0, 0] >= threshold).numpy(),
            working_truth=resize_mask(truth, size) >= 128,
        )


def score(predictions: Iterable[Predicted], n_samples: int) -> pd.DataFrame:
    """Score predictions against the masks of their samples.

    Returns:
        A row a sample, in the order given: ``sample_id, class_name, group_id``, ``split`` where
        the samples have one, what `fishseg.metrics.score_image` gives at the original resolution,
        and ``batch_intersection, batch_union`` in pixels of the working resolution.

    Raises:
        DataError: a mask that can no longer be read.
    """
    rows = ordered_map(_score_one, predictions)
    return pd.DataFrame(list(tqdm(rows, total=n_samples, desc="evaluate", unit="image")))


def _score_one(predicted: Predicted) -> dict[str, Any]:
    sample = predicted.sample
    truth = read_mask(Path(sample.mask_path), (sample.height, sample.width))
    working = overlap_counts(predicted.working_mask, predicted.working_truth)
    names = [
        name for name in ("sample_id", "class_name", "group_id", "split") if hasattr(sample, name)
    ]
    return {
        **{name: getattr(sample, name) for name in names},
        **score_image(predicted.mask, truth),
        "batch_intersection": working.intersection,
        "batch_union": working.union,
    }


def summarise_splits(scores: pd.DataFrame, params: EvaluateParams) -> dict[str, Any]:
    """What ``metrics/evaluate.json`` says: the metrics of each split."""
    return {
        split: summarise(
            scores[scores["split"] == split],
            bootstrap_samples=params.bootstrap_samples,
            seed=params.seed,
        )
        for split in SPLITS
    }
