"""The features under each sample's mask: what species are learned from, kept by ``evaluate``.

A folder of them holds ``samples.csv``, a row a sample; ``pooled.safetensors``, in the same order
the features ``(N, C)`` float32 under the masks that were ``given`` and ``predicted`` (not a number
where a mask is empty; see `fishseg.prediction.species.pool`); and ``features.json``, what decides
them.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from fishseg.errors import CacheError
from fishseg.store import make_folder, write_whole
from fishseg.tables import MANIFEST_COLUMNS, write_csv

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_SAMPLES_NAME = "samples.csv"
_TENSORS_NAME = "pooled.safetensors"
_FEATURES_NAME = "features.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pooled:
    """The features under the masks of ``N`` samples.

    Attributes:
        samples: a row a sample: ``sample_id, class_name, group_id, split``.
        given: ``(N, C)``, under the mask that came with the image, or that the audit made of it.
        predicted: ``(N, C)``, under the mask that the decoder predicts.
        features: what decides them, see `fishseg.prediction.species.feature_facts`.
    """

    samples: pd.DataFrame
    given: NDArray[np.float32]
    predicted: NDArray[np.float32]
    features: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write all of it.

        Raises:
            StorageError: the disk is full, or ``folder`` cannot be written.
        """
        make_folder(folder)
        write_csv(self.samples[MANIFEST_COLUMNS], folder / _SAMPLES_NAME)
        with write_whole(folder / _TENSORS_NAME) as new:
            save_file({"given": self.given, "predicted": self.predicted}, new)
        with write_whole(folder / _FEATURES_NAME) as new:
            text = json.dumps(self.features, indent=2) + "\n"
            new.write_text(text, encoding="utf-8", newline="\n")

    @classmethod
    def read(cls, folder: Path) -> Pooled:
        """Read what `write` wrote.

        Raises:
            CacheError: it is missing or damaged.
        """
        try:
            # A class may be called NA, and 00001 is a name.
            samples = pd.read_csv(
                folder / _SAMPLES_NAME, dtype=str, keep_default_na=False, encoding="utf-8"
            )
            return cls(
                samples=samples[MANIFEST_COLUMNS],
                features=json.loads((folder / _FEATURES_NAME).read_text(encoding="utf-8")),
                **load_file(folder / _TENSORS_NAME),
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise CacheError(
                f"the pooled features cannot be read: {' '.join(str(error).split())}",
                where=folder,
                expected="what the stage evaluate writes",
                remedy="dvc repro -f evaluate",
            ) from None
