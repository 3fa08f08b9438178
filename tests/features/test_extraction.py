from __future__ import annotations

import dataclasses
import errno
import hashlib
import itertools
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from fishseg import store
from fishseg.audit.inventory import build_inventory
from fishseg.backbones import Backbone, load_backbone, load_torch_backbone
from fishseg.errors import CacheError, StorageError
from fishseg.features import compute, extraction, shards
from fishseg.features.compute import ImageFile, Row
from fishseg.features.shard_file import is_intact
from fishseg.features.shards import FeatureCache
from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import ZERO_255
from fishseg.images.masks import read_mask
from fishseg.images.resizing import resize_mask, to_pixels
from fishseg.params import FeaturesParams

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Setting:
    """All that extraction takes, and where its folders go."""

    inventory: pd.DataFrame
    backbone: Backbone
    params: FeaturesParams
    workspace: Path

    @property
    def samples(self) -> list[str]:
        return list(self.inventory["sample_id"])

    def extract(
        self, name: str, *, inventory: pd.DataFrame | None = None, **changes: Any
    ) -> FeatureCache:
        """Fill the folder ``name``; ``changes`` are of the parameters."""
        table = self.inventory if inventory is None else inventory
        params = self.params.model_copy(update=changes)
        extraction.extract(table, self.backbone, params, self.workspace / name, CPU)
        return FeatureCache(self.workspace / name)

    def contents(self, name: str) -> dict[str, bytes]:
        paths = sorted((self.workspace / name).iterdir())
        return {path.name: path.read_bytes() for path in paths}


@pytest.fixture
def setting(
    fish_folder: Path, tiny_backbone: Path, features_params: FeaturesParams, workspace: Path
) -> Setting:
    inventory = build_inventory(Path("data/raw"), max_broken_share=0).table
    return Setting(inventory, load_backbone(tiny_backbone, (-1,)), features_params, workspace)


def stored() -> list[Path]:
    return sorted(Path("data/.store/shards").iterdir())


def test_the_cache_holds_what_the_backbone_says_of_each_file(setting: Setting) -> None:
    cache = setting.extract("features")
    assert len(cache.index.shards) > 1
    for sample in setting.inventory.itertuples():
        batch = cache.batch([str(sample.sample_id)])
        image = read_image(Path(str(sample.image_path)))
        pixels = torch.from_numpy(to_pixels(image, cache.size(str(sample.sample_id))))[None]
        assert torch.equal(batch.pixels, pixels)
        assert batch.features.dtype == torch.float16
        expected = setting.backbone(pixels).clone()
        torch.testing.assert_close(batch.features.float(), expected, atol=2e-3, rtol=2e-3)
        mask = read_mask(Path(str(sample.mask_path)), (image.shape[0], image.shape[1]), ZERO_255)
        expected = torch.from_numpy(resize_mask(mask, (pixels.shape[2], pixels.shape[3])))
        assert torch.equal(batch.target()[0, 0].bool(), expected >= 128)


def test_batches_come_in_the_order_asked_for(setting: Setting) -> None:
    cache = setting.extract("features")
    asked = ["Trout/00003", "Shrimp/00001", "Trout/00001"]
    together = cache.batch(asked)
    for row, sample_id in enumerate(asked):
        assert torch.equal(together.features[row], cache.batch([sample_id]).features[0])
    assert together.target().unique().tolist() == [0.0, 1.0]


def test_the_same_bits_twice_from_an_empty_store(
    setting: Setting, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.extract("one")
    monkeypatch.setenv("FISHSEG_STORE", str(workspace / "other"))
    setting.extract("two")
    assert setting.contents("one") == setting.contents("two")


def test_a_second_run_computes_nothing_and_a_changed_parameter_everything(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.extract("one")
    computed: list[Path] = []
    real = compute.compute_rows

    def count(images: Iterable[ImageFile], *args: Any) -> Iterator[Row]:
        def counted() -> Iterator[ImageFile]:
            for image in images:
                computed.append(image.path)
                yield image

        return real(counted(), *args)

    monkeypatch.setattr(compute, "compute_rows", count)
    setting.extract("two")
    assert computed == []
    assert setting.contents("one") == setting.contents("two")
    setting.extract("three", megapixels=0.0066)
    assert sorted(map(str, computed)) == sorted(setting.inventory["image_path"])


def test_a_changed_mask_costs_no_backbone_pass(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.extract("one")
    monkeypatch.setattr(compute, "compute_rows", None)
    repaired, columns = setting.inventory.copy(), ["mask_path", "mask_sha256"]
    repaired.loc[0, columns] = repaired.loc[1, columns]
    cache = setting.extract("two", inventory=repaired)
    first, second = setting.samples[:2]
    assert torch.equal(cache.batch([first]).target(), cache.batch([second]).target())


@pytest.fixture
def sources(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's code that the names of shards go by, to be edited."""
    copy = workspace / "sources"
    shutil.copytree(store.SOURCES / "fishseg", copy / "fishseg")
    monkeypatch.setattr(store, "SOURCES", copy)
    return copy / "fishseg"


def edit(sources: Path, file: str, old: str, new: str) -> None:
    text = (sources / file).read_text()
    assert old in text
    (sources / file).write_text(text.replace(old, new))
    store._code_sha256.cache_clear()  # as another run would begin


RESIZE_RULE = ("images/resizing.py", "round(length / multiple)", "int(length / multiple)")
RESIZE_DOCSTRING = ("images/resizing.py", "A pixel is an area", "A pixel is no point")


@pytest.mark.parametrize(
    ("change", "masks_anew", "features_anew"),
    [
        (RESIZE_RULE, True, True),
        (RESIZE_DOCSTRING, False, False),
        (("features/masks.py", ">= 128", ">= 100"), True, False),
        (("backbones/model.py", "import torch\n", "import torch\n\nONE = 1\n"), False, True),
        (("backbones/model.py", "class TorchB", "# Frozen.\nclass TorchB"), False, False),
        (("backbones/openvino_model.py", '"half_pixel"', '"asymmetric"'), False, True),
        (("backbones/hub.py", "import annotations", "import annotations\n\nONE = 1"), False, False),
        (("features/quantisation.py", "STEPS = 127", "STEPS = 63"), False, True),
        (("params.py", "import annotations", "import annotations\n\nONE = 1"), False, False),
        (("training/losses.py", "torch", "numpy"), False, False),
    ],
)
def test_changed_code_renames_the_shards_it_computes(
    setting: Setting,
    workspace: Path,
    sources: Path,
    change: tuple[str, str, str],
    masks_anew: bool,
    features_anew: bool,
) -> None:
    index = shards.Index.read(_indexed(workspace))
    before = extraction.plan(setting.inventory, setting.params, setting.backbone, index)
    edit(sources, *change)
    after = extraction.plan(setting.inventory, setting.params, setting.backbone, index)
    for old, new in zip(before, after, strict=True):
        assert (old.stored_masks != new.stored_masks) == masks_anew
        assert (old.stored_features != new.stored_features) == features_anew


@pytest.mark.parametrize(("change", "kinds_anew"), [(RESIZE_RULE, 2), (RESIZE_DOCSTRING, 0)])
def test_what_changed_code_computes_is_computed_anew(
    setting: Setting, sources: Path, change: tuple[str, str, str], kinds_anew: int
) -> None:
    index = setting.extract("one").index
    before = set(stored())
    edit(sources, *change)
    setting.extract("two")
    assert len(set(stored()) - before) == kinds_anew * len(index.shards)
    assert setting.contents("one") == setting.contents("two")  # what runs is as it was


def test_another_version_of_a_library_has_shards_of_its_own(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.extract("one")
    before = set(stored())
    real = store._version
    monkeypatch.setattr(store, "_version", lambda name: "0" if name == "torch" else real(name))
    index = setting.extract("two").index
    assert len(set(stored()) - before) == len(index.shards)  # no masks: torch has no part in them


def test_torch_has_shards_of_its_own_beside_openvino_s(
    setting: Setting, tiny_backbone: Path
) -> None:
    index = setting.extract("one").index
    before = set(stored())
    by_torch = dataclasses.replace(setting, backbone=load_torch_backbone(tiny_backbone, (-1,)))
    by_torch.extract("two")
    assert len(set(stored()) - before) == len(index.shards)
    one, two = (FeatureCache(setting.workspace / name) for name in ("one", "two"))
    features = [cache.batch(setting.samples).features for cache in (one, two)]
    torch.testing.assert_close(features[0], features[1], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_shard_in_the_store_is_computed_again(setting: Setting, damage: str) -> None:
    setting.extract("one")
    before = setting.contents("one")
    for path in stored():
        content = bytearray(path.read_bytes())
        path.unlink()  # the hard link in the folder keeps the good bytes
        if damage == "truncated":
            path.write_bytes(content[: len(content) // 2])
        elif damage == "flipped":
            content[-10] ^= 1
            path.write_bytes(content)
    setting.extract("two")
    assert setting.contents("two") == before


def test_a_killed_run_keeps_its_finished_shards(
    setting: Setting, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHSEG_STORE", str(workspace / "other"))
    index = setting.extract("whole").index
    monkeypatch.delenv("FISHSEG_STORE")
    real = compute.compute_rows

    def die_in_the_second_shard(*args: Any) -> Iterator[Row]:
        yield from itertools.islice(real(*args), len(index.shards[0].sample_ids) + 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(compute, "compute_rows", die_in_the_second_shard)
    with pytest.raises(KeyboardInterrupt):
        setting.extract("one")
    kept = stored()
    assert len(kept) == len(index.shards) + 1  # all of masks, one of features
    assert all(is_intact(path) for path in kept)  # and no half-written file is left behind

    def compute_the_rest(images: Iterable[ImageFile], *args: Any) -> Iterator[Row]:
        wanted = list(images)
        assert len(wanted) == len(setting.samples) - len(index.shards[0].sample_ids)
        return real(wanted, *args)

    monkeypatch.setattr(compute, "compute_rows", compute_the_rest)
    setting.extract("one")
    assert setting.contents("one") == setting.contents("whole")


def test_images_of_other_proportions_get_shards_of_their_own(
    setting: Setting, workspace: Path
) -> None:
    table = setting.inventory.copy()
    table.loc[table["class_name"] == "Trout", ["width", "height"]] = [44, 59]
    index = shards.Index.read(_indexed(workspace))
    planned = extraction.plan(table, setting.params, setting.backbone, index)
    assert list(dict.fromkeys(item.shard.size for item in planned)) == [(56, 70), (70, 56)]
    assert all(len({name.split("/")[0] for name in item.shard.sample_ids}) == 1 for item in planned)


def hashes(names: range) -> list[str]:
    return [hashlib.sha256(str(name).encode()).hexdigest() for name in names]


def chunks(names: list[str], shard_size: int) -> set[tuple[str, ...]]:
    return {tuple(names[start:stop]) for start, stop in extraction._cuts(names, shard_size)}


def test_every_sample_is_in_one_shard_and_none_is_too_large() -> None:
    cuts = extraction._cuts(hashes(range(3000)), 64)
    assert [start for start, _ in cuts] == [0, *(stop for _, stop in cuts[:-1])]
    assert cuts[-1][1] == 3000
    assert max(stop - start for start, stop in cuts) <= 64
    assert len(cuts) < 3000 / 64 * 2


@pytest.mark.parametrize("place", [0, 1, 500, 1777, 3000])
def test_ten_more_images_leave_most_shards_alone(place: int) -> None:
    names, more = hashes(range(3000)), hashes(range(3000, 3010))
    before = chunks(names, 64)
    after = chunks(names[:place] + more + names[place:], 64)
    # The changed ones end at the next image whose hash divides by 64, about 64 images further.
    assert len(after - before) <= 5
    assert len(after) > 60


def test_a_disk_that_fills_up_loses_no_finished_shard(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"(?s)No space left.*free some disk space"):
        setting.extract("one")
    kept = stored()
    assert len(kept) >= 5
    assert all(is_intact(path) for path in kept)  # and no half-written file is left behind
    setting.extract("one")
    assert set(kept) < set(stored())


@pytest.mark.parametrize("place", ["store", "features"])
def test_a_place_that_cannot_be_written_is_one_clear_error(
    setting: Setting, workspace: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (workspace / "file").touch()
    if place == "store":
        monkeypatch.setenv("FISHSEG_STORE", "file")
    name = "one" if place == "store" else "file/features"
    with pytest.raises(StorageError, match=r"(?s)Not a directory.*where.*file/") as caught:
        setting.extract(name)
    assert caught.value.remedy is not None
    assert ("FISHSEG_STORE" in caught.value.remedy) == (place == "store")


def test_an_index_is_written_whole_or_not_at_all(
    setting: Setting, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.extract("one")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"(?s)No space left.*index\.json"):
        setting.extract("two")
    assert {path.suffix for path in (workspace / "two").iterdir()} == {".safetensors"}


@pytest.mark.skipif(os.name != "posix", reason="there is no umask")
def test_features_are_for_whom_the_umask_lets_read_them(setting: Setting, workspace: Path) -> None:
    before = os.umask(0o022)
    try:
        setting.extract("one")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (workspace / "one").iterdir()}
    assert modes == {0o644}


def test_int8_is_half_the_size_and_a_hundredth_off(setting: Setting) -> None:
    caches = [setting.extract(dtype, dtype=dtype) for dtype in ("float16", "int8")]
    exact, rounded = (cache.batch(setting.samples) for cache in caches)
    assert rounded.stored.dtype == torch.int8
    assert rounded.features.dtype == torch.float16
    error = (rounded.features.float() - exact.features.float()).norm()
    assert 0 < float(error / exact.features.float().norm()) < 0.01
    assert torch.equal(rounded.pixels, exact.pixels)
    alone = compute.features_of(exact.pixels[3:4], setting.backbone, CPU, "int8")
    assert torch.equal(alone[0], rounded.features[3])


def test_two_runs_at_once_do_not_collide(setting: Setting) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(setting.extract, ("one", "two")))
    assert setting.contents("one") == setting.contents("two")
    assert all(is_intact(path) for path in stored())


def _indexed(workspace: Path) -> Path:
    shards.Index(
        backbone={"name": "tiny", "weights_sha256": "0"},
        fit="aspect",
        image_size=56,
        megapixels=0.0042,
        layers=(-1,),
        channels=32,
        precision="float32",
        dtype="float16",
        shards=(),
    ).write(workspace)
    return workspace


def test_an_unknown_sample_or_a_missing_index_says_what_to_run(
    setting: Setting, workspace: Path
) -> None:
    with pytest.raises(CacheError, match="dvc repro features"):
        FeatureCache(workspace)
    cache = setting.extract("one")
    with pytest.raises(CacheError, match="no features of Trout/99999"):
        cache.batch(["Trout/99999"])
