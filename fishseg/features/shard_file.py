"""The file of one shard: tensors whose first axis is the samples', in safetensors' format.

The safetensors library writes tensors that are all in memory. Here they go to the disk row by row
while the next ones are computed, so that memory holds no whole shard and nothing is left to write
in the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

import torch
from torch import Tensor

from fishseg.errors import CacheError

DTYPES = {"F16": torch.float16, "I8": torch.int8, "U8": torch.uint8}  # safetensors' names
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
# Bytes read at once to see whether a shard is intact.
_CHUNK = 1 << 20
_SUFFIX = ".partial"
_ABANDONED_AFTER_S = 24 * 3600  # nobody computes that long on a row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Where one tensor of a shard lies in its file.

    Attributes:
        start: offset of its first byte.
        shape: its shape, the samples' axis first.
        dtype: of its elements.
    """

    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.shape[1:]

    @property
    def row_bytes(self) -> int:
        """Bytes of one sample."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    @property
    def n_bytes(self) -> int:
        """Bytes of all samples."""
        return self.shape[0] * self.row_bytes


@dataclasses.dataclass(frozen=True)
class Header:
    """What a shard's file says of itself: the digest of its content, and its tensors."""

    digest: str
    tensors: Mapping[str, Layout]


def read_header(path: Path) -> Header:
    """The header of a safetensors file: eight bytes of length, then JSON.

    Raises:
        CacheError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            tree = json.loads(file.read(length))
        metadata = tree.pop("__metadata__")
        tensors = {name: _layout(entry, 8 + length) for name, entry in tree.items()}
        return Header(metadata["digest"], tensors)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise unreadable(path, str(error)) from None


def _layout(entry: Mapping[str, Any], data_start: int) -> Layout:
    start, stop = entry["data_offsets"]
    layout = Layout(
        start=data_start + start, shape=tuple(entry["shape"]), dtype=DTYPES[entry["dtype"]]
    )
    if layout.n_bytes != stop - start:
        raise ValueError("its header contradicts itself")
    return layout


class ShardWriter:
    """A shard in the making, from whose rows on the disk the file appears in the end, or never.

    ``append`` and ``finish`` may be called by other threads, one at a time.

    Args:
        path: the file to be.
        n_rows: how many samples it will hold.
    """

    def __init__(self, path: Path, n_rows: int) -> None:
        self._path = path
        self._n_rows = n_rows
        self._n_written = 0
        # Not the process id: two containers that share a store may have the same one.
        self._partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{_SUFFIX}")
        self._file: BinaryIO | None = None
        self._layouts: dict[str, Layout] = {}  # counted from the first byte behind the header
        self._hashes: dict[str, hashlib._Hash] = {}
        self._data_start = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def append(self, rows: Mapping[str, Tensor]) -> None:
        """Write the next samples: each tensor's rows, its shape and dtype as in the first call.

        Raises:
            CacheError: the disk is full or not writable.
        """
        try:
            file = self._file or self._begin(rows)
            for name, tensor in rows.items():
                layout = self._layouts[name]
                memory = tensor.contiguous().view(torch.uint8).numpy().data
                self._hashes[name].update(memory)
                file.seek(self._data_start + layout.start + self._n_written * layout.row_bytes)
                file.write(memory)
            self._n_written += len(next(iter(rows.values())))
        except OSError as error:
            raise unwritable(self._path, error) from None

    def finish(self) -> None:
        """Give the file its name, now that all rows are there.

        Raises:
            CacheError: the disk is full or not writable.
        """
        if self._file is None or self._n_written != self._n_rows:
            raise ValueError(f"{self._n_written} of {self._n_rows} rows are written")
        try:
            self._file.seek(0)
            self._file.write(self._header())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.replace(self._path)
        except OSError as error:
            raise unwritable(self._path, error) from None

    def discard(self) -> None:
        """Leave nothing behind of a shard that is not finished."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # the disk may be full still
                self._file.close()
        self._partial.unlink(missing_ok=True)

    def _begin(self, rows: Mapping[str, Tensor]) -> BinaryIO:
        # As the safetensors library does: the widest elements first, so that all are aligned.
        names = sorted(rows, key=lambda name: (-rows[name].dtype.itemsize, name))
        start = 0
        for name in names:
            shape = (self._n_rows, *rows[name].shape[1:])
            layout = Layout(start=start, shape=shape, dtype=rows[name].dtype)
            start += self._n_rows * layout.row_bytes
            self._layouts[name] = layout
            self._hashes[name] = hashlib.sha256()
        self._data_start = len(self._header())
        self._file = self._partial.open("wb")
        return self._file

    def _header(self) -> bytes:
        tree: dict[str, Any] = {"__metadata__": {"digest": _digest(self._layouts, self._hashes)}}
        for name, layout in self._layouts.items():
            tree[name] = {
                "dtype": _NAMES[layout.dtype],
                "shape": layout.shape,
                "data_offsets": [layout.start, layout.start + layout.n_bytes],
            }
        text = json.dumps(tree, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # so that the tensors are aligned
        return len(text).to_bytes(8, "little") + text


def write_shard(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a shard, whole or not at all, with a digest of their bytes.

    Raises:
        CacheError: the disk is full or not writable.
    """
    with ShardWriter(path, len(next(iter(tensors.values())))) as writer:
        writer.append(tensors)
        writer.finish()


def remove_abandoned(folder: Path) -> None:
    """Remove what killed runs left of shards that were not finished, once it is a day old."""
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):  # another run may be at it, too
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S:
                path.unlink()


def is_intact(path: Path) -> bool:
    """Whether a shard exists and its bytes are those that were written."""
    try:
        header = read_header(path)
        with path.open("rb") as file:
            hashes = {name: _hash(file, layout) for name, layout in header.tensors.items()}
    except (OSError, CacheError):
        return False
    return header.digest == _digest(header.tensors, hashes)


def _hash(file: BinaryIO, layout: Layout) -> hashlib._Hash:
    hashed = hashlib.sha256()
    file.seek(layout.start)
    left = layout.n_bytes
    while left and (chunk := file.read(min(left, _CHUNK))):
        hashed.update(chunk)
        left -= len(chunk)
    return hashed


def _digest(layouts: Mapping[str, Layout], hashes: Mapping[str, hashlib._Hash]) -> str:
    """One digest of tensors: of what each is called, what it is, and the digest of its bytes."""
    facts = [
        f"{name} {_NAMES[layouts[name].dtype]} {layouts[name].shape} {hashes[name].hexdigest()}"
        for name in sorted(layouts)
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def unreadable(path: Path, reason: str) -> CacheError:
    """The error of a shard whose file is missing or damaged."""
    return CacheError(
        f"a shard cannot be read: {reason}",
        where=path,
        remedy="rm -r data/features, then dvc repro features",
    )


def unwritable(path: Path, error: OSError) -> CacheError:
    """The error of a shard that the disk does not take."""
    return CacheError(
        f"a shard cannot be written: {error.strerror}",
        where=path,
        remedy="free some disk space, or point FISHSEG_STORE to a larger disk; what is computed so "
        "far is kept, and the next `dvc repro` goes on from there",
    )
