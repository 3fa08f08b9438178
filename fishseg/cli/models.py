"""The model that a command asks: a trained decoder on its backbone, or an exported file."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

from fishseg.errors import ModelError
from fishseg.prediction.model import THRESHOLD

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    from fishseg.prediction.model import ProbabilityModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model, and what is known of it.

    Attributes:
        model: the model.
        identity: what tells it and its options apart from others.
        about: a sentence on what it was trained on.
    """

    model: ProbabilityModel
    identity: str
    about: str


def load_model(options: argparse.Namespace, *, tta: int = 1, fine: bool = False) -> Loaded:
    """The model of ``--model``, or else of ``--decoder`` and ``--backbone``.

    Args:
        options: of the command line, with ``threshold``.
        tta: how many views of a picture to average over.
        fine: whether to look a second time at each fish that was found.

    Raises:
        ModelError: the exported model cannot be used, or torch is missing.
        CacheError: there is no usable decoder.
        BackboneError: there is no usable backbone, or it is not the one of the decoder.
    """
    loaded = _load(options, tta)
    if fine:
        from fishseg.prediction.fine import FineModel

        model = FineModel(model=loaded.model)
        loaded = dataclasses.replace(loaded, model=model, identity=f"{loaded.identity} fine")
    return loaded


def _load(options: argparse.Namespace, tta: int) -> Loaded:
    if options.model is not None:
        from fishseg.prediction.onnx_model import OnnxSegmenter

        model = OnnxSegmenter.load(options.model, tta=tta, threshold=options.threshold)
        identity = f"{_hash([options.model])} {tta} {model.threshold}"
        return Loaded(model=model, identity=identity, about=about(model.facts.card))
    try:
        from fishseg import devices
        from fishseg.prediction.segmenter import Segmenter
        from fishseg.prediction.shipped import locate
        from fishseg.prediction.species import classifier_beside
    except ModuleNotFoundError as error:
        raise ModelError(
            f"a trained decoder needs {error.name}, which is not installed",
            where="the options",
            remedy="pip install fishseg with its dependencies, or give an exported model: "
            "--model model.onnx",
        ) from None
    folders = locate(options.decoder, options.backbone)
    segmenter = Segmenter.load(
        *folders,
        devices.select(),
        tta=tta,
        threshold=THRESHOLD if options.threshold is None else options.threshold,
    )
    # The decoder's card holds the hash of the backbone's weights, which loading has checked.
    identity = f"{_hash(sorted(folders[0].iterdir()))} {tta} {segmenter.threshold}"
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
