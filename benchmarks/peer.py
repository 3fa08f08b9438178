"""Another model to compare with: an ONNX file from an image of one size to what stands out in it.

Such as general background removers (ISNet, Qin et al., "Highly Accurate Dichotomous Image
Segmentation", ECCV 2022; U²-Net): the picture is squashed to a square, normalised, and the first
output is how probably a pixel is foreground.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from fishseg.errors import ModelError
from fishseg.images.resizing import at_size, to_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """A model with one input ``(1, 3, S, S)`` float32 and a first output ``(1, 1, S, S)``, 0 to 1.

    Attributes:
        session: an `onnxruntime.InferenceSession`.
        size: ``S``, in pixels.
        mean: what is subtracted of the levels 0 to 255 ...
        scale: ... and what they are divided by then.
        threshold: the output from which a pixel is foreground.
    """

    session: Any
    size: int
    mean: float
    scale: float
    threshold: float

    @classmethod
    def load(cls, path: Path, *, size: int, mean: float, scale: float, threshold: float) -> Peer:
        """The model in a file.

        Raises:
            ModelError: the file is missing or damaged, or the model takes something else.
        """
        session = open_session(path)
        wanted = [1, 3, size, size]
        (first, *others) = session.get_inputs()
        fits = len(first.shape) == 4 and all(
            not isinstance(found, int) or found == length
            for found, length in zip(first.shape, wanted, strict=True)
        )
        if others or not fits:
            raise ModelError(
                f"this model takes {[node.shape for node in session.get_inputs()]}",
                where=path,
                expected=f"one picture, {wanted}",
                remedy="--peer-size SIDE",
            )
        return cls(session=session, size=size, mean=mean, scale=scale, threshold=threshold)

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How probably each pixel ``(H0, W0)`` of an RGB image ``(H0, W0, 3)`` is foreground."""
        pixels = to_pixels(image, (self.size, self.size)).astype(np.float32)
        normalised = ((pixels - self.mean) / self.scale)[None].astype(np.float32)
        name = self.session.get_inputs()[0].name
        outputs = self.session.run(None, {name: normalised})
        first: NDArray[np.float32] = outputs[0][0, 0]
        return at_size(first, (image.shape[0], image.shape[1]))


def open_session(path: Path, *, n_threads: int = 0) -> Any:
    """An `onnxruntime.InferenceSession` of a file, on the CPU; 0 threads for a core each.

    Raises:
        ModelError: the file is missing or damaged.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 4  # what matters is raised, too
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"this is no ONNX model that onnxruntime can load: {reason}", where=path
        ) from None
