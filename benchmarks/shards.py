"""What a shard costs to write, check and read, against the same tensors in Zarr 3.

Zarr's sharding codec keeps each sample as a chunk of its own with a CRC-32C, and reads single ones;
it would do what `fishseg.features.shard_file` does with a digest and by seeking. Zarr is no part of
the project; beside it, for this alone::

    pip install "zarr>=3,<4"
    python -m benchmarks.shards --out /tmp/benchmarks

In alternation, all from and to files that the system has in memory: whole shards written and on
the disk, shards checked, batches of scattered samples read.
"""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import zarr
from torch import Tensor
from zarr.codecs import Crc32cCodec

from benchmarks import timing
from benchmarks.timing import Spread, seconds
from fishseg.features import shard_file
from fishseg.features.shard_file import is_intact, read_header, read_rows, write_shard

# Two layers of a ViT-S/14 at the default size.
SHAPES = {
    "features": ((768, 32, 42), torch.float16),
    "pixels": ((3, 448, 588), torch.uint8),
}
BATCH_SIZE = 8
# What Zarr would do instead.
SPARED = (
    shard_file.Layout,
    shard_file.Header,
    shard_file.read_header,
    shard_file._layout,
    shard_file.is_intact,
    shard_file._digest,
    shard_file._bytes,
    shard_file.read_rows,
)


def main() -> None:
    """Measure and report."""
    options = timing.arguments(__doc__, samples=64, shards=4, batches=20)
    torch.manual_seed(0)
    whole = {
        name: torch.randn(options.samples, *shape).to(dtype)
        if dtype.is_floating_point
        else torch.randint(0, 256, (options.samples, *shape), dtype=dtype)
        for name, (shape, dtype) in SHAPES.items()
    }
    generator = np.random.default_rng(0)
    batches = [
        list(
            zip(
                generator.integers(options.shards, size=BATCH_SIZE).tolist(),
                generator.integers(options.samples, size=BATCH_SIZE).tolist(),
                strict=True,
            )
        )
        for _ in range(options.batches)
    ]
    with tempfile.TemporaryDirectory(dir=options.out.parent) as name:
        ours = [Path(name) / f"{number}.safetensors" for number in range(options.shards)]
        theirs = [Path(name) / f"{number}.zarr" for number in range(options.shards)]
        measured = timing.alternate(
            {
                "write": each(ours, lambda path: write_shard(whole, path)),
                "write, Zarr": each(theirs, lambda path: write_zarr(whole, path)),
                "check": each(ours, check),
                "check, Zarr": each(theirs, read_zarr),
                "read a batch": lambda: (
                    seconds(lambda: [read(ours, batch) for batch in batches]) / len(batches)
                ),
                "read a batch, Zarr": lambda: (
                    seconds(lambda: [rows_of_zarr(theirs, batch) for batch in batches])
                    / len(batches)
                ),
            },
            options.repeats,
        )
        for batch in batches:
            for mine, other in zip(read(ours, batch), rows_of_zarr(theirs, batch), strict=True):
                if not all(np.array_equal(mine[key], other[key]) for key in SHAPES):
                    raise ValueError("the two do not read the same")
        sizes = [sum(size(path) for path in paths) for paths in (ours, theirs)]
    summarise(measured, sizes, options.out)


def summarise(measured: dict[str, Spread], sizes: list[int], folder: Path) -> None:
    """Print and write what was found."""
    rows = [
        [name, str(value), str(measured[f"{name}, Zarr"] / value)]
        for name, value in measured.items()
        if "Zarr" not in name
    ]
    rows.append(["MB on the disk", f"{sizes[0] / 1e6:.1f}", f"{sizes[1] / sizes[0]:.3f}"])
    spared = sum(len(inspect.getsource(part).splitlines()) for part in SPARED)
    rows.append(["lines of code that Zarr would do without", str(spared), ""])
    facts = {"seconds": measured, "bytes": sizes, "lines": spared}
    timing.report(folder, "shards", ["", "s, or as it says", "Zarr's of ours"], rows, facts)


def each(paths: list[Path], work: Callable[[Path], object]) -> Callable[[], float]:
    """Seconds a shard of some work on all of them."""
    return lambda: seconds(lambda: [work(path) for path in paths]) / len(paths)


def check(path: Path) -> None:
    """See whether a shard is as it was written."""
    if not is_intact(path):
        raise ValueError(f"{path} is damaged")


def read(paths: list[Path], batch: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
    """Samples as (shard, row), each out of its file."""
    headers = {number: read_header(paths[number]) for number, _ in batch}
    found = []
    for number, row in batch:
        tensors = {}
        with paths[number].open("rb", buffering=0) as file:
            for name, layout in headers[number].tensors.items():
                tensors[name] = torch.empty((1, *layout.row_shape), dtype=layout.dtype)
                read_rows(file, layout, row, tensors[name])
        found.append({name: tensor[0] for name, tensor in tensors.items()})
    return found


def write_zarr(tensors: dict[str, Tensor], path: Path) -> None:
    """The same tensors as Zarr arrays: a shard file each, a chunk a sample."""
    shutil.rmtree(path, ignore_errors=True)
    group = zarr.create_group(path)
    for name, tensor in tensors.items():
        array = group.create_array(
            name,
            shape=tuple(tensor.shape),
            dtype=tensor.numpy().dtype,
            chunks=(1, *tensor.shape[1:]),
            shards=tuple(tensor.shape),
            compressors=[Crc32cCodec()],
        )
        array[:] = tensor.numpy()
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("r+b") as written:
                os.fsync(written.fileno())


def read_zarr(path: Path) -> None:
    """Read everything, by which every checksum is compared."""
    group = zarr.open_group(path, mode="r")
    for name in SHAPES:
        group[name][:]


def rows_of_zarr(paths: list[Path], batch: list[tuple[int, int]]) -> list[dict[str, np.ndarray]]:
    """Samples as (shard, row), out of Zarr."""
    opened = {number: zarr.open_group(paths[number], mode="r") for number, _ in batch}
    return [{name: opened[number][name][row] for name in SHAPES} for number, row in batch]


def size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    main()
