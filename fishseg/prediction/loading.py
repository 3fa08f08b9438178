"""Any model that can be used, by where it lies, for the command line and the Python API alike."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import logging
import os
from typing import TYPE_CHECKING, Any

from fishseg.backbones import runtime
from fishseg.backbones.checkpoint import WEIGHTS
from fishseg.errors import BackboneError, CacheError, ModelError
from fishseg.prediction.fine import FineModel
from fishseg.prediction.light import DECODER_FILE, PRETRAINED, is_shipped, load_light
from fishseg.prediction.model import THRESHOLD
from fishseg.prediction.onnx_model import OnnxSegmenter
from fishseg.prediction.species import classifier_beside

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fishseg.prediction.model import ProbabilityModel

log = logging.getLogger(__name__)

CARD_NAME = "decoder.json"  # as fishseg.decoders.files has it, which needs torch

# The card of the one that ships has the kinds of places that were drawn where others have species.
ABOUT_SHIPPED = (
    "the decoder was trained on drawn pictures of fish alone, on no photograph: what looks "
    "otherwise may be missed, or taken for fish"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model, and what is known of it.

    Attributes:
        model: the model.
        identity: what tells it, its options and what it computes in apart from others.
        about: a sentence on what it was trained on.
    """

    model: ProbabilityModel
    identity: str
    about: str


def load_model(
    source: Path | None = None,
    backbone: Path | None = None,
    *,
    tta: int = 1,
    threshold: float | None = None,
    fine: bool | None = None,
) -> Loaded:
    """The model that lies somewhere.

    Args:
        source: None for the one that ships; a file of ``fishseg export``; or a folder with a
            decoder as the stage ``train`` leaves it, which needs torch.
        backbone: the folder of a decoder's backbone, where it is not the usual one.
        tta: how many views of a picture to average over: 1, 2, 4 or 8.
        threshold: the probability from which a pixel is fish; unless given, the model's own.
        fine: whether to look a second time at each fish that was found; unless given, only the one
            that ships does, whose numbers are of both looks (docs/real-pictures.md).

    Raises:
        ModelError: the exported model cannot be used, or torch is missing.
        CacheError: there is no usable decoder.
        BackboneError: there is no usable backbone, or it is not the one of the decoder.
        DownloadError: the weights of the backbone cannot be fetched.
    """
    _look(source, backbone)
    if source is None and not _has_gpu():
        light = load_light(backbone, tta=tta, threshold=threshold)
        loaded = _without_torch(light, PRETRAINED / DECODER_FILE, runtime.precision())
    elif source is not None and _is_exported(source):
        exported = OnnxSegmenter.load(
            source, n_threads=runtime.n_threads(), tta=tta, threshold=threshold
        )
        loaded = _without_torch(exported, source, runtime.F32)
    else:
        loaded = _with_torch(source or PRETRAINED, backbone, tta, threshold)
    ships = source is None or is_shipped(source)
    if ships:
        loaded = dataclasses.replace(loaded, about=ABOUT_SHIPPED)
    if fine is None:
        fine = ships
    return looking_twice(loaded) if fine else loaded


def _look(source: Path | None, backbone: Path | None) -> None:
    """Refuse places where nothing lies, before torch is missed or anything is fetched."""
    if source is not None and not _is_exported(source) and not (source / CARD_NAME).is_file():
        there = source.exists()
        raise CacheError(
            "this folder holds no decoder" if there else "there is no such file or folder",
            where=source / CARD_NAME if there else source,
            expected="a model.onnx that fishseg export wrote, or a folder with a decoder",
            remedy="check the name, or leave it out for the one that ships; in a project, "
            "dvc repro train trains a decoder",
        )
    if backbone is not None and not (backbone / WEIGHTS).is_file():
        raise BackboneError(
            "there is no backbone there",
            where=backbone / WEIGHTS,
            expected="the folder that a decoder's backbone lies in: data/backbone of its project",
            remedy="check the name, or leave it out: the one that belongs to the decoder is found, "
            "or fetched",
        )


def _is_exported(source: Path) -> bool:
    return source.is_file() or source.suffix == ".onnx"


def looking_twice(loaded: Loaded) -> Loaded:
    """The same model, which looks a second time at each fish that was found."""
    model = FineModel(model=loaded.model)
    return dataclasses.replace(loaded, model=model, identity=f"{loaded.identity} fine")


def _has_gpu() -> bool:
    """Whether torch is there and would compute on a GPU."""
    wanted = os.environ.get("FISHSEG_DEVICE")
    has_torch = importlib.util.find_spec("torch") is not None
    if wanted not in (None, "", "cpu") and not has_torch:
        raise ModelError(
            f"{wanted!r} cannot be used without torch",
            where="the environment variable FISHSEG_DEVICE",
            expected="cpu",
            remedy="pip install '.[train]' in a copy of the repository, or unset FISHSEG_DEVICE",
        )
    if wanted == "cpu" or not has_torch:
        return False
    from fishseg import devices  # noqa: PLC0415 - slow to import

    return devices.find().type != "cpu"


def _without_torch(model: OnnxSegmenter, file: Path, precision: str) -> Loaded:
    # The decoder's card holds the hash of the backbone's weights, which loading has checked.
    identity = f"{_hash([file])} {precision} {model.tta} {model.threshold}"
    return Loaded(model=model, identity=identity, about=about(model.facts.card))


def _with_torch(decoder: Path, backbone: Path | None, tta: int, threshold: float | None) -> Loaded:
    try:
        from fishseg import devices  # noqa: PLC0415 - may be absent, and is slow to import
        from fishseg.prediction.segmenter import Segmenter  # noqa: PLC0415
        from fishseg.prediction.shipped import locate  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ModelError(
            "a decoder that was trained here needs torch and what belongs to it, of which "
            f"{error.name} is not installed",
            where=decoder,
            remedy="pip install '.[train]' in a copy of the repository; or fishseg export it where "
            "it was trained, and name the file: --model model.onnx, from Python "
            "fishseg.load('model.onnx')",
        ) from None
    folders = locate(decoder, backbone)
    device = devices.select()
    precision = devices.precision(device)
    segmenter = Segmenter.load(
        *folders,
        device,
        precision,
        tta=tta,
        threshold=THRESHOLD if threshold is None else threshold,
    )
    hashes = _hash(sorted(folders[0].iterdir()))
    identity = f"{hashes} {precision} {tta} {segmenter.threshold}"
    card = dataclasses.asdict(segmenter.card)
    classifier = classifier_beside(folders[0], card)
    if classifier is not None:
        segmenter = dataclasses.replace(segmenter, classifier=classifier)
        identity += f" {hashlib.sha256(classifier.to_metadata().encode()).hexdigest()}"
    return Loaded(model=segmenter, identity=identity, about=about(card))


def about(card: Mapping[str, Any]) -> str:
    """What a decoder was trained on, and what follows from that, as its card knows it."""
    classes = card.get("trained_on") or {}
    if not classes:
        return "the decoder does not say what it was trained on: look at the overlays"
    return (
        f"the decoder was trained on {sum(classes.values())} images of {', '.join(classes)}: "
        "what looks otherwise may be missed, or taken for fish"
    )


def _hash(files: list[Path]) -> str:
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]
    return " ".join(digests)
