"""Pooled features of drawn species: Gaussian clouds; copies of a photograph lie together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fishseg.params import ClassifyParams
from fishseg.prediction.pooled import Pooled

N_CHANNELS = 12
FEATURES = {
    "backbone": {"name": "tiny", "weights_sha256": "0" * 64},
    "layers": [1],
    "fit": "aspect",
    "image_size": 56,
    "megapixels": 0.0042,
    "dtype": "float16",
}
PARAMS = ClassifyParams(c_values=(0.01, 1.0), folds=3, bootstrap_samples=50, seed=0)


def draw_pooled(
    *, n_classes: int = 4, n_photos: int = 9, n_copies: int = 3, apart: float = 3.0, seed: int = 0
) -> Pooled:
    """Photographs dealt to train, train, val, train, train, test, and so on; a channel is constant.

    Args:
        n_classes: species, called ``a``, ``b``, …
        n_photos: of each.
        n_copies: of each photograph.
        apart: how far species' centres are from each other, in deviations of a photograph.
        seed: of all draws.
    """
    rng = np.random.default_rng(seed)
    rows, given = [], []
    for k in range(n_classes):
        centre = apart * rng.standard_normal(N_CHANNELS)
        for photo in range(n_photos):
            of_photo = centre + rng.standard_normal(N_CHANNELS)
            for copy in range(n_copies):
                name = "abcdefgh"[k]
                split = ("train", "train", "val", "train", "train", "test")[photo % 6]
                rows.append((f"{name}/{photo}-{copy}", name, f"{name}{photo}", split))
                given.append(of_photo + 0.1 * rng.standard_normal(N_CHANNELS))
    features = np.array(given, np.float32)
    features[:, 0] = 7
    predicted = features + 0.05 * rng.standard_normal(features.shape).astype(np.float32)
    columns = ["sample_id", "class_name", "group_id", "split"]
    return Pooled(
        samples=pd.DataFrame(rows, columns=columns),
        given=features,
        predicted=predicted,
        features=FEATURES,
    )
