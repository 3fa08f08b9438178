"""Run the frozen backbone over every sample of the inventory, once.

`fishseg.features.compute` says how. A shard is written while the next one is computed.
Memory holds a few shards, however many images there are.

The name of a shard in the store is the fingerprint of all that determines its content, so a shard
is never reused for what other parameters or other code would give, and a run that was killed loses
the shards in hand at most. That is also how several machines share the work (`fishseg.cluster`):
this process plans, and workers fill the store with what is missing there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from fishseg import cluster, devices, store
from fishseg.backbones.loading import Backbone
from fishseg.backbones.model import LIBRARIES
from fishseg.errors import BackboneError
from fishseg.features import compute, masks
from fishseg.features.compute import ImageFile, Row
from fishseg.features.shard_file import is_intact, write_shard
from fishseg.features.shards import Index, Shard
from fishseg.images.mask_rule import parse_rule
from fishseg.images.resizing import working_size
from fishseg.parallel import ordered_map
from fishseg.params import FeaturesParams

log = logging.getLogger(__name__)

# Shards that are written at once. As many more wait in memory for one of them to be finished.
WRITERS = 2
# What reading a sample takes of the inventory; the rest is not kept in memory.
NEEDED = ["sample_id", "image_path", "mask_path", "mask_rule", "width", "height"]
FEATURES_LIBRARIES = (*LIBRARIES, "numpy", "pillow", "pillow-heif")
MASKS_LIBRARIES = ("numpy", "scipy", "pillow", "pillow-heif")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PlannedShard:
    """A shard to be, with its samples (rows of the inventory) and its names in the store."""

    shard: Shard
    samples: pd.DataFrame
    stored_features: Path
    stored_masks: Path
    with_valid: bool  # whether any mask of the set has pixels that do not count
    with_objects: bool  # whether any mask of the set numbers its fish


def extract(
    inventory: pd.DataFrame,
    backbone: Backbone,
    params: FeaturesParams,
    folder: Path,
    device: torch.device,
    *,
    reload: Callable[[], Backbone] | None = None,
) -> Index:
    """Fill ``folder`` with the shards of every sample of the inventory and their index.

    Shards that an earlier run left in the store are linked, not computed again.

    Args:
        inventory: the samples.
        backbone: on ``device``.
        params: what to compute.
        folder: where to.
        device: where to compute.
        reload: loads the same backbone in another process, such as of another machine; where it
            is given and ``FISHSEG_RAY`` is set, Ray's workers compute.

    Raises:
        BackboneError: a worker lacks the backbone, or would compute other features.
        DataError: an image or a mask that can no longer be read.
        CacheError: not even one image fits into memory.
        StorageError: the disk is full, or the store or ``folder`` cannot be written.
    """
    store.make_folder(folder)
    index = Index(
        backbone={"name": backbone.name, "weights_sha256": backbone.weights_sha256},
        fit=params.fit,
        image_size=params.image_size,
        megapixels=params.megapixels,
        layers=params.layers,
        channels=backbone.channels,
        precision=str(backbone.dtype).removeprefix("torch."),
        dtype=params.dtype,
        shards=(),
    )
    planned = plan(inventory, params, backbone, index)
    del inventory  # the plan has all that is needed, in half the memory
    index = dataclasses.replace(index, shards=tuple(item.shard for item in planned))
    no_masks = _missing(planned, lambda item: item.stored_masks)
    no_features = _missing(planned, lambda item: item.stored_features)
    if reload is not None and cluster.asked():
        work = _Work(reload, params, _identity(backbone))
        _store_by_workers(no_masks, no_features, work, device)
    else:
        _store_alone(no_masks, no_features, backbone, params, device)
    for item in planned:
        store.link(item.stored_masks, folder / item.shard.masks_file)
        store.link(item.stored_features, folder / item.shard.features_file)
    index.write(folder)
    return index


def plan(
    inventory: pd.DataFrame, params: FeaturesParams, backbone: Backbone, index: Index
) -> list[PlannedShard]:
    """Deal the samples to shards: one working size each, ``shard_size`` samples at most."""
    columns = [*NEEDED, "image_sha256", "mask_sha256"]
    ordered = inventory[columns].sort_values("sample_id", ignore_index=True)
    sizes = [
        working_size(
            (height, width),
            fit=params.fit,
            image_size=params.image_size,
            megapixels=params.megapixels,
            patch_multiple=backbone.patch_multiple,
        )
        for height, width in zip(ordered["height"], ordered["width"], strict=True)
    ]
    # How images were fitted shows in the size alone, which is named beside these.
    settled = ("shards", "fit", "image_size", "megapixels")
    facts = {key: value for key, value in dataclasses.asdict(index).items() if key not in settled}
    facts["computed_by"] = type(backbone).__name__  # OpenVINO's last bits are not torch's
    place = store.folder("shards")
    with_valid = bool(ordered["mask_rule"].str.contains("ignore").any())
    with_objects = any(parse_rule(rule).numbers_fish for rule in ordered["mask_rule"].unique())
    planned: list[PlannedShard] = []
    for size in sorted(set(sizes)):
        members = ordered[[found == size for found in sizes]]
        for start, stop in _cuts(list(members["image_sha256"]), params.shard_size):
            samples = members.iloc[start:stop]
            number = len(planned)
            planned.append(
                PlannedShard(
                    shard=Shard(
                        features_file=f"features-{number:05d}.safetensors",
                        masks_file=f"masks-{number:05d}.safetensors",
                        size=size,
                        sample_ids=tuple(samples["sample_id"]),
                    ),
                    samples=samples[NEEDED],
                    with_valid=with_valid,
                    with_objects=with_objects,
                    stored_features=place / _features_name(size, samples, facts),
                    stored_masks=place
                    / _masks_name(size, samples, with_valid=with_valid, with_objects=with_objects),
                )
            )
    return planned


def _cuts(image_hashes: list[str], shard_size: int) -> list[tuple[int, int]]:
    """Start and end of each shard of a row of samples.

    An image whose hash divides by ``shard_size`` is the last of its shard. Where shards end is so
    decided by their content, not by their number: an image more or less changes the shard it falls
    into, and those behind it up to the next such image, not all that follow (content-defined
    chunking; Muthitacharoen et al., "A Low-bandwidth Network File System", SOSP 2001).
    """
    cuts, start = [], 0
    for position, name in enumerate(image_hashes, start=1):
        if int(name, 16) % shard_size == 0 or position - start == shard_size:
            cuts.append((start, position))
            start = position
    if start < len(image_hashes):
        cuts.append((start, len(image_hashes)))
    return cuts


def _features_name(size: tuple[int, int], samples: pd.DataFrame, facts: dict[str, Any]) -> str:
    name = store.fingerprint(
        {"size": size, "images": list(samples["image_sha256"]), **facts},
        modules=[compute.__name__],
        libraries=FEATURES_LIBRARIES,
    )
    return f"{name}.safetensors"


def _masks_name(
    size: tuple[int, int], samples: pd.DataFrame, *, with_valid: bool, with_objects: bool
) -> str:
    # Each is first read at its image's size.
    files = samples[["mask_sha256", "mask_rule", "height", "width"]]
    name = store.fingerprint(
        {
            "size": size,
            "masks": files.to_numpy().tolist(),
            "with_valid": with_valid,
            "with_objects": with_objects,
        },
        modules=[masks.__name__],
        libraries=MASKS_LIBRARIES,
    )
    return f"{name}.safetensors"


def _missing(
    planned: list[PlannedShard], stored: Callable[[PlannedShard], Path]
) -> list[PlannedShard]:
    """Those whose file in the store is not there, or damaged."""
    found = ordered_map(lambda item: is_intact(stored(item)), planned)
    return [item for item, intact in zip(planned, found, strict=True) if not intact]


def _store_alone(
    no_masks: list[PlannedShard],
    no_features: list[PlannedShard],
    backbone: Backbone,
    params: FeaturesParams,
    device: torch.device,
) -> None:
    """What is missing, by this process."""
    n_masks, n_images = _count(no_masks), _count(no_features)
    with tqdm(total=n_masks, desc="masks", unit="image", disable=not n_masks) as progress:
        _store_masks(no_masks, progress.update)
    if not no_features:
        log.info("all features were in the store")
        return
    with (
        _timed(n_images),
        tqdm(total=n_images, desc="features", unit="image") as progress,
        ThreadPoolExecutor(WRITERS) as writers,
    ):
        writing = _store_features(
            no_features, backbone, params, device, writers=writers, progress=progress.update
        )
        for future in writing:
            future.result()


def _store_by_workers(
    no_masks: list[PlannedShard],
    no_features: list[PlannedShard],
    work: _Work,
    device: torch.device,
) -> None:
    """What is missing, by Ray's workers, each with a backbone of its own."""
    masks_of, features_of = ({id(item) for item in some} for some in (no_masks, no_features))
    planned = {id(item): item for item in [*no_features, *no_masks]}
    gaps = [_Gap(item, key in masks_of, key in features_of) for key, item in planned.items()]
    n_images = sum(len(gap.planned.samples) for gap in gaps)
    with _timed(_count(no_features)), tqdm(total=n_images, desc="features", unit="image") as bar:
        # Two at once: while one part is written, the next is computed.
        each: cluster.Each = "gpu" if device.type == "cuda" else "node"
        for n_done in cluster.spread(work, gaps, each=each, at_once=2):
            bar.update(n_done)


@dataclasses.dataclass(frozen=True, eq=False)
class _Gap:
    """A shard, and what the store lacks of it."""

    planned: PlannedShard
    masks: bool
    features: bool


@dataclasses.dataclass(frozen=True)
class _Work:
    """What a worker is given, from which it makes itself ready."""

    reload: Callable[[], Backbone]
    params: FeaturesParams
    identity: dict[str, str]

    def __call__(self) -> _Filler:
        """A worker with its backbone.

        Raises:
            BackboneError: there is none, or its features would be others than were planned.
        """
        device = devices.select()
        backbone = self.reload()
        for what, found in _identity(backbone).items():
            if found != self.identity[what]:
                raise BackboneError(
                    f"a worker would compute other features: its {what} differs",
                    where=found,
                    expected=self.identity[what],
                    remedy="have the same commit, requirements.lock and kind of processor on all "
                    "machines, and start the run on one of them",
                )
        return _Filler(backbone, self.params, device)


def _identity(backbone: Backbone) -> dict[str, str]:
    """What a process must have in common with the one that planned."""
    code = store.fingerprint({}, modules=[compute.__name__], libraries=FEATURES_LIBRARIES)
    return {
        "backbone": f"{backbone.name} {backbone.weights_sha256}",
        "precision": str(backbone.dtype),
        "library": type(backbone).__name__,
        "code of features": code,
        "code of masks": store.fingerprint({}, modules=[masks.__name__], libraries=MASKS_LIBRARIES),
    }


class _Filler:
    """Fills gaps, in a process of Ray's."""

    def __init__(self, backbone: Backbone, params: FeaturesParams, device: torch.device) -> None:
        self._backbone, self._params, self._device = backbone, params, device
        self._computing = threading.Lock()
        self._writers = ThreadPoolExecutor(WRITERS)

    def __call__(self, gaps: list[_Gap]) -> Iterator[int]:
        """The number of images of each shard, once it is in the store.

        Where another worker died at it, what that one finished is there already.
        """
        no_masks = [gap.planned for gap in gaps if gap.masks]
        no_features = [gap.planned for gap in gaps if gap.features]
        _store_masks(_missing(no_masks, lambda item: item.stored_masks))
        with self._computing:
            missing = _missing(no_features, lambda item: item.stored_features)
            writing = _store_features(
                missing, self._backbone, self._params, self._device, writers=self._writers
            )
        for future in writing:
            future.result()
        yield from (len(gap.planned.samples) for gap in gaps)


def _count(planned: list[PlannedShard]) -> int:
    return sum(len(item.samples) for item in planned)


@contextlib.contextmanager
def _timed(n_images: int) -> Iterator[None]:
    started = time.perf_counter()
    yield
    rate = n_images / (time.perf_counter() - started)
    log.info("computed the features of %d images at %.2f images/s", n_images, rate)


def _store_masks(
    missing: list[PlannedShard], progress: Callable[[], object] = lambda: None
) -> None:
    columns = ["mask_path", "mask_rule", "height", "width"]
    wanted = (
        (item, Path(path), (height, width), rule)
        for item in missing
        for path, rule, height, width in item.samples[columns].itertuples(index=False, name=None)
    )
    packed = ordered_map(_read_packed, wanted)
    for item in missing:
        rows = []
        for _ in range(len(item.samples)):
            rows.append(next(packed))
            progress()
        tensors = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        write_shard(tensors, item.stored_masks)


def _read_packed(wanted: tuple[PlannedShard, Path, tuple[int, int], str]) -> dict[str, Tensor]:
    item, path, size, rule = wanted
    return masks.read_packed_mask(
        path,
        size,
        rule,
        item.shard.size,
        with_valid=item.with_valid,
        with_objects=item.with_objects,
    )


def _store_features(
    missing: list[PlannedShard],
    backbone: Backbone,
    params: FeaturesParams,
    device: torch.device,
    *,
    writers: ThreadPoolExecutor,
    progress: Callable[[], object] = lambda: None,
) -> deque[Future[None]]:
    """All are computed when this ends; what it gives are those that are still being written."""
    images = (
        ImageFile(Path(path), item.shard.size)
        for item in missing
        for path in item.samples["image_path"]
    )
    rows = compute.compute_rows(images, backbone, device, params.dtype, params.batch_size)
    writing: deque[Future[None]] = deque()
    for item in missing:
        some = []
        for row in itertools.islice(rows, len(item.samples)):
            some.append(row)
            progress()
        if len(writing) == WRITERS:
            writing.popleft().result()
        writing.append(writers.submit(_write, item.stored_features, some))
    return writing


def _write(path: Path, rows: list[Row]) -> None:
    """Write a shard of all its rows."""
    # Joined by numpy: torch would start threads of its own. What is joined is not kept twice.
    tensors = {
        name: torch.from_numpy(np.stack([row.pop(name).numpy() for row in rows]))
        for name in list(rows[0])
    }
    write_shard(tensors, path)
