"""The file of one shard: written row by row, whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fishseg.errors import CacheError
from fishseg.features.shard_file import (
    ShardWriter,
    is_intact,
    read_header,
    remove_abandoned,
    write_shard,
)

N_ROWS = 5


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "features": torch.randint(-128, 128, (N_ROWS, 3, 2, 2), generator=generator).to(torch.int8),
        "pixels": torch.randint(0, 256, (N_ROWS, 3, 5, 7), generator=generator).to(torch.uint8),
        "scales": torch.rand(N_ROWS, 3, generator=generator).half(),
    }


def test_any_reader_of_safetensors_reads_a_shard(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    write_shard(tensors, tmp_path / "shard")
    found = load_file(tmp_path / "shard")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
    for layout in read_header(tmp_path / "shard").tensors.values():
        assert layout.start % layout.dtype.itemsize == 0
    assert is_intact(tmp_path / "shard")
    assert list(tmp_path.iterdir()) == [tmp_path / "shard"]


def test_row_by_row_or_at_once_the_bytes_are_the_same(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    write_shard(tensors, tmp_path / "at once")
    with ShardWriter(tmp_path / "in parts", N_ROWS) as writer:
        for start, stop in ((0, 1), (1, 4), (4, N_ROWS)):
            writer.append({name: tensor[start:stop] for name, tensor in tensors.items()})
            assert not (tmp_path / "in parts").exists()
        writer.finish()
    assert (tmp_path / "in parts").read_bytes() == (tmp_path / "at once").read_bytes()


def test_rows_that_lie_otherwise_in_memory_are_written_as_they_count(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    write_shard({"pixels": tensors["pixels"]}, tmp_path / "shard")
    write_shard({"pixels": tensors["pixels"].mT.contiguous().mT}, tmp_path / "other")
    assert (tmp_path / "shard").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_shard_that_is_broken_off_leaves_nothing_behind(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    with ShardWriter(tmp_path / "shard", N_ROWS) as writer:
        writer.append({name: tensor[:2] for name, tensor in tensors.items()})
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_goes_after_a_day(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    write_shard(tensors, tmp_path / "finished")
    with ShardWriter(tmp_path / "shard", N_ROWS) as writer:
        writer.append({name: tensor[:2] for name, tensor in tensors.items()})
        (partial,) = set(tmp_path.iterdir()) - {tmp_path / "finished"}
        remove_abandoned(tmp_path)
        assert partial.exists()
        for path in tmp_path.iterdir():
            os.utime(path, (0, 0))
        remove_abandoned(tmp_path)
        assert list(tmp_path.iterdir()) == [tmp_path / "finished"]


@pytest.mark.parametrize("rows", [0, N_ROWS - 1])
def test_a_shard_that_lacks_rows_is_not_finished(
    tmp_path: Path, tensors: dict[str, Tensor], rows: int
) -> None:
    with ShardWriter(tmp_path / "shard", N_ROWS) as writer:
        if rows:
            writer.append({name: tensor[:rows] for name, tensor in tensors.items()})
        with pytest.raises(ValueError, match=f"{rows} of {N_ROWS} rows"):
            writer.finish()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_while_rows_arrive(tmp_path: Path) -> None:
    rows = {"pixels": torch.zeros(1, 3, 64, 64, dtype=torch.uint8)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ShardWriter(tmp_path / "shard", 4) as writer:
        writer.append(rows)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, before[1]))
        try:
            with pytest.raises(CacheError, match=r"(?s)cannot be written.*FISHSEG_STORE") as found:
                writer.append(rows)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.strerror(errno.EFBIG) in str(found.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"(?s)cannot be written.*FISHSEG_STORE"):
        write_shard({"masks": torch.zeros(1, dtype=torch.uint8)}, tmp_path / "gone" / "shard")


def test_every_flipped_byte_is_noticed(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "shard"
    write_shard(tensors, path)
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    # Blanks at the end of the header say nothing: they may be any blank.
    blanks = len(content[: 8 + header]) - len(content[: 8 + header].rstrip())
    for position in range(len(content)):
        if 8 + header - blanks <= position < 8 + header:
            continue
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert not is_intact(path), position


def test_a_shard_that_is_cut_off_is_noticed(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "shard"
    write_shard(tensors, path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert not is_intact(path), length
