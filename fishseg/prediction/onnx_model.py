"""An exported model in use: onnxruntime, numpy and Pillow, no torch.

`fishseg.export.onnx_file` writes the file. Its metadata say all that is needed beside the graph,
so that the file alone suffices.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fishseg.errors import ModelError
from fishseg.images.resizing import to_pixels, working_size
from fishseg.prediction.model import Answer, to_levels
from fishseg.prediction.tta import average, turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 2
METADATA_KEY = "fishseg"
WHOLE, DECODER = "whole", "decoder"
INSTALL = "pip install '.[onnx]'"


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
class OnnxSegmenter:
    """Backbone and decoder in one file: from an image to the fish in it."""

    session: Any
    facts: ModelFacts
    threshold: float
    tta: int = 1

    @classmethod
    def load(
        cls, path: Path, *, n_threads: int = 0, tta: int = 1, threshold: float | None = None
    ) -> OnnxSegmenter:
        """The model in a file that ``fishseg export`` wrote.

        Args:
            path: an ONNX file.
            n_threads: threads of the CPU to use; 0 for as many as it has cores.
            tta: 1, or 2, 4 or 8 flipped and turned views to average over.
            threshold: the probability from which a pixel is fish; unless given, the file's own.

        Raises:
            ModelError: the file is missing, damaged, foreign or of the decoder alone, or
                onnxruntime is not installed.
        """
        session = open_session(path, n_threads=n_threads)
        facts = ModelFacts.of_metadata(session.get_modelmeta().custom_metadata_map, path)
        if facts.part != WHOLE:
            raise ModelError(
                "this file holds the decoder without its backbone",
                where=path,
                expected="a model that takes an image",
                remedy=f"fishseg export --part {WHOLE} --out model.onnx",
            )
        return cls(
            session=session,
            facts=facts,
            tta=tta,
            threshold=facts.threshold if threshold is None else threshold,
        )

    def working_maps(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the model says ``(n_maps, H, W)`` at the working size, of ``(H0, W0, 3)`` RGB."""
        return average(lambda view: self._one_view(turn(image, view)), self.tta)

    def working_probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability ``(H, W)`` at the working size, of an RGB image ``(H0, W0, 3)``."""
        first: NDArray[np.float32] = self.working_maps(image)[0]
        return first

    def _one_view(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        size = working_size(
            (image.shape[0], image.shape[1]),
            fit=self.facts.fit,
            image_size=self.facts.image_size,
            megapixels=self.facts.megapixels,
            patch_multiple=self.facts.patch_multiple,
        )
        pixels = to_pixels(image, size).transpose(1, 2, 0)
        maps = self.session.run(None, {"image": np.ascontiguousarray(pixels)[None]})
        return np.stack([one[0] for one in maps])

    def answer(self, image: NDArray[np.uint8]) -> Answer:
        """All that the model says of an RGB image ``(H0, W0, 3)``."""
        size = (image.shape[0], image.shape[1])
        return Answer.of_levels(to_levels(self.working_maps(image)), size)

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How probably each pixel ``(H0, W0)`` of an RGB image ``(H0, W0, 3)`` is fish, 0 to 1."""
        return self.answer(image).probability


def open_session(model: Path | bytes, *, n_threads: int = 0) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU, of a file or of its content.

    Raises:
        ModelError: onnxruntime is not installed; the file is missing or no usable ONNX.
    """
    where = model if isinstance(model, Path) else "the exported model"
    if importlib.util.find_spec("onnxruntime") is None:
        raise ModelError("onnxruntime is not installed", where=where, remedy=INSTALL)
    import onnxruntime  # noqa: PLC0415 - optional

    if isinstance(model, Path) and not model.is_file():
        raise ModelError(
            "there is no such file", where=where, remedy="fishseg export --out model.onnx"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 4  # what matters is raised, too
    try:
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:  # its exceptions have no common base
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"this is no ONNX model that onnxruntime can load: {reason}",
            where=where,
            expected="a file that fishseg export wrote, whole",
            remedy="copy or export it again; a newer onnxruntime may know more",
        ) from None
