"""Shards of features and masks: what one holds, how it is named, written and read.

Shapes: ``N`` samples of one working size ``(H, W)``; ``C`` feature channels on a grid ``(h, w)``.

- feature shard: ``features (N, C, h, w)`` float16, ``pixels (N, 3, H, W)`` uint8
- mask shard: ``masks (N, H, W)`` uint8, the share of each pixel that is fish, 0 to 255

The name of a shard in the store is the fingerprint of all that determines its content, so a shard
is never reused for other parameters and a run that was killed loses the shard in hand at most.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fishseg.errors import CacheError

FORMAT = 1
INDEX_NAME = "index.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """What the index says of one shard and its masks.

    Attributes:
        features_file: file name of the feature shard.
        masks_file: file name of the mask shard.
        size: working size ``(H, W)`` in pixels.
        sample_ids: the samples, in the order of the rows.
    """

    features_file: str
    masks_file: str
    size: tuple[int, int]
    sample_ids: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Index:
    """All that determined the content of a folder of shards.

    Attributes:
        backbone: the backbone's ``name`` and ``weights_sha256``.
        fit: how images were fitted to the working size.
        image_size: working height in pixels before rounding.
        layers: the backbone layers that are stacked.
        channels: feature channels, all layers together.
        precision: what the backbone computed in.
        shards: the shards, in the order of their numbers.
    """

    backbone: Mapping[str, str]
    fit: str
    image_size: int
    layers: tuple[int, ...]
    channels: int
    precision: str
    shards: tuple[Shard, ...]

    def write(self, folder: Path) -> None:
        """Write ``index.json``."""
        tree = {"format": FORMAT, **dataclasses.asdict(self)}
        (folder / INDEX_NAME).write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Index:
        """Read ``index.json``.

        Raises:
            CacheError: it is missing, damaged or of another format.
        """
        try:
            tree: dict[str, Any] = json.loads((folder / INDEX_NAME).read_text(encoding="utf-8"))
            if tree.pop("format") != FORMAT:
                raise ValueError("another format")
            shards = tuple(
                Shard(
                    features_file=shard["features_file"],
                    masks_file=shard["masks_file"],
                    size=(shard["size"][0], shard["size"][1]),
                    sample_ids=tuple(shard["sample_ids"]),
                )
                for shard in tree.pop("shards")
            )
            return cls(shards=shards, layers=tuple(tree.pop("layers")), **tree)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CacheError(
                f"the features have no readable index: {error}",
                where=folder / INDEX_NAME,
                remedy="dvc repro features",
            ) from None


def fingerprint(facts: Mapping[str, Any]) -> str:
    """A hex name for everything in ``facts`` (values that JSON knows)."""
    text = json.dumps({"format": FORMAT, **facts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_shard(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a shard, whole or not at all, with a digest of their bytes.

    Raises:
        CacheError: the disk is full or not writable.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(save(contiguous, metadata={"digest": _digest(contiguous)}))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise CacheError(
            f"a shard cannot be written: {error.strerror}",
            where=path,
            remedy="free some disk space, or point FISHSEG_STORE to a larger disk; what is "
            "computed so far is kept, and the next `dvc repro` goes on from there",
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def is_intact(path: Path) -> bool:
    """Whether a shard exists and its bytes are those that were written."""
    try:
        with safe_open(path, framework="pt") as shard:
            tensors = {name: shard.get_tensor(name) for name in shard.keys()}  # noqa: SIM118
            metadata = shard.metadata() or {}
    except (OSError, SafetensorError):
        return False
    return metadata.get("digest") == _digest(tensors)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def link(source: Path, target: Path) -> None:
    """Let ``target`` be ``source`` without a second copy, where the file system can."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Cached samples of one working size.

    Attributes:
        features: ``(B, C, h, w)`` float16.
        pixels: ``(B, 3, H, W)`` uint8.
        coverage: ``(B, 1, H, W)`` uint8, the share of each pixel that is fish, 0 to 255.
    """

    features: Tensor
    pixels: Tensor
    coverage: Tensor

    def target(self) -> Tensor:
        """The mask ``(B, 1, H, W)`` at the working resolution, float32, 0 or 1."""
        return (self.coverage >= 128).float()

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; the copies do not wait for each other."""
        moved = (
            tensor.to(device, non_blocking=True)
            for tensor in (self.features, self.pixels, self.coverage)
        )
        return Batch(*moved)


class FeatureCache:
    """Read access to a folder of shards.

    Shards are mapped into memory, not read whole: what fits stays in the page cache, what does
    not is read again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = Index.read(folder)
        self._place = {
            sample_id: (number, row)
            for number, shard in enumerate(self.index.shards)
            for row, sample_id in enumerate(shard.sample_ids)
        }
        self._open: dict[str, Any] = {}

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._place

    def size(self, sample_id: str) -> tuple[int, int]:
        """The working size ``(H, W)`` of a sample in pixels."""
        return self.index.shards[self._find(sample_id)[0]].size

    def digests(self) -> list[str]:
        """The digest of every shard's content, in order."""
        return [
            str((self._file(name).metadata() or {}).get("digest"))
            for shard in self.index.shards
            for name in (shard.features_file, shard.masks_file)
        ]

    def batch(self, sample_ids: Sequence[str]) -> Batch:
        """Samples of one working size, in the order asked for.

        Raises:
            CacheError: a sample is not in the cache, or a shard cannot be read.
        """
        rows: dict[str, list[Tensor]] = {"features": [], "pixels": [], "masks": []}
        for sample_id in sample_ids:
            number, row = self._find(sample_id)
            shard = self.index.shards[number]
            for name, file in (
                ("features", shard.features_file),
                ("pixels", shard.features_file),
                ("masks", shard.masks_file),
            ):
                rows[name].append(self._file(file).get_slice(name)[row : row + 1])
        return Batch(
            features=torch.cat(rows["features"]),
            pixels=torch.cat(rows["pixels"]),
            coverage=torch.cat(rows["masks"]).unsqueeze(1),
        )

    def _find(self, sample_id: str) -> tuple[int, int]:
        try:
            return self._place[sample_id]
        except KeyError:
            raise CacheError(
                f"there are no features of {sample_id}",
                where=self.folder,
                remedy="dvc repro features",
            ) from None

    def _file(self, name: str) -> Any:
        if name not in self._open:
            try:
                self._open[name] = safe_open(self.folder / name, framework="pt")
            except (OSError, SafetensorError) as error:
                raise CacheError(
                    f"a shard cannot be read: {error}",
                    where=self.folder / name,
                    remedy="rm -r data/features, then dvc repro features",
                ) from None
        return self._open[name]
