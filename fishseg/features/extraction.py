"""Run the frozen backbone over every sample of the inventory, once.

Decoding and resizing happen in threads ahead of the backbone, writing in a thread behind it.
Memory holds a few shards, however many images there are.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from fishseg import devices, store
from fishseg.backbones import Backbone
from fishseg.datasets.images import read_image, read_mask, resize_mask
from fishseg.features.shards import Index, Shard, fingerprint, is_intact, link, write_shard
from fishseg.features.working import to_pixels, working_size
from fishseg.parallel import ordered_map
from fishseg.params import FeaturesParams

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedShard:
    """A shard to be, with its samples (rows of the inventory) and its names in the store."""

    shard: Shard
    samples: pd.DataFrame
    stored_features: Path
    stored_masks: Path


def extract(
    inventory: pd.DataFrame,
    backbone: Backbone,
    params: FeaturesParams,
    folder: Path,
    device: torch.device,
) -> Index:
    """Fill ``folder`` with the shards of every sample of the inventory and their index.

    Shards that an earlier run left in the store are linked, not computed again.

    Raises:
        DataError: an image or a mask that can no longer be read.
        CacheError: the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = Index(
        backbone={"name": backbone.name, "weights_sha256": backbone.weights_sha256},
        fit=params.fit,
        image_size=params.image_size,
        layers=params.layers,
        channels=backbone.channels,
        precision=str(devices.precision(device)).removeprefix("torch."),
        shards=(),
    )
    planned = plan(inventory, params, backbone.patch_multiple, index)
    with tqdm(total=len(inventory), desc="masks", unit="image") as progress:
        for item in planned:
            if not is_intact(item.stored_masks):
                write_shard({"masks": _read_masks(item)}, item.stored_masks)
            link(item.stored_masks, folder / item.shard.masks_file)
            progress.update(len(item.samples))
    missing = [item for item in planned if not is_intact(item.stored_features)]
    _compute_missing(missing, backbone.to(device), params.batch_size, device)
    for item in planned:
        link(item.stored_features, folder / item.shard.features_file)
    index = dataclasses.replace(index, shards=tuple(item.shard for item in planned))
    index.write(folder)
    return index


def plan(
    inventory: pd.DataFrame, params: FeaturesParams, patch_multiple: int, index: Index
) -> list[PlannedShard]:
    """Deal the samples to shards: one working size each, ``shard_size`` samples at most."""
    ordered = inventory.sort_values("sample_id", ignore_index=True)
    sizes = [
        working_size(
            (height, width),
            fit=params.fit,
            image_size=params.image_size,
            patch_multiple=patch_multiple,
        )
        for height, width in zip(ordered["height"], ordered["width"], strict=True)
    ]
    facts = dataclasses.asdict(index)
    planned: list[PlannedShard] = []
    for size in sorted(set(sizes)):
        members = ordered[[found == size for found in sizes]]
        for start in range(0, len(members), params.shard_size):
            samples = members.iloc[start : start + params.shard_size]
            number = len(planned)
            planned.append(
                PlannedShard(
                    shard=Shard(
                        features_file=f"features-{number:05d}.safetensors",
                        masks_file=f"masks-{number:05d}.safetensors",
                        size=size,
                        sample_ids=tuple(samples["sample_id"]),
                    ),
                    samples=samples,
                    stored_features=_stored(size, samples["image_sha256"], facts),
                    stored_masks=_stored(size, samples["mask_sha256"], {}),
                )
            )
    return planned


def _stored(size: tuple[int, int], file_hashes: pd.Series[str], facts: dict[str, Any]) -> Path:
    name = fingerprint({"size": size, "files": list(file_hashes), **facts})
    return store.folder("shards") / f"{name}.safetensors"


def _read_masks(item: PlannedShard) -> Tensor:
    """The masks of a shard ``(N, H, W)`` uint8."""

    def read(sample: Any) -> Tensor:
        mask = read_mask(Path(sample.mask_path), (sample.height, sample.width))
        return torch.from_numpy(resize_mask(mask, item.shard.size))

    return torch.stack(list(ordered_map(read, item.samples.itertuples())))


def _compute_missing(
    missing: list[PlannedShard], backbone: Backbone, batch_size: int, device: torch.device
) -> None:
    n_images = sum(len(item.samples) for item in missing)
    if not n_images:
        log.info("all features were in the store")
        return
    started = time.perf_counter()
    # One stream of pixels over all shards, so that reading does not pause between two of them.
    pixels = ordered_map(_read_pixels, _samples(missing), ahead=2 * batch_size)
    with (
        tqdm(total=n_images, desc="features", unit="image") as progress,
        ThreadPoolExecutor(1) as writer,
    ):
        writing: Future[None] | None = None
        for item in missing:
            batches = []
            for start in range(0, len(item.samples), batch_size):
                n_batch = min(batch_size, len(item.samples) - start)
                batch = torch.stack(list(itertools.islice(pixels, n_batch)))
                batches.append((batch, features_of(batch, backbone, device)))
                progress.update(n_batch)
            tensors = {
                "pixels": torch.cat([batch for batch, _ in batches]),
                "features": torch.cat([features for _, features in batches]),
            }
            if writing is not None:
                writing.result()
            writing = writer.submit(write_shard, tensors, item.stored_features)
        if writing is not None:
            writing.result()
    rate = n_images / (time.perf_counter() - started)
    log.info("computed the features of %d images at %.2f images/s", n_images, rate)


def _samples(missing: list[PlannedShard]) -> Iterator[tuple[Path, tuple[int, int]]]:
    for item in missing:
        for path in item.samples["image_path"]:
            yield Path(path), item.shard.size


def _read_pixels(sample: tuple[Path, tuple[int, int]]) -> Tensor:
    path, size = sample
    return to_pixels(read_image(path), size)


def features_of(pixels: Tensor, backbone: Backbone, device: torch.device) -> Tensor:
    """Features ``(B, C, h, w)`` float16 on the CPU, of pixels ``(B, 3, H, W)`` uint8.

    The one path from pixels to features, for the cache and for prediction alike.
    """
    dtype = devices.precision(device)
    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32),
    ):
        features: Tensor = backbone(pixels.to(device, non_blocking=True))
    return features.to(torch.float16).cpu()
