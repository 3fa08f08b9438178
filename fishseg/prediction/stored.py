"""What a decoder said of every sample, written once: scores, pictures and the report read it.

A probability is kept as a level from 0 to 255 at the working size, a byte a pixel. Prediction from
a file takes the same step, so that both give the same mask.

A folder of predictions holds shards ``predictions-NNNNN.safetensors``, in which each sample's
levels ``(H, W)`` uint8 are called by its ``sample_id``; where the decoder tells fish apart that
touch, ``interiors-NNNNN.safetensors``, the same of its second map; ``samples.csv``, what is known
of each sample and which shard it is in; and ``about.json``, what said it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fishseg.errors import CacheError
from fishseg.prediction.model import Answer
from fishseg.store import make_folder, write_whole
from fishseg.tables import write_csv

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SHARD_SIZE = 64
_SHARD_BYTES = 2**28  # of pictures at their own size a few are much
_SAMPLES_NAME = "samples.csv"
_ABOUT_NAME = "about.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicted:
    """The decoder's answer to one sample.

    Attributes:
        sample: the sample's row: ``sample_id``, ``width`` and ``height`` at least.
        levels: ``(H, W)`` uint8 at the working size, see `fishseg.prediction.model.to_levels`.
        interior: the levels of the decoder's second map, if it has one.
    """

    sample: Any
    levels: NDArray[np.uint8]
    interior: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, sample: Any, maps: NDArray[np.uint8]) -> Predicted:
        """The answer to a sample from its levels ``(n_maps, H, W)``."""
        return cls(sample=sample, levels=maps[0], interior=maps[1] if len(maps) > 1 else None)

    def answer(self) -> Answer:
        """All that was said of the original image."""
        maps = [self.levels] if self.interior is None else [self.levels, self.interior]
        return Answer.of_levels(np.stack(maps), (self.sample.height, self.sample.width))

    def probability(self) -> NDArray[np.float32]:
        """How probably each pixel ``(H0, W0)`` of the original image is fish."""
        return self.answer().probability

    def mask(self, threshold: float) -> NDArray[np.bool_]:
        """The fish ``(H0, W0)`` at the original resolution."""
        return self.probability() >= threshold


def _of_a_shard(pending: Iterator[Predicted]) -> Iterator[Predicted]:
    n_bytes = 0
    for one in itertools.islice(pending, SHARD_SIZE):
        yield one
        n_bytes += one.levels.nbytes
        if n_bytes >= _SHARD_BYTES:
            return


def write_predictions(
    predictions: Iterable[Predicted], folder: Path, about: Mapping[str, Any]
) -> None:
    """Write predictions as they come; no more than a shard is held in memory.

    Args:
        predictions: in any order, each sample once.
        folder: where to, made if needed.
        about: what said it, as JSON knows it.
    """
    make_folder(folder)
    rows: list[dict[str, Any]] = []
    pending = iter(predictions)
    for number in itertools.count():
        some = list(_of_a_shard(pending))
        if not some:
            break
        name = f"predictions-{number:05d}.safetensors"
        with write_whole(folder / name) as new:
            save_file({one.sample.sample_id: one.levels for one in some}, new)
        interiors = {one.sample.sample_id: one.interior for one in some if one.interior is not None}
        if interiors:
            with write_whole(folder / _interiors_name(name)) as new:
                save_file(interiors, new)
        rows += [{**one.sample._asdict(), "shard": name} for one in some]
    write_csv(pd.DataFrame(rows), folder / _SAMPLES_NAME)
    text = json.dumps(about, indent=2) + "\n"
    (folder / _ABOUT_NAME).write_text(text, encoding="utf-8", newline="\n")


class Predictions:
    """Read access to a folder of predictions.

    Attributes:
        about: what said it.
        samples: a row a sample, in the order written.

    Raises:
        CacheError: the folder is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self.about: dict[str, Any] = json.loads((folder / _ABOUT_NAME).read_text("utf-8"))
            # A class may be called NA, and 00001 is a name.
            table = pd.read_csv(
                folder / _SAMPLES_NAME, dtype=str, keep_default_na=False, encoding="utf-8"
            )
            self.samples = table.astype({"width": "int64", "height": "int64"})
        except (OSError, ValueError, KeyError) as error:
            raise self._unreadable(error) from None

    def __iter__(self) -> Iterator[Predicted]:
        return self.of(self.samples)

    def of(self, samples: pd.DataFrame) -> Iterator[Predicted]:
        """The predictions of some rows of ``samples``, in their order.

        Raises:
            CacheError: a shard is missing or damaged.
        """
        rows = samples.itertuples(index=False)
        for shard, members in itertools.groupby(rows, key=lambda row: str(row.shard)):
            try:
                with contextlib.ExitStack() as stack:
                    files = [self._folder / shard, self._folder / _interiors_name(shard)]
                    shards = [
                        stack.enter_context(safe_open(file, framework="numpy"))
                        for file in files
                        if file == files[0] or file.exists()
                    ]
                    for row in members:
                        maps = [tensors.get_tensor(row.sample_id) for tensors in shards]
                        yield Predicted.of(row, np.stack(maps))
            except (OSError, SafetensorError) as error:
                raise self._unreadable(error) from None

    def check_decoder(self, sha256: str) -> None:
        """Refuse predictions of another decoder than that of a `decoder_sha256`.

        Raises:
            CacheError: another one made them.
        """
        if self.about.get("decoder_sha256") != sha256:
            raise CacheError(
                "these are the predictions of another decoder than the one that is here",
                where=self._folder,
                expected=f"those of the decoder with sha256 {sha256}",
                remedy="dvc repro evaluate",
            )

    def _unreadable(self, error: Exception) -> CacheError:
        return CacheError(
            f"the predictions cannot be read: {' '.join(str(error).split())}",
            where=self._folder,
            expected="what the stage evaluate writes",
            remedy="dvc repro -f evaluate",
        )


def _interiors_name(shard: str) -> str:
    return shard.replace("predictions", "interiors")
