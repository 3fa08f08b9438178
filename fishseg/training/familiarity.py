"""What a decoder shall remember of the fish it was trained on, so that it notices other things.

Gathered once, after training: see `fishseg.metrics.familiarity`, which says how it is used.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import numpy as np
from sklearn.covariance import LedoitWolf
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from fishseg.decoders.inference import decode
from fishseg.metrics.familiarity import Familiarity, patches_of
from fishseg.metrics.masks import iou, overlap_counts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
# Of more pictures in a split, so many are looked at, spread evenly.
MOST_PICTURES = 10_000
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
    splits = {split: _some(list(group["sample_id"])) for split, group in manifest.groupby("split")}
    # Of so small products threads make none shorter; many, beside other work, wait for one another.
    with threadpool_limits(limits=1, user_api="blas"):
        seen = _gather(cache, splits.get("train", []))
    if seen.n_fish < _MIN_PICTURES:
        log.warning("too few training pictures with a fish: none will be called unlike them")
        return None
    found = _of_training(seen)
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


def _some(sample_ids: Sequence[str]) -> list[str]:
    places = np.linspace(0, len(sample_ids) - 1, min(len(sample_ids), MOST_PICTURES))
    return [sample_ids[place] for place in places.round().astype(int)]


@dataclasses.dataclass(kw_only=True)
class _Seen:
    """What is kept of training pictures; of some of their patches the sums alone.

    Attributes:
        fish: the mean of the patches of each fish, ``(N, C)``; of ``n_fish`` so far.
        n: how many patches were added.
        total: their sum, ``(C,)``.
        products: the sum of their outer products, ``(C, C)``.
    """

    fish: NDArray[np.float32]
    total: NDArray[np.float64]
    products: NDArray[np.float64]
    n_fish: int = 0
    n: int = 0

    @classmethod
    def nothing(cls, n_pictures: int, channels: int) -> _Seen:
        """Room for so many pictures."""
        return cls(
            fish=np.empty((n_pictures, channels), np.float32),
            total=np.zeros(channels),
            products=np.zeros((channels, channels)),
        )

    def add(self, patches: NDArray[np.float32]) -> None:
        """Add patches ``(n, C)``."""
        exact = patches.astype(np.float64)
        self.n += len(exact)
        self.total += exact.sum(axis=0)
        self.products += exact.T @ exact

    @property
    def mean(self) -> NDArray[np.float64]:
        """Of the patches, ``(C,)``."""
        return self.total / self.n

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Of the patches, ``(C, C)``."""
        return (self.products - self.n * np.outer(self.mean, self.mean)) / (self.n - 1)


def _gather(cache: FeatureCache, sample_ids: Sequence[str]) -> _Seen:
    rng = np.random.default_rng(0)
    seen = _Seen.nothing(len(sample_ids), cache.index.channels)
    for sample_id in tqdm(sample_ids, desc="remember", unit="image"):
        batch = cache.batch([sample_id])
        features = batch.features[0].float().numpy()
        mask = batch.target()[0, 0].numpy() > 0
        for part in (mask, ~mask):
            if not part.any():
                continue
            found = patches_of(part, features)
            seen.add(found[rng.permutation(len(found))[:N_PATCHES]])
            if part is mask:
                # A row of what is there: a small array that stays between large ones that go
                # keeps their memory.
                seen.fish[seen.n_fish] = found.mean(axis=0)
                seen.n_fish += 1
    return seen


def _of_training(seen: _Seen) -> Familiarity:
    """All but what val decides. The covariance of few fish in many directions is shrunk.

    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    Journal of Multivariate Analysis 2004.
    """
    variances, axes = np.linalg.eigh(seen.covariance)
    kept = np.argsort(-variances, kind="stable")[:N_DIRECTIONS]
    scaled = axes[:, kept] / np.sqrt(np.maximum(variances[kept], 1e-9))
    directions = scaled.T.astype(np.float16)
    across = directions.astype(np.float64).T
    origin = seen.mean @ across
    of_fish = LedoitWolf().fit(seen.fish[: seen.n_fish] @ across - origin)
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
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Features ``(C, h, w)`` and mask ``(H, W)`` of each picture that the decoder is good at."""
    for sample_id in tqdm(sample_ids, desc="familiar", unit="image"):
        batch = cache.batch([sample_id])
        answer = decode(decoder, batch.features, batch.pixels, card, device)
        counted = batch.counted()
        valid = None if counted is None else counted[0, 0].numpy()
        mask, truth = answer[0, 0].numpy() >= _THRESHOLD, batch.target()[0, 0].numpy() > 0
        counts = overlap_counts(mask, truth, valid)
        if mask.any() and counts.union and iou(counts) >= GOOD_IOU:
            yield batch.features[0].float().numpy(), mask
