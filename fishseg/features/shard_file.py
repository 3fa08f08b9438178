"""The file of one shard: tensors whose first axis is the samples', in safetensors' format.

The library writes and checks whole shards. Single rows are read by seeking: opening a shard with
the library maps it, which made reading scattered rows up to a third slower, and mapped pages count
as memory of the process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fishseg import store
from fishseg.errors import CacheError

# By safetensors' names.
DTYPES = {"F16": torch.float16, "I8": torch.int8, "I16": torch.int16, "U8": torch.uint8}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Where one tensor of a shard lies in its file.

    Attributes:
        start: offset of its first byte.
        row_shape: the shape of one sample.
        dtype: of its elements.
    """

    start: int
    row_shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def row_bytes(self) -> int:
        """Bytes of one sample."""
        return math.prod(self.row_shape) * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Header:
    """What a shard's file says of itself: the digest of its content, and its tensors."""

    digest: str
    tensors: Mapping[str, Layout]


def write_shard(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a shard, whole or not at all, with a digest of their bytes.

    Raises:
        StorageError: the disk is full or not writable.
    """
    store.save_tensors(tensors, path, {"digest": _digest(tensors)})


def read_header(path: Path) -> Header:
    """The header of a safetensors file: eight bytes of length, then JSON.

    Raises:
        CacheError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            tree = json.loads(file.read(length))
        digest = tree.pop("__metadata__")["digest"]
        return Header(digest, {name: _layout(tree[name], 8 + length) for name in tree})
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise unreadable(path, str(error)) from None


def _layout(entry: Mapping[str, Any], data_start: int) -> Layout:
    return Layout(
        start=data_start + entry["data_offsets"][0],
        row_shape=tuple(entry["shape"][1:]),
        dtype=DTYPES[entry["dtype"]],
    )


def is_intact(path: Path) -> bool:
    """Whether a shard exists and its tensors are those that were written."""
    try:
        return read_header(path).digest == _digest(load_file(path))
    except (OSError, CacheError, SafetensorError):
        return False


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """One digest of tensors: of what each is called, what it is, and its bytes."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        hashed.update(_bytes(tensor.contiguous()))
    return hashed.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return memoryview(tensor.view(-1).view(torch.uint8).numpy().data)


def read_rows(file: io.FileIO, layout: Layout, row: int, target: Tensor) -> None:
    """Fill ``target`` ``(n, *row_shape)``, contiguous, with the rows of a shard from ``row`` on.

    Args:
        file: the shard, opened without a buffer, by this thread.
        layout: of the tensor there.
        row: the first row.
        target: its memory is overwritten.

    Raises:
        OSError: the file ends before, or cannot be read.
    """
    memory = _bytes(target)
    file.seek(layout.start + row * layout.row_bytes)
    while memory:  # one call reads 2 GB at most
        n_read = file.readinto(memory)
        if not n_read:
            raise OSError("the file is cut off")
        memory = memory[n_read:]


def unreadable(path: Path, reason: str) -> CacheError:
    """The error of a shard whose file is missing or damaged."""
    return CacheError(
        f"a shard cannot be read: {reason}",
        where=path,
        remedy="rm -r data/features, then dvc repro features",
    )
