"""An exported model in use: OpenVINO, numpy and Pillow, no torch.

`fishseg.export.onnx_file` writes the file. Its metadata say all that is needed beside the graph,
so that the file alone suffices.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fishseg.backbones.runtime import F32, Compiled, metadata_of, read_model, unusable
from fishseg.errors import ModelError
from fishseg.images.resizing import to_pixels, working_size
from fishseg.prediction.base import BaseSegmenter
from fishseg.prediction.species import SpeciesClassifier

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 2
METADATA_KEY = "fishseg"
# The SHA-256 of the whole file, in which this value itself counts as `NO_CHECKSUM`.
CHECKSUM_KEY, NO_CHECKSUM = "fishseg_sha256", "0" * 64
SPECIES_KEY = "fishseg_species"
WHOLE, DECODER = "whole", "decoder"
# What a file may give, by the names of its results: ``(B, H, W)`` each, where it tells fish apart
# that touch the second one, too (see `fishseg.training.interior`); ``(B, C, h, w)``, where species
# are named.
MAPS, FEATURES = ("probability", "interior"), "features"

# Images ``(1, H, W, 3)`` uint8 of working size to results by their names.
Network: TypeAlias = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What an exported model says about itself, in its metadata.

    Attributes:
        part: ``whole`` (backbone and decoder) or ``decoder`` (the decoder alone).
        fit: how images are fitted to the working size.
        image_size: side of the working square in pixels where they are stretched to one.
        megapixels: area of the working size where they are not.
        patch_multiple: height and width in pixels must be multiples of it.
        threshold: probability from which a pixel is fish.
        card: the decoder's card as the train stage wrote it; the rest of what is known.
    """

    part: str
    fit: str
    image_size: int
    megapixels: float
    patch_multiple: int
    threshold: float
    card: Mapping[str, Any]

    @property
    def certainty(self) -> float:
        """What the surest pixel of a part of the mask must reach; the graph does not see to it."""
        return float(self.card.get("certainty", 0.0))

    def to_metadata(self) -> dict[str, str]:
        """The facts as the metadata of an ONNX model."""
        return {METADATA_KEY: json.dumps({"format": FORMAT, **dataclasses.asdict(self)})}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str], where: object) -> ModelFacts:
        """The facts in the metadata of an ONNX model.

        Raises:
            ModelError: `fishseg export` of this version did not write them.
        """
        remedy = "fishseg export --out model.onnx writes a model that can be used here"
        if METADATA_KEY not in metadata:
            raise ModelError(
                "this model does not say how it is to be used: fishseg did not export it",
                where=where,
                expected=f"{METADATA_KEY!r} among the metadata of the model",
                remedy=remedy,
            )
        try:
            tree = json.loads(metadata[METADATA_KEY])
            if tree.pop("format") != FORMAT:
                raise ValueError("another format")
            return cls(**tree)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"another version of fishseg exported this model: {error}",
                where=where,
                remedy=remedy,
            ) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnnxSegmenter(BaseSegmenter):
    """Backbone and decoder without torch: from an image to the fish in it."""

    network: Network
    facts: ModelFacts

    @classmethod
    def load(
        cls, path: Path, *, n_threads: int = 0, tta: int = 1, threshold: float | None = None
    ) -> OnnxSegmenter:
        """The model in a file that ``fishseg export`` wrote.

        It computes in float32, in which it was compared with torch.

        Args:
            path: an ONNX file.
            n_threads: threads of the CPU to use; 0 for as many as OpenVINO thinks best.
            tta: 1, or 2, 4 or 8 flipped and turned views to average over.
            threshold: the probability from which a pixel is fish; unless given, the file's own.

        Raises:
            ModelError: the file is missing, damaged, foreign or of the decoder alone.
        """
        model = read_model(path)
        require_whole(model, path)
        facts = facts_of(model, path)
        if facts.part != WHOLE:
            raise ModelError(
                "this file holds the decoder without its backbone",
                where=path,
                expected="a model that takes an image",
                remedy=f"fishseg export --part {WHOLE} --out model.onnx",
            )
        return cls(
            network=compiled(model, path, n_threads=n_threads).named,
            facts=facts,
            tta=tta,
            threshold=facts.threshold if threshold is None else threshold,
            classifier=_classifier_of(model, path),
        )

    @property
    def certainty(self) -> float:
        """What the surest pixel of a part must reach, as the file says."""
        return self.facts.certainty

    def _one_view(
        self, image: NDArray[np.uint8], *, with_features: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        size = working_size(
            (image.shape[0], image.shape[1]),
            fit=self.facts.fit,
            image_size=self.facts.image_size,
            megapixels=self.facts.megapixels,
            patch_multiple=self.facts.patch_multiple,
        )
        pixels = to_pixels(image, size).transpose(1, 2, 0)
        found = self.network(np.ascontiguousarray(pixels)[None])
        maps = [np.asarray(found[name][0], np.float32) for name in MAPS if name in found]
        features = found.get(FEATURES) if with_features else None
        return np.stack(maps), None if features is None else np.asarray(features[0], np.float32)


def _classifier_of(model: Any, where: Path) -> SpeciesClassifier | None:
    text = metadata_of(model, SPECIES_KEY)
    if text is None:
        return None
    try:
        return SpeciesClassifier.of_metadata(text)
    except ValueError as error:
        raise ModelError(
            f"the species of this model cannot be read: {error}",
            where=where,
            remedy="export it again",
        ) from None


def require_whole(model: Any, path: Path) -> None:
    """Refuse a file whose bytes are not those that were written; earlier versions noted no sum.

    Raises:
        ModelError: the checksum in the file is not its own.
    """
    checksum = metadata_of(model, CHECKSUM_KEY)
    if checksum is None:
        return
    content = path.read_bytes().replace(checksum.encode(), NO_CHECKSUM.encode(), 1)
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ModelError(
            "this file is damaged: its checksum is not the one that was written into it",
            where=path,
            remedy="copy it once more, or export it again: fishseg export --out model.onnx",
        )


def facts_of(model: Any, where: object) -> ModelFacts:
    """What a model of `read_model` says about itself.

    Raises:
        ModelError: see `ModelFacts.of_metadata`.
    """
    text = metadata_of(model, METADATA_KEY)
    return ModelFacts.of_metadata({} if text is None else {METADATA_KEY: text}, where)


def compiled(model: Any, where: object, dtype: str = F32, *, n_threads: int = 0) -> Compiled:
    """A model of `read_model`, ready to run.

    Raises:
        ModelError: OpenVINO cannot run it here.
    """
    try:
        return Compiled(model, dtype, n_threads=n_threads)
    except RuntimeError as error:
        raise unusable(where, error) from None
