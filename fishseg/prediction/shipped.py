"""Which decoder to use where none is named: that of the project one is in, or the one that ships.

The one that ships is part of the package. Its backbone is too large for that: it is fetched once,
checked, and kept in the user's cache folder.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import platformdirs

from fishseg import store
from fishseg.backbones.checkpoint import weights_hash
from fishseg.backbones.weights import materialise
from fishseg.decoders.files import CARD_NAME, DecoderCard, read_card
from fishseg.errors import BackboneError, CacheError
from fishseg.params import BackboneParams
from fishseg.prediction.fine import FineModel
from fishseg.prediction.light import BACKBONE, DECODER, PRETRAINED, is_shipped

if TYPE_CHECKING:
    from pathlib import Path

    from fishseg.prediction.segmenter import Segmenter

log = logging.getLogger(__name__)

__all__ = ["BACKBONE", "DECODER", "PRETRAINED", "as_used", "fetched_backbone", "locate"]


def locate(decoder: Path | None, backbone: Path | None) -> tuple[Path, Path]:
    """The folders of a decoder and of its backbone.

    Args:
        decoder: a decoder's folder; None for ``data/decoder`` where there is one, else for the one
            that comes with fishseg.
        backbone: its backbone's folder; None for ``data/backbone`` where that is the one it was
            trained on, else for that of the cache folder, fetched where it is missing.

    Raises:
        CacheError: there is no usable decoder.
        BackboneError: the backbone that can be fetched is not the one of the decoder.
        DownloadError: the backbone cannot be fetched.
    """
    if decoder is None:
        decoder = DECODER if (DECODER / CARD_NAME).is_file() else PRETRAINED
        if decoder == PRETRAINED and not (decoder / CARD_NAME).is_file():
            raise CacheError(
                "there is no decoder here, and none came with this copy of fishseg",
                where=DECODER.absolute(),
                remedy="run in a project after `dvc repro`, or name one: --decoder FOLDER",
            )
        log.info("decoder: %s", DECODER if decoder == DECODER else "the one that ships")
    return decoder, backbone or _find_backbone(read_card(decoder))


def as_used(
    segmenter: Segmenter, decoder: Path, *, fine: bool | None = None
) -> Segmenter | FineModel:
    """The segmenter of a decoder's folder, looking twice or not.

    Args:
        segmenter: it, looking once.
        decoder: the folder.
        fine: whether it looks twice; unless given, only the one that ships does, as
            `fishseg.prediction.loading.load_model` has it.
    """
    if fine is None:
        fine = is_shipped(decoder)
    return FineModel(model=segmenter) if fine else segmenter


def _find_backbone(card: DecoderCard) -> Path:
    try:
        if weights_hash(BACKBONE) == card.backbone["weights_sha256"]:
            return BACKBONE
    except BackboneError:
        if BACKBONE.exists():  # as it is, or as it is not: loading says what is wrong with it
            return BACKBONE
    return fetched_backbone(card)


def fetched_backbone(card: DecoderCard) -> Path:
    """The folder of a decoder's backbone in the user's cache, filled where it is missing.

    Raises:
        BackboneError: there is no such backbone to fetch, or it has other weights.
        DownloadError: it cannot be fetched.
    """
    name, wanted = card.backbone["name"], card.backbone["weights_sha256"]
    kept = store.make_folder(platformdirs.user_cache_path("fishseg") / "backbones")
    folder = kept / wanted[:16]
    if not folder.exists():
        log.info("fetching the backbone %s, once", name)
        with store.write_whole(folder) as new:
            materialise(BackboneParams(name=name, revision=""), new)
            if weights_hash(new) != wanted:
                raise BackboneError(
                    f"the backbone {name} that was fetched is not the one of this decoder",
                    where=folder,
                    expected=f"weights with sha256 {wanted}",
                    remedy="give the backbone it was trained on: --backbone FOLDER, from Python "
                    "backbone=FOLDER",
                )
    return folder
