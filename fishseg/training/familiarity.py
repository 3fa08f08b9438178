"""What a decoder shall remember of the fish it was trained on, so that it notices other things.

Gathered once, after training: see `fishseg.metrics.familiarity`, which says how it is used.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import numpy as np
from sklearn.covariance import LedoitWolf
from tqdm import tqdm

from fishseg.decoders.inference import decode
from fishseg.metrics.familiarity import Familiarity, patches_of
from fishseg.metrics.masks import iou, overlap_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from fishseg.decoders.files import DecoderCard
    from fishseg.features.shards import FeatureCache

log = logging.getLogger(__name__)

# Directions of the features that are kept, those of the largest variance.
N_DIRECTIONS = 64
# Patches taken of the fish and of the surroundings of each training picture, to find them.
N_PATCHES = 32
# Of the val pictures with a good mask, this share is nearer than what is called unlike the training
# pictures. A mask is good with an IoU of so much.
QUANTILE, GOOD_IOU = 0.98, 0.8
_MIN_PICTURES = 4
_THRESHOLD = 0.5


def fit_familiarity(
    decoder: nn.Module,
    card: DecoderCard,
    cache: FeatureCache,
    manifest: pd.DataFrame,
    device: torch.device,
) -> Familiarity | None:
    """What a trained decoder shall remember; None where there are too few pictures to say.

    Directions, mean and covariance come from the training pictures and their masks; how far is too
    far, from the fish that the decoder finds in val.

    Args:
        decoder: trained, on ``device``.
        card: its card.
        cache: features and masks.
        manifest: which samples are ``train`` and ``val``.
        device: where to compute.
    """
    splits = {split: list(group["sample_id"]) for split, group in manifest.groupby("split")}
    fish, patches = _gather(cache, splits.get("train", []))
    if len(fish) < _MIN_PICTURES:
        log.warning("too few training pictures with a fish: none will be called unlike them")
        return None
    found = _of_training(fish, patches)
    distances = [
        found.distance(patches_of(mask, found.embed(features)))
        for features, mask in _well_found(
            decoder.eval(), card, cache, splits.get("val", []), device
        )
    ]
    if len(distances) < _MIN_PICTURES:
        log.warning("too few val pictures with a good mask: no fish will be called unlike others")
        return None
    return dataclasses.replace(
        found, farthest=np.array([np.quantile(distances, QUANTILE)], np.float32)
    )


def _gather(
    cache: FeatureCache, sample_ids: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean of the patches of each picture's fish ``(n, C)``, and some patches ``(m, C)``."""
    rng = np.random.default_rng(0)
    fish, patches = [], []
    for sample_id in tqdm(sample_ids, desc="remember", unit="image"):
        batch = cache.batch([sample_id])
        features = batch.features[0].float().numpy()
        mask = batch.target()[0, 0].numpy() > 0
        for part in (mask, ~mask):
            if part.any():
                found = patches_of(part, features)
                patches.append(found[rng.permutation(len(found))[:N_PATCHES]])
        if mask.any():
            fish.append(patches_of(mask, features).mean(axis=0))
    none = np.zeros((0, cache.index.channels), np.float32)
    return np.stack(fish) if fish else none, np.concatenate(patches) if patches else none


def _of_training(fish: NDArray[np.float32], patches: NDArray[np.float32]) -> Familiarity:
    """All but what val decides. The covariance of few fish in many directions is shrunk.

    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    Journal of Multivariate Analysis 2004.
    """
    variances, axes = np.linalg.eigh(np.cov(patches.T.astype(np.float64)))
    kept = np.argsort(-variances, kind="stable")[:N_DIRECTIONS]
    scaled = axes[:, kept] / np.sqrt(np.maximum(variances[kept], 1e-9))
    directions = scaled.T.astype(np.float16)
    across = directions.astype(np.float64).T
    origin = patches.mean(axis=0, dtype=np.float64) @ across
    of_fish = LedoitWolf().fit(fish @ across - origin)
    return Familiarity(
        directions=directions,
        origin=origin.astype(np.float32),
        mean=of_fish.location_.astype(np.float32),
        precision=of_fish.precision_.astype(np.float32),
        farthest=np.array([np.inf], np.float32),
    )


def _well_found(
    decoder: nn.Module,
    card: DecoderCard,
    cache: FeatureCache,
    sample_ids: Sequence[str],
    device: torch.device,
) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Features ``(C, h, w)`` and mask ``(H, W)`` of each picture that the decoder is good at."""
    found = []
    for sample_id in tqdm(sample_ids, desc="familiar", unit="image"):
        batch = cache.batch([sample_id])
        answer = decode(decoder, batch.features, batch.pixels, card, device)
        counted = batch.counted()
        valid = None if counted is None else counted[0, 0].numpy()
        mask, truth = answer[0, 0].numpy() >= _THRESHOLD, batch.target()[0, 0].numpy() > 0
        counts = overlap_counts(mask, truth, valid)
        if mask.any() and counts.union and iou(counts) >= GOOD_IOU:
            found.append((batch.features[0].float().numpy(), mask))
    return found
