"""The file of one shard: whole or not at all, and read row by row."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fishseg.errors import StorageError
from fishseg.features.shard_file import is_intact, read_header, read_rows, write_shard

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


def test_rows_that_lie_otherwise_in_memory_are_written_as_they_count(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    write_shard({"pixels": tensors["pixels"]}, tmp_path / "shard")
    write_shard({"pixels": tensors["pixels"].mT.contiguous().mT}, tmp_path / "other")
    assert (tmp_path / "shard").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize(("row", "n_rows"), [(0, 1), (1, 3), (4, 1), (0, N_ROWS)])
def test_rows_are_read_on_their_own(
    tmp_path: Path, tensors: dict[str, Tensor], row: int, n_rows: int
) -> None:
    write_shard(tensors, tmp_path / "shard")
    header = read_header(tmp_path / "shard")
    with (tmp_path / "shard").open("rb", buffering=0) as file:
        for name, layout in header.tensors.items():
            target = torch.zeros((n_rows, *layout.row_shape), dtype=layout.dtype)
            read_rows(file, layout, row, target)
            assert torch.equal(target, tensors[name][row : row + n_rows])
            assert layout.row_bytes == tensors[name][0].nbytes


def test_rows_beyond_the_end_are_an_error(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    write_shard({"masks": tensors["pixels"]}, tmp_path / "shard")
    layout = read_header(tmp_path / "shard").tensors["masks"]
    target = torch.zeros((2, *layout.row_shape), dtype=layout.dtype)
    with (
        (tmp_path / "shard").open("rb", buffering=0) as file,
        pytest.raises(OSError, match="cut off"),
    ):
        read_rows(file, layout, N_ROWS - 1, target)


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"(?s)cannot be written.*shard") as found:
            write_shard(
                {"pixels": torch.zeros(4, 3, 64, 64, dtype=torch.uint8)}, tmp_path / "shard"
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.strerror(errno.EFBIG) in str(found.value)
    assert not list(tmp_path.iterdir())


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
