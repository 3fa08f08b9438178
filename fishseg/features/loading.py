"""Batches of cached samples for training: from memory where they fit, else read ahead.

The batches are the same either way, bit for bit.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishseg import devices
from fishseg.features.shards import Batch, FeatureCache
from fishseg.parallel import ordered_map

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
BATCHES_AHEAD = 2
SAMPLES_PER_TRANSFER = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """The samples of one working size.

    Attributes:
        positions: where they stand among the loader's samples, ``(N,)`` int64, rising.
        places: their shard numbers and rows, ``(N, 2)``.
        resident: all of them in memory, in this order; None where they do not fit.
    """

    positions: Tensor
    places: NDArray[np.int64]
    resident: Batch | None


class Loader:
    """Batches of one set of samples, pass after pass; each batch of one working size.

    Args:
        cache: where the samples lie.
        sample_ids: the samples; passes that are not shuffled go in this order.
        batch_size: samples in one batch at most.
        device: where the batches are wanted.
        memory_bytes: how much of the device or else of the main memory the samples may take for
            good; by default what `fishseg.devices.memory_budget` says.

    Raises:
        CacheError: a sample is not in the cache, or a shard cannot be read.
    """

    def __init__(
        self,
        cache: FeatureCache,
        sample_ids: Sequence[str],
        batch_size: int,
        device: torch.device,
        *,
        memory_bytes: int | None = None,
    ) -> None:
        self._cache = cache
        self._batch_size = batch_size
        self._device = device
        places = cache.places(sample_ids)
        shards = cache.index.shards
        sizes = sorted({shards[number].size for number in np.unique(places[:, 0])})
        size_of_shard = np.array([sizes.index(s.size) if s.size in sizes else -1 for s in shards])
        self._group_of = torch.from_numpy(size_of_shard[places[:, 0]])
        self._home: torch.device | None = None
        self._groups: list[Group] = []
        self._settle(places, len(sizes), memory_bytes)
        self._row_of = torch.empty(len(sample_ids), dtype=torch.int64)
        for group in self._groups:
            self._row_of[group.positions] = torch.arange(len(group.positions))

    def __len__(self) -> int:
        """Batches in one pass."""
        return sum(-(-len(group.positions) // self._batch_size) for group in self._groups)

    def release(self) -> bool:
        """Keep no samples in memory any more, but read them from the shards; whether any were."""
        were = self._home is not None
        self._home = None
        self._groups = [dataclasses.replace(group, resident=None) for group in self._groups]
        return were

    def batches(self, *, shuffle: bool = False) -> Iterator[Batch]:
        """One pass over the samples, on the device; shuffled with torch's global generator."""
        chosen = self._deal(shuffle=shuffle)
        if self._home == self._device:
            return (self._take(number, rows) for number, rows in chosen)
        ahead = ordered_map(lambda item: self._take(*item), chosen, ahead=BATCHES_AHEAD)
        return (batch.to(self._device) for batch in ahead)

    def _deal(self, *, shuffle: bool) -> list[tuple[int, Tensor]]:
        """For each batch, the number of its group and its rows ``(B,)`` there."""
        n_samples = len(self._row_of)
        order = torch.randperm(n_samples) if shuffle else torch.arange(n_samples)
        groups, rows = self._group_of[order], self._row_of[order]
        # The group of the first sample comes first.
        numbers = sorted(
            range(len(self._groups)), key=lambda code: int((groups == code).byte().argmax())
        )
        dealt = [
            (number, batch)
            for number in numbers
            for batch in rows[groups == number].split(self._batch_size)
        ]
        if shuffle and len(numbers) > 1:
            dealt = [dealt[position] for position in torch.randperm(len(dealt)).tolist()]
        return dealt

    def _take(self, number: int, rows: Tensor) -> Batch:
        group = self._groups[number]
        pinned = self._device.type == "cuda"
        if group.resident is None:
            return self._cache.read(group.places[rows.numpy()], pinned=pinned)
        batch = group.resident.rows(rows.to(group.resident.stored.device))
        return batch.pin() if pinned and self._home == CPU else batch

    def _settle(self, places: NDArray[np.int64], n_groups: int, memory_bytes: int | None) -> None:
        """Bring the samples where they stay: into the device's memory, the main one, or none."""
        numbers, counts = np.unique(places[:, 0], return_counts=True)
        shards = self._cache.index.shards
        needed = sum(
            int(count) * self._cache.row_bytes(shards[number])
            for number, count in zip(numbers, counts, strict=True)
        )
        for home in dict.fromkeys([self._device, CPU]):
            budget = devices.memory_budget(home) if memory_bytes is None else memory_bytes
            if needed <= budget and self._settle_in(home, places, n_groups):
                log.info("%d samples, %.2f GB, stay in memory: %s", len(places), needed / 1e9, home)
                return
        self._settle_in(None, places, n_groups)
        log.info("%d samples, %.2f GB, are read from the shards", len(places), needed / 1e9)

    def _settle_in(
        self, home: torch.device | None, places: NDArray[np.int64], n_groups: int
    ) -> bool:
        """Whether there was room: another process may have taken what was free."""
        try:
            self._groups = [self._gather(places, code, home) for code in range(n_groups)]
        except torch.OutOfMemoryError:
            return False
        self._home = home
        return True

    def _gather(self, places: NDArray[np.int64], code: int, home: torch.device | None) -> Group:
        positions = (self._group_of == code).nonzero()[:, 0]
        mine = places[positions.numpy()]
        resident = self._read_all(mine, home) if home is not None else None
        return Group(positions=positions, places=mine, resident=resident)

    def _read_all(self, places: NDArray[np.int64], home: torch.device) -> Batch:
        """All samples of a group in one memory; on the way to a GPU, in parts."""
        if home == CPU:
            return self._cache.read(places)
        whole = self._cache.read(places[:1]).empty(len(places), home)
        for start in range(0, len(places), SAMPLES_PER_TRANSFER):
            whole.put(start, self._cache.read(places[start : start + SAMPLES_PER_TRANSFER]))
        return whole
