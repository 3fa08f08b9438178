"""The work of `fishseg predict`: from pictures to results, a few at a time."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from fishseg.cli.results import Content, DiskFullError
from fishseg.errors import DataError, FishsegError
from fishseg.images.decoding import read_image
from fishseg.images.masks import read_mask
from fishseg.measurement.instances import find_fish, fish_of_mask
from fishseg.measurement.size import measure
from fishseg.measurement.table import outlines_of, row_of
from fishseg.parallel import ordered_map
from fishseg.plots.measured import measured_overlay
from fishseg.store import file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fishseg.cli.inputs import InputFile
    from fishseg.cli.results import Record, Results, Wanted
    from fishseg.measurement.instances import Instance
    from fishseg.prediction.model import ProbabilityModel

# Pictures decoded before, and results still written after, the one in the model.
_AHEAD = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a picture.

    Attributes:
        picture: the picture.
        settled: its record, or why there is none.
        remark: what the user should know of it; empty for nothing.
    """

    picture: InputFile
    settled: Record | FishsegError
    remark: str = ""


def outcomes(
    pictures: list[InputFile], model: ProbabilityModel, results: Results, wanted: Wanted
) -> Iterator[Outcome]:
    """What becomes of each picture, in order.

    Threads read ahead and write behind while the model works; memory holds a few pictures,
    however many there are.

    Raises:
        DiskFullError: there is no space left.
    """

    def read(picture: InputFile) -> _Job:
        try:
            return _read(picture, results, wanted)
        except DiskFullError:
            raise
        except FishsegError as error:
            return _Job(picture=picture, settled=error)

    def predicted() -> Iterator[_Job]:
        for job in ordered_map(read, pictures, ahead=_AHEAD):
            yield _predicted(job, model)

    def finish(job: _Job) -> Outcome:
        settled = job.settled
        if settled is None:
            try:
                settled = _finish(job, model.threshold, results, wanted)
            except DiskFullError:
                raise
            except FishsegError as error:
                settled = error
        return Outcome(picture=job.picture, settled=settled, remark=job.remark)

    yield from ordered_map(finish, predicted(), ahead=_AHEAD)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """A picture on its way: read, then predicted; or settled early by a record or an error."""

    picture: InputFile
    settled: Record | FishsegError | None = None
    remark: str = ""
    before: Record = dataclasses.field(default_factory=dict)
    content: Content | None = None
    image: NDArray[np.uint8] | None = None
    probability: NDArray[np.float32] | None = None
    mask_by_hand: NDArray[np.bool_] | None = None
    mask_sha256: str = ""  # of the mask drawn by hand


def _read(picture: InputFile, results: Results, wanted: Wanted) -> _Job:
    content = Content.of(picture.path)
    record = results.record(picture.name) or {}
    mask = results.mask(picture.name)
    if mask.resolve() == picture.path.resolve():
        raise DataError(
            "the result would overwrite the picture itself",
            where=picture.path,
            remedy="choose another folder with --out",
        )
    digest = file_sha256(mask) if mask.is_file() else None
    is_known = digest is not None and digest == record.get("mask_sha256")
    is_same = record.get("sha256") == content.sha256
    job = _Job(picture=picture, before=record, content=content)
    if is_known and is_same and results.is_complete(record, wanted):
        return dataclasses.replace(job, settled=_brought_up_to_date(job, results, wanted))
    image = read_image(picture.path)
    remark = ""
    if "sha256" in record and not is_same:
        remark = "another picture than before: its results were replaced"
    # No record vouches for it: somebody has drawn it, or changed what was predicted.
    if digest is not None and digest != record.get("unfinished"):
        if not is_known:
            remark = (
                f"masks/{picture.name}.png was changed by hand: kept and measured; "
                "delete it to have it predicted"
            )
        if not is_known or record["by_hand"]:
            by_hand = read_mask(mask, image.shape[:2])
            return dataclasses.replace(
                job, image=image, mask_by_hand=by_hand, mask_sha256=digest, remark=remark
            )
    return dataclasses.replace(job, image=image, remark=remark)


def _brought_up_to_date(job: _Job, results: Results, wanted: Wanted) -> Record:
    """The record of a finished picture, with the scale and the place it has now."""
    record = {key: value for key, value in job.before.items() if key != "unfinished"}
    record |= _circumstances(job, results, wanted)
    if record != job.before:
        results.write_record(job.picture.name, record)
    return record


def _circumstances(job: _Job, results: Results, wanted: Wanted) -> Record:
    """What may change without anything being found anew."""
    known = job.before.get("mm_per_px")
    return {
        "source": job.picture.source,
        "path": results.place(job.picture),
        "mm_per_px": known if wanted.mm_per_px is None else wanted.mm_per_px,
    }


def _predicted(job: _Job, model: ProbabilityModel) -> _Job:
    if job.image is None or job.mask_by_hand is not None:
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


def _finish(job: _Job, threshold: float, results: Results, wanted: Wanted) -> Record:
    assert job.image is not None and job.content is not None  # noqa: S101, PT018 - as read
    made: dict[str, NDArray[Any]] = {}
    # What was asked for once is kept up to date.
    bits = max(wanted.probability_bits, job.before.get("probability_bits", 0))
    by_hand = job.mask_by_hand is not None
    if job.mask_by_hand is not None:
        mask = job.mask_by_hand
        fish = fish_of_mask(mask, min_share=wanted.min_share)
    else:
        assert job.probability is not None  # noqa: S101 - a job is predicted or by hand
        mask = job.probability >= threshold
        fish = find_fish(job.probability, threshold, min_share=wanted.min_share)
        made["masks"] = mask.astype(np.uint8) * 255
        if bits:
            made["probabilities"] = _as_pixels(job.probability, bits)
    measured = [measure(one.mask, origin=one.origin) for one in fish]
    made["overlays"] = measured_overlay(job.image, mask, measured)
    record: Record = {
        **_circumstances(job, results, wanted),
        "bytes": job.content.bytes,
        "sha256": job.content.sha256,
        "made_with": wanted.made_with(by_hand=by_hand),
        "min_share": wanted.min_share,
        "by_hand": by_hand,
        "probability_bits": bits,
        "files": [],
        "height": mask.shape[0],
        "width": mask.shape[1],
        "fish": [row_of(one, its_size) for one, its_size in zip(fish, measured, strict=True)],
    }
    if by_hand:
        record["files"] = [f"masks/{job.picture.name}.png"]
        record["mask_sha256"] = job.mask_sha256
    if wanted.coco:
        record["outlines"] = outlines(fish, mask)
    return results.write(job.picture, made, record)


def outlines(fish: list[Instance], mask: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """The segmentations of the fish of a mask ``(H, W)``."""
    height, width = mask.shape
    return [outlines_of(one, (height, width)) for one in fish]


def _as_pixels(probability: NDArray[np.float32], bits: int) -> NDArray[Any]:
    dtype = np.uint8 if bits == 8 else np.uint16
    white = np.float32(np.iinfo(dtype).max)
    pixels: NDArray[Any] = np.rint(probability * white).clip(0, white).astype(dtype)
    return pixels
