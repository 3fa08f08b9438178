"""Fish in photographs, from Python: `load` a model once, call it with any number of pictures.

The command line predicts with the same models and measures with the same functions, so both give
the same masks and numbers. docs/api.md explains it with examples.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeGuard, cast, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fishseg.errors import BackboneError, DataError, FishsegError, ModelError, explain
from fishseg.images.decoding import read_image, rgb_of
from fishseg.measurement.size import Measurement, measure
from fishseg.measurement.table import reasons_of
from fishseg.parallel import ordered_map
from fishseg.plots.measured import measured_overlay
from fishseg.prediction.instances import Instance, fish_in
from fishseg.prediction.loading import Loaded, load_model
from fishseg.prediction.model import Answer, answer_of, classifier_of
from fishseg.prediction.species import Species, SpeciesClassifier

# What hints name is imported, so that pydantic and FastAPI, too, can tell what they mean.
Photograph: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]

# Files decoded before the picture in the model.
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
    if source is not None and not os.fspath(source):
        raise ModelError("the name of the model is empty", where="source", remedy=_NO_NAME)
    if backbone is not None and not os.fspath(backbone):
        raise BackboneError("the name of the backbone is empty", where="backbone", remedy=_NO_NAME)
    places = (None if place is None else Path(place) for place in (source, backbone))
    # As plain numbers: True and numpy's would give the same model another identity.
    tta = int(tta)
    threshold = None if threshold is None else float(threshold)
    with _explained():
        return Model(load_model(*places, tta=tta, threshold=threshold, fine=fine))


_NO_NAME = "leave it out for the one that ships, or name a file or folder"


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

    Its attributes cannot be changed: for another threshold, load another one.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    @property
    def about(self) -> str:
        """A sentence on what it was trained on, and so on where to trust it."""
        return self._loaded.about

    @property
    def identity(self) -> str:
        """What tells the model, its options and what it computes in apart from others.

        To keep with results.
        """
        return self._loaded.identity

    @property
    def threshold(self) -> float:
        """The probability from which a pixel is fish."""
        return self._loaded.model.threshold

    def __reduce__(self) -> NoReturn:
        """It holds threads and memory of this process.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "a fishseg.Model cannot be copied, or sent to another process: "
            "call fishseg.load() there; threads of one process may share it"
        )

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
        images: Photograph | Iterable[Photograph],
        *,
        on_error: Callable[[Photograph, FishsegError], object] | None = None,
    ) -> Iterator[Result]:
        """The fish in each picture, as they are found: for more pictures than memory holds.

        Threads decode a few files ahead; the network takes one picture at a time with all cores.
        Arrays and Pillow images are copied as they are taken, so that the next one may be written
        into the same array.

        Args:
            images: pictures as of a call, or a single one; an array ``(N, H, W, 3)`` is N of them.
            on_error: called with a picture that cannot be read, or that memory does not suffice
                for, and with what is wrong; the picture then has no result, and the others follow.

        Raises:
            DataError: a picture cannot be read, and there is no ``on_error``.
            FishsegError: there is not enough memory for one, and there is no ``on_error``.
        """
        pictures = [images] if _is_single(images) else cast("Iterable[Photograph]", images)
        for given, image in ordered_map(_finished, _begun(pictures), ahead=_AHEAD):
            try:
                if isinstance(image, FishsegError):
                    raise image
                with _explained():
                    answer = answer_of(self._loaded.model, image)
            except FishsegError as error:
                if on_error is None:
                    raise
                on_error(given, error)
                continue
            yield Result(
                image=image,
                answer=answer,
                threshold=self.threshold,
                classifier=classifier_of(self._loaded.model),
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


_Read: TypeAlias = NDArray[np.uint8] | FishsegError


def _is_single(images: Any) -> TypeGuard[Photograph]:
    """Whether this is one picture, rather than an iterable of letters, bytes or rows."""
    if isinstance(images, np.ndarray):
        return images.ndim in (2, 3)
    return isinstance(images, (str, bytes, bytearray, os.PathLike, Image.Image))


def _begun(images: Iterable[Photograph]) -> Iterator[tuple[Photograph, str, _Read | None]]:
    """Each picture with its number and, unless it is a file, its pixels.

    These are taken at once: a camera fills one array again and again, a film is one Pillow image
    that is wound on, and a file may be closed before the next picture is asked for.
    """
    for number, image in enumerate(images, start=1):
        where = f"picture {number}"
        is_file = isinstance(image, (str, os.PathLike))
        yield image, where, None if is_file else _read(image, where)


def _finished(begun: tuple[Photograph, str, _Read | None]) -> tuple[Photograph, _Read]:
    image, where, pixels = begun
    return image, _read(image, where) if pixels is None else pixels


def _read(image: Photograph, where: str) -> _Read:
    try:
        with _explained():
            return _pixels(image, where)
    except FishsegError as error:
        return error


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
            remedy="of bytes or an open file PIL.Image.open(io.BytesIO(data)); of a tensor "
            "numpy.asarray(tensor); of an iterator model.stream(pictures); of None look at what "
            "could not be read",
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(
            f"the array is {image.shape} {image.dtype}",
            where=where,
            expected="(H, W, 3) uint8, red, green and blue",
            remedy=_remedy(image),
        )
    return np.array(image, order="C")  # of its own, and no matrix or the like


def _remedy(image: NDArray[Any]) -> str:
    """What to write instead of a wrong array, as its shape and its values have it."""
    one = image[0] if image.ndim == 4 and image.size else image
    written = _as_picture(one)
    if written is None:
        return "bring its values to 0 to 255 and its shape to that; or give the file"
    if image.ndim == 4:
        pictures = "list(batch)" if written == "image" else f"[{written} for image in batch]"
        return f"model({pictures})"
    return f"model({written})"


def _as_picture(image: NDArray[Any]) -> str | None:
    """An expression that makes a picture of ``image``; None where none is known."""
    if image.ndim not in (2, 3) or not image.size:
        return None
    bands_first = image.ndim == 3 and image.shape[2] > 4 and image.shape[0] <= 4
    n_bands = 1 if image.ndim == 2 else image.shape[0 if bands_first else 2]
    if image.ndim == 3 and n_bands == 1:
        turned = "image[0]" if bands_first else "image[..., 0]"
    else:
        turned = "image.transpose(1, 2, 0)" if bands_first else "image"
    levels = _as_levels(image, turned)
    if levels is None or n_bands > 4:
        return None
    return levels if n_bands == 3 else f"PIL.Image.fromarray({levels})"


def _as_levels(image: NDArray[Any], written: str) -> str | None:
    """The expression ``written`` of ``image``, brought to 0 to 255."""
    if image.dtype == np.uint8:
        return written
    if image.dtype == np.bool_:
        return f"numpy.uint8(255) * {written}"
    low, high = (image.min(), image.max()) if image.dtype.kind in "iuf" else (-1, -1)
    if not 0 <= low <= high:
        return None  # no numbers, or some that are negative, or none at all
    if image.dtype.kind == "f":
        factor = "255 * " if high <= 1 else ""
        return f"numpy.uint8(numpy.rint({factor}{written}))" if high <= 255 else None
    if high <= 255:
        return f"{written}.astype(numpy.uint8)"
    # Cameras of 10, 12 and 14 bits write into 16, too; the highest value tells.
    step = next((step for step in (4, 16, 64) if high < 256 * step), 257)
    return f"numpy.uint8({written} // {step})" if image.dtype == np.uint16 else None
