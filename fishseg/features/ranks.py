"""Several processes that share one extraction: ``torchrun --nproc-per-node N -m stages.features``.

Each process (rank) has a GPU of its own and computes every N-th missing shard into the store they
share; the first rank links them and writes the index.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

from torch import distributed

Item = TypeVar("Item")

# A rank may wait for another as long as that one computes; gloo's default is half an hour.
PATIENCE = datetime.timedelta(days=30)


@dataclasses.dataclass(frozen=True)
class Ranks:
    """This process among its peers: number ``rank`` of ``size``, counted from 0."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process does what must be done once."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Every ``size``-th item; each goes to one rank."""
        return list(items[self.rank :: self.size])

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.size > 1:
            distributed.barrier()


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """This process and those that ``torchrun`` started with it; without it, this process alone."""
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        yield Ranks()
        return
    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
