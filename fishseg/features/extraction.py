"""Run the frozen backbone over every sample of the inventory, once.

On a GPU, decoding and resizing happen in threads ahead of the backbone; on a CPU each core does it
for the image it computes next. A shard is written while the next one is computed.
Memory holds a few shards, however many images there are.

The name of a shard in the store is the fingerprint of all that determines its content, so a shard
is never reused for what other parameters or other code would give, and a run that was killed loses
the shards in hand at most.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from fishseg import store
from fishseg.backbones.model import LIBRARIES, Backbone
from fishseg.errors import CacheError
from fishseg.features import masks, ranks
from fishseg.features.quantisation import dequantise, quantise
from fishseg.features.shard_file import is_intact, write_shard
from fishseg.features.shards import Index, Shard
from fishseg.images.decoding import read_image
from fishseg.images.resizing import to_pixels, working_size
from fishseg.parallel import Item, Result, ordered_map
from fishseg.params import FeaturesParams

log = logging.getLogger(__name__)

# Where params.yaml leaves the batch size open; halved until it fits. On a CPU images are computed
# one by one, as prediction computes them, to the last bit.
LARGEST_BATCH = {"cuda": 128, "cpu": 1}
# Shards that are written at once. As many more wait in memory for one of them to be finished.
WRITERS = 2
# What reading a sample takes of the inventory; the rest is not kept in memory.
NEEDED = ["sample_id", "image_path", "mask_path", "mask_rule", "width", "height"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PlannedShard:
    """A shard to be, with its samples (rows of the inventory) and its names in the store."""

    shard: Shard
    samples: pd.DataFrame
    stored_features: Path
    stored_masks: Path
    with_valid: bool  # whether any mask of the set has pixels that do not count


def extract(
    inventory: pd.DataFrame,
    backbone: Backbone,
    params: FeaturesParams,
    folder: Path,
    device: torch.device,
) -> Index:
    """Fill ``folder`` with the shards of every sample of the inventory and their index.

    Shards that an earlier run left in the store are linked, not computed again. Processes that
    ``torchrun`` started together share the work. The backbone must be on ``device``.

    Raises:
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
    planned = plan(inventory, params, backbone.patch_multiple, index)
    del inventory  # the plan has all that is needed, in half the memory
    index = dataclasses.replace(index, shards=tuple(item.shard for item in planned))
    with ranks.joined() as peers:
        no_masks = _missing(planned, lambda item: item.stored_masks)
        no_features = _missing(planned, lambda item: item.stored_features)
        peers.wait()  # all ranks deal from the same list
        _store_masks(peers.share(no_masks))
        _store_features(peers.share(no_features), backbone, params, device)
        peers.wait()
        if peers.is_first:
            for item in planned:
                store.link(item.stored_masks, folder / item.shard.masks_file)
                store.link(item.stored_features, folder / item.shard.features_file)
            index.write(folder)
        peers.wait()
    return index


def plan(
    inventory: pd.DataFrame, params: FeaturesParams, patch_multiple: int, index: Index
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
            patch_multiple=patch_multiple,
        )
        for height, width in zip(ordered["height"], ordered["width"], strict=True)
    ]
    # How images were fitted shows in the size alone, which is named beside these.
    settled = ("shards", "fit", "image_size", "megapixels")
    facts = {key: value for key, value in dataclasses.asdict(index).items() if key not in settled}
    place = store.folder("shards")
    with_valid = bool(ordered["mask_rule"].str.contains("ignore").any())
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
                    stored_features=place / _features_name(size, samples, facts),
                    stored_masks=place / _masks_name(size, samples, with_valid=with_valid),
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
        modules=[Extractor.__module__, Backbone.__module__],
        libraries=[*LIBRARIES, "numpy", "pillow", "pillow-heif"],
    )
    return f"{name}.safetensors"


def _masks_name(size: tuple[int, int], samples: pd.DataFrame, *, with_valid: bool) -> str:
    # Each is first read at its image's size.
    files = samples[["mask_sha256", "mask_rule", "height", "width"]]
    name = store.fingerprint(
        {"size": size, "masks": files.to_numpy().tolist(), "with_valid": with_valid},
        modules=[masks.__name__],
        libraries=["numpy", "scipy", "pillow", "pillow-heif"],
    )
    return f"{name}.safetensors"


def _missing(
    planned: list[PlannedShard], stored: Callable[[PlannedShard], Path]
) -> list[PlannedShard]:
    """Those whose file in the store is not there, or damaged."""
    found = ordered_map(lambda item: is_intact(stored(item)), planned)
    return [item for item, intact in zip(planned, found, strict=True) if not intact]


def _store_masks(missing: list[PlannedShard]) -> None:
    n_masks = sum(len(item.samples) for item in missing)
    columns = ["mask_path", "mask_rule", "height", "width"]
    wanted = (
        (item, Path(path), (height, width), rule)
        for item in missing
        for path, rule, height, width in item.samples[columns].itertuples(index=False, name=None)
    )
    packed = ordered_map(_read_packed, wanted)
    with tqdm(total=n_masks, desc="masks", unit="image", disable=not n_masks) as progress:
        for item in missing:
            rows = []
            for _ in range(len(item.samples)):
                rows.append(next(packed))
                progress.update()
            tensors = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
            write_shard(tensors, item.stored_masks)


def _read_packed(wanted: tuple[PlannedShard, Path, tuple[int, int], str]) -> dict[str, Tensor]:
    item, path, size, rule = wanted
    return masks.read_packed_mask(path, size, rule, item.shard.size, with_valid=item.with_valid)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Images that the backbone sees at once: some that follow one another in a shard.

    Attributes:
        item: the shard.
        image_paths: the files of ``B`` images.
        pixels: room for what they hold, ``(B, 3, H, W)`` uint8.
    """

    item: PlannedShard
    image_paths: list[str]
    pixels: Tensor

    def read(self, position: int) -> None:
        """Decode and resize one of the images, straight into its place."""
        image = read_image(Path(self.image_paths[position]))
        # Copied by numpy: torch would start threads of its own in each of these.
        self.pixels[position].numpy()[:] = to_pixels(image, self.item.shard.size)


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

    def run(self, shards: list[PlannedShard]) -> Iterator[tuple[Piece, dict[str, Tensor]]]:
        """What is stored of the images of shards, piece by piece, in order.

        On a CPU each core reads and computes images of its own: nobody waits for anybody, and no
        other thread takes a core away. On a GPU threads read ahead, over the ends of shards, and
        nobody has waited for the numbers yet.

        Raises:
            CacheError: not even one image fits into memory.
            DataError: an image that can no longer be read.
        """
        if self.device.type == "cpu":
            return on_cores(self._read_and_compute, self._pieces(shards))
        return self._read_ahead(shards)

    def _read_ahead(self, shards: list[PlannedShard]) -> Iterator[tuple[Piece, dict[str, Tensor]]]:
        images = ((p, position) for p in self._pieces(shards) for position in range(len(p.pixels)))
        arrivals = ordered_map(_read_one, images, ahead=2 * self.batch_size)
        for piece, arrived in itertools.groupby(arrivals):
            deque(arrived, maxlen=0)  # wait for all of them
            stored = self._compute(piece.pixels)
            host = {name: tensor.to("cpu", non_blocking=True) for name, tensor in stored.items()}
            yield piece, host

    def _pieces(self, shards: list[PlannedShard]) -> Iterator[Piece]:
        pinned = self.device.type == "cuda"
        for item in shards:
            paths = list(item.samples["image_path"])
            start = 0
            while start < len(paths):  # the batch size may shrink on the way
                some = paths[start : start + self.batch_size]
                shape = (len(some), 3, *item.shard.size)
                pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
                yield Piece(item=item, image_paths=some, pixels=pixels)
                start += len(some)

    def _read_and_compute(self, piece: Piece) -> tuple[Piece, dict[str, Tensor]]:
        for position in range(len(piece.pixels)):
            piece.read(position)
        return piece, self._compute(piece.pixels)

    def _compute(self, pixels: Tensor) -> dict[str, Tensor]:
        parts = []
        start = 0
        while start < len(pixels):
            # The batch size may be smaller than when the piece was dealt.
            part = pixels[start : start + self.batch_size]
            stored = self._try(part)
            if stored is None:
                self._shrink(len(part))
            else:
                parts.append(stored)
                start += len(part)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _try(self, pixels: Tensor) -> dict[str, Tensor] | None:
        """What is stored of pixels, or None where the memory runs out."""
        try:
            return compute(pixels, self.backbone, self.device, self.dtype)
        except RuntimeError as error:  # that is what torch.OutOfMemoryError is, too
            if not _is_out_of_memory(error):
                raise
            return None

    def _shrink(self, n_failed: int) -> None:
        if n_failed == 1:
            raise CacheError(
                "one image at a time is too much for the memory",
                where=f"the device {self.device}",
                remedy="dvc exp run -S features.megapixels=…, half of what it is; or close what "
                "else uses the memory",
            )
        self.batch_size = min(self.batch_size, n_failed // 2)
        log.warning("out of memory; going on with batches of %d", self.batch_size)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _read_one(image: tuple[Piece, int]) -> Piece:
    piece, position = image
    piece.read(position)
    return piece


def on_cores(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
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
        rows: list[Rows] = []
        n_rows = 0
        for piece, stored in extractor.run(missing):
            rows.append(Rows({"pixels": piece.pixels, **stored}, _copied(device)))
            n_rows += len(piece.pixels)
            progress.update(len(piece.pixels))
            if n_rows == len(piece.item.samples):
                if len(writing) == WRITERS:
                    writing.popleft().result()
                writing.append(writers.submit(_write, piece.item.stored_features, rows))
                rows, n_rows = [], 0
        for future in writing:
            future.result()
    rate = n_images / (time.perf_counter() - started)
    log.info("computed the features of %d images at %.2f images/s", n_images, rate)


class Rows(NamedTuple):
    """Rows of a shard, and the event after which a GPU has copied them, if one has to."""

    tensors: dict[str, Tensor]
    copied: torch.cuda.Event | None


def _copied(device: torch.device) -> torch.cuda.Event | None:
    if device.type != "cuda":
        return None
    # Not the current device's: the copies may be on another.
    event: torch.cuda.Event = torch.cuda.current_stream(device).record_event()
    return event


def _write(path: Path, rows: list[Rows]) -> None:
    """Write a shard of all its rows."""
    for some in rows:
        if some.copied is not None:
            some.copied.synchronize()
    # Joined by numpy: torch would start threads of its own. What is joined is not kept twice.
    tensors = {
        name: torch.from_numpy(np.concatenate([some.tensors.pop(name).numpy() for some in rows]))
        for name in list(rows[0].tensors)
    }
    write_shard(tensors, path)


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
