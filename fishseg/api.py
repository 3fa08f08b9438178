"""Fish in photographs, from Python: `load` a model once, call it with any number of pictures.

The command line predicts with the same models and measures with the same functions, so both give
the same masks and numbers. docs/api.md explains it with examples.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fishseg.errors import DataError, FishsegError, explain
from fishseg.images.decoding import read_image, rgb_of
from fishseg.measurement.size import Measurement, measure
from fishseg.measurement.table import reasons_of
from fishseg.parallel import ordered_map
from fishseg.plots.measured import measured_overlay
from fishseg.prediction.instances import fish_in
from fishseg.prediction.loading import Loaded, load_model
from fishseg.prediction.model import Answer, answer_of, classifier_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fishseg.prediction.instances import Instance
    from fishseg.prediction.species import Species, SpeciesClassifier

Photograph: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[np.uint8]"

# Pictures decoded before the one in the model.
_AHEAD = 2


def load(
    source: str | os.PathLike[str] | None = None,
    *,
    backbone: str | os.PathLike[str] | None = None,
    threshold: float | None = None,
    tta: int = 1,
    fine: bool | None = None,
) -> Model:
    """A model that finds fish.

    Args:
        source: None for the decoder that ships, whose backbone is fetched the first time and kept
            in the user's cache folder; a file that ``fishseg export`` wrote; or a folder with a
            decoder that the pipeline trained (``data/decoder``), which needs the extra ``train``.
        backbone: the folder of a decoder's backbone, where it is not found by itself.
        threshold: the probability from which a pixel is fish, above 0 and below 1; unless given,
            the model's own.
        tta: test-time augmentation: average over 1, 2, 4 or 8 flipped and turned views.
        fine: look a second time, closer, at each fish, or group of near ones, that fills less than
            0.8 of the picture; each look takes as long as the first. Unless given, only the
            decoder that ships does.

    Raises:
        ValueError: ``threshold`` or ``tta`` is none that there is.
        FishsegError: the model is missing or damaged, cannot be fetched, or needs what is not
            installed; its text says what to do.
    """
    if threshold is not None and not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold}, expected above 0 and below 1")
    if tta not in (1, 2, 4, 8):
        raise ValueError(f"tta is {tta}, expected 1, 2, 4 or 8")
    places = (None if place is None else Path(place) for place in (source, backbone))
    with _explained():
        return Model(load_model(*places, tta=tta, threshold=threshold, fine=fine))


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What a user can cause is one of the family, whatever raised it."""
    try:
        yield
    except Exception as error:
        found = explain(error)
        if found is None or found is error:
            raise
        raise found from error


class Model:
    """Finds fish in pictures; made by `load`. Threads may share it.

    Attributes:
        about: a sentence on what it was trained on, and so on where to trust it.
        identity: a text that tells the model, its options and what it computes in apart from
            others: to keep with results.
        threshold: the probability from which a pixel is fish.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._model = loaded.model
        self.about = loaded.about
        self.identity = loaded.identity
        self.threshold = loaded.model.threshold

    def __repr__(self) -> str:
        return f"<fishseg.Model: {self.about}>"

    @overload
    def __call__(self, images: Photograph) -> Result: ...
    @overload
    def __call__(self, images: list[Any] | tuple[Any, ...]) -> list[Result]: ...
    def __call__(self, images: Photograph | list[Any] | tuple[Any, ...]) -> Result | list[Result]:
        """The fish in one picture, or in each of a list of pictures.

        Args:
            images: a path, a Pillow image, or an RGB array ``(H, W, 3)`` uint8; or a list or tuple
                of them, of any sizes, for a list of results in the same order.

        Raises:
            DataError: a picture cannot be read; the message names it, or counts in a list from 1.
            FishsegError: there is not enough memory.
        """
        if isinstance(images, (list, tuple)):
            return list(self.stream(images))
        (result,) = self.stream([images])
        return result

    def stream(
        self,
        images: Iterable[Photograph],
        *,
        on_error: Callable[[Photograph, FishsegError], object] | None = None,
    ) -> Iterator[Result]:
        """The fish in each picture, as they are found: for more pictures than memory holds.

        Threads decode a few pictures ahead; the network takes one at a time with all cores.

        Args:
            images: as of a call.
            on_error: called with a picture that cannot be read, or that memory does not suffice
                for, and with what is wrong; the picture then has no result, and the others follow.

        Raises:
            DataError: a picture cannot be read, and there is no ``on_error``.
            FishsegError: there is not enough memory for one, and there is no ``on_error``.
        """
        if isinstance(images, (str, os.PathLike)):
            images = [images]  # else each of its letters would be taken for a path
        for given, image in ordered_map(_read, enumerate(images, start=1), ahead=_AHEAD):
            try:
                if isinstance(image, FishsegError):
                    raise image
                with _explained():
                    answer = answer_of(self._model, image)
            except FishsegError as error:
                if on_error is None:
                    raise
                on_error(given, error)
                continue
            yield Result(
                image=image,
                answer=answer,
                threshold=self.threshold,
                classifier=classifier_of(self._model),
            )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What a model finds in a picture.

    Attributes:
        image: the picture, ``(H, W, 3)`` uint8 RGB, upright.
        answer: all that the model says of it.
        threshold: the probability from which a pixel is fish.
        classifier: what names the species; None where the model does not.
    """

    image: NDArray[np.uint8] = dataclasses.field(repr=False)
    answer: Answer = dataclasses.field(repr=False)
    threshold: float
    classifier: SpeciesClassifier | None = dataclasses.field(default=None, repr=False)

    @property
    def probability(self) -> NDArray[np.float32]:
        """How probably each pixel is fish, ``(H, W)`` float32, 0 to 1."""
        return self.answer.probability

    @property
    def interior(self) -> NDArray[np.float32] | None:
        """How far inside a fish of its own each pixel of fish lies, ``(H, W)`` float32, 0 to 1.

        None where the model does not tell fish apart that touch.
        """
        return self.answer.interior

    @functools.cached_property
    def mask(self) -> NDArray[np.bool_]:
        """The pixels of fish, ``(H, W)`` bool."""
        return self.probability >= self.threshold

    @functools.cached_property
    def fish(self) -> tuple[Fish, ...]:
        """The fish, largest first; each connected part of the mask is one.

        Where the model tells fish apart that touch, a part may be several. Parts smaller than 3% of
        the largest are specks and left out.
        """
        found = fish_in(self.answer, self.threshold)
        measured = [measure(one.mask, origin=one.origin) for one in found]
        species = [self._species(one) or (None, None) for one in found]
        return tuple(
            Fish(
                **{field.name: getattr(its, field.name) for field in dataclasses.fields(its)},
                mask=one.mask,
                confidence=float(one.confidence or 0),
                cut_off=one.cut_off,
                check=tuple(check),
                species=name,
                species_probability=probability,
            )
            for one, its, check, (name, probability) in zip(
                found, measured, reasons_of(found, measured, self.mask), species, strict=True
            )
        )

    def _species(self, one: Instance) -> Species | None:
        if self.classifier is None or self.answer.features is None:
            return None
        return self.classifier.name_fish(self.answer.features, one, self.mask.shape)

    def overlay(self) -> NDArray[np.uint8]:
        """The picture with its fish outlined and the line each was measured along.

        Returns:
            ``(H, W, 3)`` uint8 RGB.
        """
        return measured_overlay(self.image, self.mask, self.fish)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fish(Measurement):
    """A fish, measured in pixels of its picture; see docs/measurements.md.

    Attributes:
        mask: ``(h, w)`` bool, the fish within its ``box``.
        confidence: how sure its outline is, 0 to 1.
        cut_off: it touches the picture's border, so that some of it may lie beyond.
        check: reasons to look at it before its numbers are believed; empty where nothing is odd.
        species: one that the model was trained on, or ``unknown``; None where it names none.
        species_probability: of that species among those; None where there is none, or unknown.
    """

    mask: NDArray[np.bool_] = dataclasses.field(repr=False)
    confidence: float
    cut_off: bool
    check: tuple[str, ...]
    species: str | None = None
    species_probability: float | None = None


def _read(
    numbered: tuple[int, Photograph],
) -> tuple[Photograph, NDArray[np.uint8] | FishsegError]:
    number, image = numbered
    try:
        with _explained():
            return image, _pixels(image, f"picture {number}")
    except FishsegError as error:
        return image, error


def _pixels(image: Any, where: str) -> NDArray[np.uint8]:
    if isinstance(image, Image.Image):
        return rgb_of(image)
    if isinstance(image, (str, os.PathLike)):
        return read_image(Path(image))
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"this is no picture but {type(image).__name__}",
            where=where,
            expected="a path, a Pillow image or an array (H, W, 3) uint8; or a list of them",
            remedy="of bytes or an open file PIL.Image.open(io.BytesIO(data)); of an iterator "
            "model.stream(pictures)",
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(
            f"the array is {image.shape} {image.dtype}",
            where=where,
            expected="(H, W, 3) uint8, red, green and blue",
            remedy="of one picture at a time: of grey or transparent uint8 "
            "PIL.Image.fromarray(image); of 0 to 1 as floats np.uint8(np.rint(255 * image))",
        )
    return np.ascontiguousarray(image)
