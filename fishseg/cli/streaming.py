"""The work of `fishseg predict`: from pictures to results, a few at a time."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from fishseg.cli.results import DiskFullError
from fishseg.errors import DataError, FishsegError
from fishseg.images.decoding import read_image
from fishseg.measurement.instances import find_fish
from fishseg.measurement.size import measure
from fishseg.measurement.table import outlines_of, row_of
from fishseg.parallel import ordered_map
from fishseg.plots.measured import measured_overlay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fishseg.cli.inputs import InputFile
    from fishseg.cli.results import Record, Results, Wanted
    from fishseg.prediction.model import ProbabilityModel

# Pictures decoded before, and results still written after, the one in the model.
_AHEAD = 2


def outcomes(
    pictures: list[InputFile], model: ProbabilityModel, results: Results, wanted: Wanted
) -> Iterator[tuple[InputFile, Record | FishsegError]]:
    """The record of each picture, in order, or why there is none.

    Threads read ahead and write behind while the model works; memory holds a few pictures,
    however many there are.

    Raises:
        DiskFullError: there is no space left.
    """

    def read(picture: InputFile) -> _Job:
        return _read(picture, results, wanted)

    def predicted() -> Iterator[_Job]:
        for job in ordered_map(read, pictures, ahead=_AHEAD):
            yield _predicted(job, model)

    def finish(job: _Job) -> tuple[InputFile, Record | FishsegError]:
        return job.picture, _finish(job, model.threshold, results, wanted)

    yield from ordered_map(finish, predicted(), ahead=_AHEAD)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """A picture on its way: read, then predicted; or settled early by a record or an error."""

    picture: InputFile
    fingerprint: str = ""
    settled: Record | FishsegError | None = None
    image: NDArray[np.uint8] | None = None
    probability: NDArray[np.float32] | None = None


def _read(picture: InputFile, results: Results, wanted: Wanted) -> _Job:
    try:
        fingerprint = wanted.fingerprint(picture.path)
        record = results.record(picture, fingerprint)
        image = None if record is not None else read_image(picture.path)
    except FishsegError as error:
        return _Job(picture=picture, settled=error)
    return _Job(picture=picture, fingerprint=fingerprint, settled=record, image=image)


def _predicted(job: _Job, model: ProbabilityModel) -> _Job:
    if job.image is None:
        return job
    try:
        return dataclasses.replace(job, probability=model.probability(job.image))
    except FishsegError as error:
        return dataclasses.replace(job, image=None, settled=error)
    except (MemoryError, RuntimeError) as error:
        # torch has no error of its own for a lack of memory on the CPU.
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        problem = DataError(
            "there is not enough memory for this picture",
            where=job.picture.path,
            remedy="make it smaller, or close other programs",
        )
        return dataclasses.replace(job, image=None, settled=problem)


def _finish(job: _Job, threshold: float, results: Results, wanted: Wanted) -> Record | FishsegError:
    if job.image is None or job.probability is None:
        assert job.settled is not None  # noqa: S101 - read and predicted say why there is nothing
        return job.settled
    try:
        made, fish = _make(job.image, job.probability, threshold, wanted)
        files = results.write_pictures(job.picture, made)
        height, width = job.probability.shape
        record = {
            "fingerprint": job.fingerprint,
            "files": files,
            "height": height,
            "width": width,
            "fish": fish,
        }
        results.write_record(job.picture, record)
    except DiskFullError:
        raise
    except FishsegError as error:
        return error
    return record


def _make(
    image: NDArray[np.uint8], probability: NDArray[np.float32], threshold: float, wanted: Wanted
) -> tuple[dict[str, NDArray[Any]], list[dict[str, Any]]]:
    """The pictures to write, by their folder, and a row a fish."""
    mask = probability >= threshold
    fish = find_fish(probability, threshold, min_share=wanted.min_share)
    measured = [measure(one.mask, origin=one.origin) for one in fish]
    made: dict[str, NDArray[Any]] = {
        "masks": mask.astype(np.uint8) * 255,
        "overlays": measured_overlay(image, mask, measured),
    }
    if wanted.probability_bits:
        dtype = np.uint8 if wanted.probability_bits == 8 else np.uint16
        white = np.float32(np.iinfo(dtype).max)
        made["probabilities"] = np.rint(probability * white).clip(0, white).astype(dtype)
    rows = []
    for one, its_size in zip(fish, measured, strict=True):
        row = row_of(one, its_size)
        if wanted.coco:
            row["outlines"] = outlines_of(one, mask.shape)
        rows.append(row)
    return made, rows
