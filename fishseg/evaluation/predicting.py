"""What a decoder says of every sample, from cached features or from the image files."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fishseg.decoders.inference import decode
from fishseg.images.decoding import read_image
from fishseg.prediction.base import certain_levels
from fishseg.prediction.model import THRESHOLD
from fishseg.prediction.stored import Predicted
from fishseg.prediction.tta import average, view_id

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from fishseg.decoders.files import DecoderCard
    from fishseg.features.shards import FeatureCache
    from fishseg.prediction.fine import FineModel
    from fishseg.prediction.segmenter import Segmenter

# What predicting and scoring take of the inventory, and what tells the files apart; the rest is not
# kept in memory.
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
    "image_sha256",
    "mask_sha256",
    "width",
    "height",
]


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


def predict_cached(
    samples: pd.DataFrame,
    cache: FeatureCache,
    decoder: nn.Module,
    card: DecoderCard,
    device: torch.device,
    *,
    tta: int = 1,
    threshold: float = THRESHOLD,
) -> Iterator[Predicted]:
    """The decoder's answer to every sample, in the order given, from cached features.

    Args:
        samples: a row a sample.
        cache: their features; if ``tta`` is not 1, also those of their views, each under its
            `fishseg.prediction.tta.view_id`.
        decoder: in evaluation mode, on ``device``.
        card: what it was trained with.
        device: where to compute.
        tta: 1, or 2, 4 or 8 flipped and turned views to average over.
        threshold: the probability from which a pixel is fish.

    Raises:
        CacheError: a sample without features.
    """

    def one_view(sample_id: str, view: int) -> NDArray[np.float32]:
        # One at a time, as prediction does it: the same sums in the same order.
        batch = cache.batch([view_id(sample_id, view)])
        working = decode(decoder, batch.features, batch.pixels, card, device)
        return working[0].numpy()

    sample: Any
    for sample in samples.itertuples(index=False):
        maps = average(functools.partial(one_view, sample.sample_id), tta)
        yield Predicted.of(sample, certain_levels(maps, card.certainty, threshold))


def predict_files(samples: pd.DataFrame, model: Segmenter | FineModel) -> Iterator[Predicted]:
    """A model's answer to every sample, in the order given, from the image files.

    Raises:
        DataError: a file that can no longer be read.
    """
    sample: Any
    for sample in samples.itertuples(index=False):
        image = read_image(Path(sample.image_path))
        yield Predicted.of(sample, model.working_levels(image))
