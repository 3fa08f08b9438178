from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fishseg import devices
from fishseg.errors import CacheError
from fishseg.features.loading import Loader
from fishseg.features.mask_bits import pack_mask
from fishseg.features.shard_file import write_shard
from fishseg.features.shards import Batch, FeatureCache, Index, Shard

CPU = torch.device("cpu")
SIZES = {"wide": (28, 42), "tall": (42, 28)}
SAMPLES = [f"{size}/{number}" for number in range(9) for size in SIZES]


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """Eighteen samples of two working sizes in six shards; a pixel tells whose it is."""
    shards: list[Shard] = []
    for size_name, size in SIZES.items():
        for start in range(0, 9, 3):
            number = len(shards)
            names = tuple(f"{size_name}/{start + row}" for row in range(3))
            shard = Shard(
                features_file=f"features-{number}",
                masks_file=f"masks-{number}",
                size=size,
                sample_ids=names,
            )
            marks = torch.tensor([SAMPLES.index(name) for name in names])
            height, width = size
            pixels = marks[:, None, None, None].expand(3, 3, height, width)
            features = torch.randn(3, 4, height // 14, width // 14)
            masks = torch.stack([pack_mask(drawn(int(mark), size)) for mark in marks])
            write_shard(
                {"features": features.half(), "pixels": pixels.to(torch.uint8)},
                tmp_path / shard.features_file,
            )
            write_shard({"masks": masks}, tmp_path / shard.masks_file)
            shards.append(shard)
    Index(
        backbone={"name": "none", "weights_sha256": "0"},
        fit="aspect",
        image_size=28,
        megapixels=0.001,
        layers=(-1,),
        channels=4,
        precision="float32",
        dtype="float16",
        shards=tuple(shards),
    ).write(tmp_path)
    return FeatureCache(tmp_path)


def drawn(seed: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).random(size) < 0.5


def marks(batch: Batch) -> list[int]:
    found = batch.pixels.flatten(1)
    assert torch.equal(found.min(1).values, found.max(1).values)
    return [int(mark) for mark in found[:, 0]]


def test_unshuffled_batches_keep_the_order_within_a_size(cache: FeatureCache) -> None:
    loader = Loader(cache, SAMPLES, 4, CPU)
    dealt = [marks(batch) for batch in loader.batches()]
    assert dealt == [[0, 2, 4, 6], [8, 10, 12, 14], [16], [1, 3, 5, 7], [9, 11, 13, 15], [17]]
    assert len(loader) == len(dealt)


@pytest.mark.parametrize("shuffle", [False, True])
def test_resident_and_streamed_batches_are_the_same_bits(
    cache: FeatureCache, shuffle: bool
) -> None:
    passes = []
    for memory_bytes in (10**9, 0):
        torch.manual_seed(3)
        loader = Loader(cache, SAMPLES, 4, CPU, memory_bytes=memory_bytes)
        passes.append([batch for _ in range(2) for batch in loader.batches(shuffle=shuffle)])
    assert len(passes[0]) == len(passes[1]) == 12
    for resident, streamed in zip(*passes, strict=True):
        for name in ("stored", "pixels", "masks"):
            assert torch.equal(getattr(resident, name), getattr(streamed, name))


def test_released_batches_are_the_same_bits(cache: FeatureCache) -> None:
    loader = Loader(cache, SAMPLES, 4, CPU, memory_bytes=10**9)
    resident = list(loader.batches())
    assert loader.release()
    assert all(group.resident is None for group in loader._groups)
    assert not loader.release()
    for before, after in zip(resident, loader.batches(), strict=True):
        assert torch.equal(before.stored, after.stored)
        assert torch.equal(before.pixels, after.pixels)


def test_samples_that_find_no_room_are_read_from_the_shards(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [marks(batch) for batch in Loader(cache, SAMPLES, 4, CPU).batches()]
    read_all, tried = Loader._read_all, []

    def taken_by_another_process(*args: Any) -> Batch:
        tried.append(len(args[1]))
        if len(tried) == 2:  # the first size had room
            raise torch.OutOfMemoryError("CUDA out of memory")
        return read_all(*args)

    monkeypatch.setattr(Loader, "_read_all", taken_by_another_process)
    loader = Loader(cache, SAMPLES, 4, CPU)
    assert tried == [9, 9]
    assert not loader.release()
    assert [marks(batch) for batch in loader.batches()] == expected


def test_a_shuffled_pass_has_every_sample_once_and_one_size_a_batch(cache: FeatureCache) -> None:
    torch.manual_seed(0)
    loader = Loader(cache, SAMPLES, 4, CPU)
    first, second = ([marks(batch) for batch in loader.batches(shuffle=True)] for _ in range(2))
    assert first != second
    for dealt in (first, second):
        assert sorted(mark for batch in dealt for mark in batch) == list(range(18))
        assert all(len({mark % 2 for mark in batch}) == 1 for batch in dealt)


def test_a_batch_is_what_the_cache_says_of_its_samples(cache: FeatureCache) -> None:
    torch.manual_seed(0)
    for memory_bytes in (10**9, 0):
        loader = Loader(cache, SAMPLES, 5, CPU, memory_bytes=memory_bytes)
        for batch in loader.batches(shuffle=True):
            for row, mark in enumerate(marks(batch)):
                alone = cache.batch([SAMPLES[mark]])
                assert torch.equal(batch.features[row], alone.features[0])
                size = (alone.pixels.shape[2], alone.pixels.shape[3])
                assert np.array_equal(batch.target()[row, 0].bool().numpy(), drawn(mark, size))


def test_a_part_of_the_samples_is_a_loader_of_its_own(cache: FeatureCache) -> None:
    wanted = ["tall/7", "tall/1", "tall/2", "tall/8"]
    for memory_bytes in (10**9, 0):
        (batch,) = Loader(cache, wanted, 8, CPU, memory_bytes=memory_bytes).batches()
        assert [SAMPLES[mark] for mark in marks(batch)] == wanted


def test_a_shard_that_was_cut_off_says_what_to_do(cache: FeatureCache) -> None:
    path = cache.folder / "features-2"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CacheError, match=r"(?s)cut off.*features-2.*dvc repro features"):
        Loader(cache, SAMPLES, 4, CPU)
    with pytest.raises(CacheError, match="cut off"):
        list(Loader(cache, SAMPLES, 4, CPU, memory_bytes=0).batches())


def test_an_unknown_sample_fails_before_the_first_batch(cache: FeatureCache) -> None:
    with pytest.raises(CacheError, match="no features of wide/99"):
        Loader(cache, ["wide/1", "wide/99"], 4, CPU)


def test_the_environment_limits_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHSEG_MEMORY_GB", "0.5")
    assert devices.memory_budget(CPU) == 500_000_000
    monkeypatch.delenv("FISHSEG_MEMORY_GB")
    assert devices.memory_budget(CPU) > 0


@pytest.mark.parametrize("width", [1, 7, 8, 9, 588])
def test_a_packed_mask_unpacks_to_itself(width: int) -> None:
    mask = drawn(width, (5, width))
    batch = Batch(
        stored=torch.zeros(1, 1, 1, 1, dtype=torch.float16),
        pixels=torch.zeros(1, 3, 5, width, dtype=torch.uint8),
        masks=pack_mask(mask)[None],
    )
    assert batch.target().shape == (1, 1, 5, width)
    assert np.array_equal(batch.target()[0, 0].numpy(), mask.astype(np.float32))
