"""Shards of features and masks: what one holds and how it is read.

Shapes: ``N`` samples of one working size ``(H, W)``; ``C`` feature channels on a grid ``(h, w)``.

- feature shard: ``features (N, C, h, w)`` float16, ``pixels (N, 3, H, W)`` uint8; or features as
  int8 with ``scales (N, C)`` float16 (see `fishseg.features.quantisation`)
- mask shard: ``masks (N, H, ceil(W / 8))`` uint8, see `fishseg.features.mask_bits`; and likewise
  ``valid``, if any mask of the set has pixels that do not count; ``objects (N, H, W)`` int16, the
  number of the fish, if any mask of the set numbers them
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishseg import store
from fishseg.errors import CacheError
from fishseg.features.mask_bits import unpack_masks
from fishseg.features.quantisation import dequantise
from fishseg.features.shard_file import Header, read_header, read_rows, unreadable

INDEX_NAME = "index.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """What the index says of one shard and its masks.

    Attributes:
        features_file: file name of the feature shard.
        masks_file: file name of the mask shard.
        size: working size ``(H, W)`` in pixels.
        sample_ids: the samples, in the order of the rows.
    """

    features_file: str
    masks_file: str
    size: tuple[int, int]
    sample_ids: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Index:
    """All that determined the content of a folder of shards.

    Attributes:
        backbone: the backbone's ``name`` and ``weights_sha256``.
        fit: how images were fitted to the working size.
        image_size: side of the working square in pixels where they were stretched to one.
        megapixels: area of the working size where they were not.
        layers: the backbone layers that are stacked.
        channels: feature channels, all layers together.
        precision: what the backbone computed in.
        dtype: what the features are stored in, ``float16`` or ``int8``.
        shards: the shards, in the order of their numbers.
    """

    backbone: Mapping[str, str]
    fit: str
    image_size: int
    megapixels: float
    layers: tuple[int, ...]
    channels: int
    precision: str
    dtype: str
    shards: tuple[Shard, ...]

    def write(self, folder: Path) -> None:
        """Write ``index.json``.

        Raises:
            StorageError: the disk is full or not writable.
        """
        with (
            store.write_whole(folder / INDEX_NAME) as new,
            new.open("w", encoding="utf-8", newline="\n") as file,
        ):
            # Piece by piece: the whole text is long.
            json.dump(dataclasses.asdict(self), file, indent=1)
            file.write("\n")

    @classmethod
    def read(cls, folder: Path) -> Index:
        """Read ``index.json``.

        Raises:
            CacheError: it is missing, damaged or of another format.
        """
        try:
            tree: dict[str, Any] = json.loads((folder / INDEX_NAME).read_text(encoding="utf-8"))
            shards = tuple(
                Shard(
                    features_file=shard["features_file"],
                    masks_file=shard["masks_file"],
                    size=(shard["size"][0], shard["size"][1]),
                    sample_ids=tuple(shard["sample_ids"]),
                )
                for shard in tree.pop("shards")
            )
            return cls(shards=shards, layers=tuple(tree.pop("layers")), **tree)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CacheError(
                f"the features have no readable index: {error}",
                where=folder / INDEX_NAME,
                remedy="dvc pull data/features, or dvc repro features",
            ) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """Cached samples of one working size.

    Attributes:
        stored: the features as they are stored, ``(B, C, h, w)`` float16 or int8.
        pixels: ``(B, 3, H, W)`` uint8.
        masks: ``(B, H, ceil(W / 8))`` uint8, a bit a pixel.
        scales: ``(B, C)`` float16, what one step of int8 features is worth; else None.
        valid: as ``masks``, the pixels that count; None if all do.
        objects: ``(B, H, W)`` int16, which fish a pixel belongs to, from 1; 0 where there is none,
            or nobody has said which. None where no mask of the set numbers fish.
    """

    stored: Tensor
    pixels: Tensor
    masks: Tensor
    scales: Tensor | None = None
    valid: Tensor | None = None
    objects: Tensor | None = None

    @property
    def features(self) -> Tensor:
        """``(B, C, h, w)`` float16."""
        if self.scales is None:
            return self.stored
        return dequantise(self.stored, self.scales)

    def target(self) -> Tensor:
        """The mask ``(B, 1, H, W)`` at the working resolution, float32, 0 or 1."""
        return unpack_masks(self.masks, self.pixels.shape[-1])

    def counted(self) -> Tensor | None:
        """Which pixels count, ``(B, 1, H, W)`` bool; None if all do."""
        if self.valid is None:
            return None
        return unpack_masks(self.valid, self.pixels.shape[-1]).bool()

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; from pinned memory, the copies do not wait for each other."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def rows(self, rows: Tensor) -> Batch:
        """The samples at ``rows`` ``(b,)`` int64, copied."""
        return self._map(lambda tensor: tensor.index_select(0, rows))

    def pin(self) -> Batch:
        """A copy in memory that a GPU copies from without waiting."""
        return self._map(lambda tensor: tensor.pin_memory())

    def empty(self, n_samples: int, device: torch.device) -> Batch:
        """Room for ``n_samples`` samples such as these."""
        return self._map(
            lambda tensor: torch.empty(
                (n_samples, *tensor.shape[1:]), dtype=tensor.dtype, device=device
            )
        )

    def put(self, start: int, samples: Batch) -> None:
        """Overwrite the samples from ``start`` on with others."""
        for mine, others in zip(self._tensors(), samples._tensors(), strict=True):
            mine[start : start + len(others)].copy_(others)

    def _tensors(self) -> list[Tensor]:
        tensors = (self.stored, self.pixels, self.masks, self.scales, self.valid, self.objects)
        return [tensor for tensor in tensors if tensor is not None]

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            stored=function(self.stored),
            pixels=function(self.pixels),
            masks=function(self.masks),
            scales=None if self.scales is None else function(self.scales),
            valid=None if self.valid is None else function(self.valid),
            objects=None if self.objects is None else function(self.objects),
        )


class FeatureCache:
    """Read access to a folder of shards.

    Rows are read by position from their files, never mapped: mapped pages count as memory of the
    process, which would grow with the number of samples; read ones stay in the system's page cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = Index.read(folder)
        # One number a sample: its place in a row of all shards.
        names = (name for shard in self.index.shards for name in shard.sample_ids)
        self._position = {name: position for position, name in enumerate(names)}
        self._ends = np.cumsum([len(shard.sample_ids) for shard in self.index.shards])
        self._headers: dict[str, Header] = {}

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._position

    def size(self, sample_id: str) -> tuple[int, int]:
        """The working size ``(H, W)`` of a sample in pixels."""
        number = int(self.places([sample_id])[0, 0])
        return self.index.shards[number].size

    @property
    def has_objects(self) -> bool:
        """Whether the masks number their fish, so that fish which touch can be told apart."""
        names = [shard.masks_file for shard in self.index.shards]
        return any("objects" in self._header(name).tensors for name in names)

    def digests(self) -> list[str]:
        """The digest of every shard's content, in order."""
        return [
            self._header(name).digest
            for shard in self.index.shards
            for name in (shard.features_file, shard.masks_file)
        ]

    def places(self, sample_ids: Sequence[str]) -> NDArray[np.int64]:
        """Shard number and row of each sample ``(B, 2)``.

        Raises:
            CacheError: a sample is not in the cache.
        """
        try:
            positions = np.array([self._position[name] for name in sample_ids], np.int64)
        except KeyError as error:
            raise CacheError(
                f"there are no features of {error.args[0]}",
                where=self.folder,
                remedy="dvc repro features",
            ) from None
        shards = np.searchsorted(self._ends, positions, side="right")
        starts = np.concatenate([[0], self._ends])
        return np.stack([shards, positions - starts[shards]], axis=1)

    def batch(self, sample_ids: Sequence[str]) -> Batch:
        """Samples of one working size, in the order asked for.

        Raises:
            CacheError: a sample is not in the cache, or a shard cannot be read.
        """
        return self.read(self.places(sample_ids))

    def row_bytes(self, shard: Shard) -> int:
        """Bytes of one sample of a shard, all tensors together."""
        headers = [self._header(name) for name in (shard.features_file, shard.masks_file)]
        return sum(layout.row_bytes for header in headers for layout in header.tensors.values())

    def read(self, places: NDArray[np.int64], *, pinned: bool = False) -> Batch:
        """Samples of one working size at ``places`` ``(B, 2)``, in this order.

        Args:
            places: shard number and row of each sample.
            pinned: whether into memory that a GPU copies from without waiting.

        Raises:
            CacheError: a shard cannot be read.
        """
        first = self.index.shards[places[0, 0]]
        tensors = {
            name: torch.empty(
                (len(places), *layout.row_shape), dtype=layout.dtype, pin_memory=pinned
            )
            for file in (first.features_file, first.masks_file)
            for name, layout in self._header(file).tensors.items()
        }
        for number, runs in itertools.groupby(_runs(places), key=lambda run: run.shard):
            shard, wanted = self.index.shards[number], list(runs)
            for file in (shard.features_file, shard.masks_file):
                self._read_runs(self.folder / file, self._header(file), wanted, tensors)
        return Batch(stored=tensors.pop("features"), **tensors)

    def _read_runs(
        self, path: Path, header: Header, runs: list[Run], tensors: Mapping[str, Tensor]
    ) -> None:
        """Read runs of rows of one file to where they belong in the batch."""
        try:
            with path.open("rb", buffering=0) as file:
                for name, layout in header.tensors.items():
                    for run in runs:
                        target = tensors[name][run.position : run.position + run.length]
                        read_rows(file, layout, run.row, target)
        except OSError as error:
            raise unreadable(path, str(error)) from None

    def _header(self, name: str) -> Header:
        if name not in self._headers:
            self._headers[name] = read_header(self.folder / name)
        return self._headers[name]


class Run(NamedTuple):
    """Samples that follow one another both in a shard and in the batch."""

    shard: int
    row: int
    position: int
    length: int


def _runs(places: NDArray[np.int64]) -> list[Run]:
    """The runs that make up ``places``, in the order in which they lie in the files."""
    positions = np.lexsort((places[:, 1], places[:, 0]))
    shards, rows = places[positions].T
    breaks = (np.diff(shards) != 0) | (np.diff(rows) != 1) | (np.diff(positions) != 1)
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    lengths = np.diff([*starts, len(places)])
    columns = (shards[starts], rows[starts], positions[starts], lengths)
    return [Run(*run) for run in zip(*(column.tolist() for column in columns), strict=True)]
