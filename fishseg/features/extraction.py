"""Run the frozen backbone over every sample of the inventory, once.

Decoding and resizing happen in threads ahead of the backbone, writing in threads behind it.
Memory holds a few shards, however many images there are.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from fishseg import store
from fishseg.backbones import Backbone
from fishseg.datasets.images import read_image, read_mask, resize_mask
from fishseg.errors import CacheError
from fishseg.features import ranks
from fishseg.features.quantisation import dequantise, quantise
from fishseg.features.shards import (
    Index,
    Shard,
    fingerprint,
    is_intact,
    link,
    pack_mask,
    write_shard,
)
from fishseg.features.working import to_pixels, working_size
from fishseg.parallel import Item, Result, ordered_map
from fishseg.params import FeaturesParams

log = logging.getLogger(__name__)

# Where params.yaml leaves the batch size open; halved until it fits. On a CPU images are computed
# one by one, as prediction computes them, to the last bit.
LARGEST_BATCH = {"cuda": 128, "cpu": 1}
# Part of a shard's name. To be raised when the same image shall give other numbers.
COMPUTATION = 2
WRITERS = 2


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

    Shards that an earlier run left in the store are linked, not computed again. Processes that
    ``torchrun`` started together share the work.

    Raises:
        DataError: an image or a mask that can no longer be read.
        CacheError: the disk is full; or not even one image fits into memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = Index(
        backbone={"name": backbone.name, "weights_sha256": backbone.weights_sha256},
        fit=params.fit,
        image_size=params.image_size,
        layers=params.layers,
        channels=backbone.channels,
        precision=str(backbone.dtype).removeprefix("torch."),
        dtype=params.dtype,
        shards=(),
    )
    planned = plan(inventory, params, backbone.patch_multiple, index)
    index = dataclasses.replace(index, shards=tuple(item.shard for item in planned))
    with ranks.joined() as peers:
        no_masks = _missing(planned, lambda item: item.stored_masks)
        no_features = _missing(planned, lambda item: item.stored_features)
        peers.wait()  # all ranks deal from the same list
        _store_masks(peers.share(no_masks))
        _store_features(peers.share(no_features), backbone.to(device), params, device)
        peers.wait()
        if peers.is_first:
            for item in planned:
                link(item.stored_masks, folder / item.shard.masks_file)
                link(item.stored_features, folder / item.shard.features_file)
            index.write(folder)
        peers.wait()
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
    facts = {key: value for key, value in dataclasses.asdict(index).items() if key != "shards"}
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
                    samples=samples,
                    stored_features=_stored(
                        size, samples["image_sha256"], facts | {"computation": COMPUTATION}
                    ),
                    stored_masks=_stored(size, samples["mask_sha256"], {}),
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


def _stored(size: tuple[int, int], file_hashes: pd.Series[str], facts: dict[str, Any]) -> Path:
    name = fingerprint({"size": size, "files": list(file_hashes), **facts})
    return store.folder("shards") / f"{name}.safetensors"


def _missing(
    planned: list[PlannedShard], stored: Callable[[PlannedShard], Path]
) -> list[PlannedShard]:
    """Those whose file in the store is not there, or damaged."""
    found = ordered_map(lambda item: is_intact(stored(item)), planned)
    return [item for item, intact in zip(planned, found, strict=True) if not intact]


def _store_masks(missing: list[PlannedShard]) -> None:
    sizes = [(sample, item) for item in missing for sample in item.samples.itertuples()]
    masks = ordered_map(lambda pair: _read_mask(*pair), sizes)
    with tqdm(total=len(sizes), desc="masks", unit="image", disable=not sizes) as progress:
        for item in missing:
            rows = []
            for _ in range(len(item.samples)):
                rows.append(next(masks))
                progress.update()
            write_shard({"masks": torch.stack(rows)}, item.stored_masks)


def _read_mask(sample: Any, item: PlannedShard) -> Tensor:
    """A mask as bits ``(H, ceil(W / 8))``; a pixel is fish where the mask covers half of it."""
    mask = read_mask(Path(sample.mask_path), (sample.height, sample.width))
    return pack_mask(resize_mask(mask, item.shard.size) >= 128)


@dataclasses.dataclass
class Extractor:
    """The frozen backbone at work; its batches shrink where memory runs out.

    Attributes:
        backbone: on ``device``.
        dtype: what features are stored in, ``float16`` or ``int8``.
        device: where to compute.
        batch_size: images in one pass, halved when they do not fit.
    """

    backbone: Backbone
    dtype: str
    device: torch.device
    batch_size: int

    def batches(self, n_images: int, read: Callable[[int], Tensor]) -> Iterator[dict[str, Tensor]]:
        """What is stored of ``n_images`` images, batch by batch.

        On a GPU nobody has waited for the numbers yet.

        Args:
            n_images: how many.
            read: the pixels ``(N, 3, H, W)`` of all of them, of which that many are read.

        Raises:
            CacheError: not even one image fits into memory.
        """
        pieces = self._pieces(n_images, read)
        if self.device.type == "cpu":
            yield from _on_cores(self._compute, pieces)
        else:
            for stored in map(self._compute, pieces):
                yield {name: tensor.to("cpu", non_blocking=True) for name, tensor in stored.items()}

    def _pieces(self, n_images: int, read: Callable[[int], Tensor]) -> Iterator[Tensor]:
        start = 0
        while start < n_images:
            stop = min(start + self.batch_size, n_images)
            yield read(stop)[start:stop]
            start = stop

    def _compute(self, pixels: Tensor) -> dict[str, Tensor]:
        try:
            return compute(pixels, self.backbone, self.device, self.dtype)
        except RuntimeError as error:  # that is what torch.OutOfMemoryError is, too
            if not _is_out_of_memory(error):
                raise
        self._shrink(len(pixels))
        parts = [self._compute(part) for part in self._pieces(len(pixels), lambda _: pixels)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _shrink(self, n_failed: int) -> None:
        if n_failed == 1:
            raise CacheError(
                "one image at a time is too much for the memory",
                where=f"the device {self.device}",
                remedy="dvc exp run -S features.image_size=…, half of what it is; or close what "
                "else uses the memory",
            )
        self.batch_size = min(self.batch_size, n_failed // 2)
        log.warning("out of memory; going on with batches of %d", self.batch_size)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _on_cores(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``function`` of each item, in order, each computed by one core alone.

    Cores that never wait for one another do more than cores that share every product.
    """
    n_threads = torch.get_num_threads()

    def be_alone() -> None:
        torch.set_num_threads(1)

    try:
        yield from ordered_map(
            function, items, ahead=n_threads, workers=n_threads, initializer=be_alone
        )
    finally:
        torch.set_num_threads(n_threads)  # what threads that are yet to start will have


def _is_out_of_memory(error: RuntimeError) -> bool:
    # On the CPU torch has no class of its own for it.
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


def _store_features(
    missing: list[PlannedShard], backbone: Backbone, params: FeaturesParams, device: torch.device
) -> None:
    n_images = sum(len(item.samples) for item in missing)
    if not n_images:
        log.info("all features were in the store")
        return
    started = time.perf_counter()
    extractor = Extractor(
        backbone, params.dtype, device, params.batch_size or LARGEST_BATCH[device.type]
    )
    with (
        tqdm(total=n_images, desc="features", unit="image") as progress,
        ThreadPoolExecutor(WRITERS) as writers,
    ):
        writing: deque[Future[None]] = deque()
        for item, read in _pixels(missing, extractor):
            batches = []
            for batch in extractor.batches(len(item.samples), read):
                batches.append(batch)
                progress.update(len(batch["features"]))
            if len(writing) == WRITERS:
                writing.popleft().result()
            copied = torch.cuda.Event() if device.type == "cuda" else None
            if copied is not None:
                copied.record()
            pixels = read(len(item.samples))
            writing.append(writers.submit(_write, item, pixels, batches, copied))
        for future in writing:
            future.result()
    rate = n_images / (time.perf_counter() - started)
    log.info("computed the features of %d images at %.2f images/s", n_images, rate)


def _pixels(
    missing: list[PlannedShard], extractor: Extractor
) -> Iterator[tuple[PlannedShard, Callable[[int], Tensor]]]:
    """Each shard, and a function that waits for its first images and gives its pixels.

    Threads read ahead, over the ends of shards, straight into the shards' tensors.
    """
    buffers: deque[Tensor] = deque()

    def slots() -> Iterator[tuple[Path, Tensor]]:
        for item in missing:
            shape = (len(item.samples), 3, *item.shard.size)
            pinned = extractor.device.type == "cuda"
            buffers.append(torch.empty(shape, dtype=torch.uint8, pin_memory=pinned))
            paths = [Path(path) for path in item.samples["image_path"]]
            yield from zip(paths, buffers[-1], strict=True)

    arrivals = ordered_map(
        lambda slot: _read_pixels(*slot), slots(), ahead=2 * extractor.batch_size
    )
    for item in missing:
        n_read = 0

        def read(n_wanted: int) -> Tensor:
            nonlocal n_read
            while n_read < n_wanted:
                next(arrivals)
                n_read += 1
            return buffers[0]

        yield item, read
        buffers.popleft()


def _read_pixels(path: Path, slot: Tensor) -> None:
    size = (slot.shape[-2], slot.shape[-1])
    # Copied by numpy: torch would start threads of its own in each of these.
    slot.numpy()[:] = to_pixels(read_image(path), size)


def _write(
    item: PlannedShard,
    pixels: Tensor,
    batches: list[dict[str, Tensor]],
    copied: torch.cuda.Event | None,
) -> None:
    if copied is not None:
        copied.synchronize()
    tensors = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    write_shard({"pixels": pixels, **tensors}, item.stored_features)


def compute(
    pixels: Tensor, backbone: Backbone, device: torch.device, dtype: str
) -> dict[str, Tensor]:
    """What a feature shard holds of pixels ``(B, 3, H, W)`` uint8: features, and scales if int8."""
    features = backbone(pixels.to(device, non_blocking=True))
    if dtype == "int8":
        steps, scales = quantise(features)
        return {"features": steps, "scales": scales}
    return {"features": features.to(torch.float16)}


def features_of(
    pixels: Tensor, backbone: Backbone, device: torch.device, dtype: str = "float16"
) -> Tensor:
    """Features ``(B, C, h, w)`` float16 on the CPU, of pixels ``(B, 3, H, W)`` uint8.

    The same numbers as the cache gives, where ``dtype`` is that of its index.
    """
    stored = compute(pixels, backbone, device, dtype)
    features = stored["features"]
    if dtype == "int8":
        features = dequantise(features, stored["scales"])
    return features.cpu()
