"""The work of `fishseg predict` and `measure`: from pictures to results, a few at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fishseg.cli.results import (
    GIVEN,
    HAND,
    MODEL,
    Content,
    DiskFullError,
    Results,
    pixels_sha256,
)
from fishseg.cli.scales import Scale
from fishseg.errors import DataError, FishsegError, ModelError
from fishseg.images.decoding import read_image
from fishseg.images.masks import read_mask, read_objects
from fishseg.measurement import coco
from fishseg.measurement.ruler import Search, find_ruler
from fishseg.measurement.size import measure
from fishseg.measurement.table import RULER, outlines_of, rows_of
from fishseg.parallel import ordered_map
from fishseg.plots.measured import measured_overlay
from fishseg.prediction.instances import fish_in, fish_of_mask, fish_of_objects
from fishseg.prediction.model import answer_of, classifier_of
from fishseg.report.own_pictures import pictures_of
from fishseg.store import file_sha256

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fishseg.cli.inputs import InputFile
    from fishseg.cli.results import Record, Wanted
    from fishseg.measurement.table import Row
    from fishseg.prediction.instances import Instance
    from fishseg.prediction.loading import Loaded
    from fishseg.prediction.model import Answer, ProbabilityModel
    from fishseg.prediction.species import SpeciesClassifier

# Pictures decoded before, and results still written after, the one in the model.
_AHEAD = 2
# Of 255: what cameras of 12 bits write into files of 16 comes out below.
_NEARLY_BLACK = 32


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
    pictures: list[InputFile],
    source: ProbabilityModel | Mapping[Path, Path],
    results: Results,
    wanted: Wanted,
) -> Iterator[Outcome]:
    """What becomes of each picture, in order.

    Threads read ahead and write behind while the model works; memory holds a few pictures,
    however many there are.

    Args:
        pictures: with the names that they have among the results.
        source: a model, or the mask of each picture.
        results: where to.
        wanted: what to make of them.

    Raises:
        DiskFullError: there is no space left.
    """

    def read(picture: InputFile) -> _Job:
        try:
            given = source[picture.path] if isinstance(source, Mapping) else None
            return _read(picture, given, results, wanted)
        except DiskFullError:
            raise
        except FishsegError as error:
            return _Job(picture=picture, settled=error)

    def predicted() -> Iterator[_Job]:
        for job in ordered_map(read, pictures, ahead=_AHEAD):
            yield job if isinstance(source, Mapping) else _predicted(job, source)

    def finish(job: _Job) -> Outcome:
        settled = job.settled
        if settled is None:
            try:
                settled = _finish(job, results, wanted)
            except DiskFullError:
                raise
            except FishsegError as error:
                settled = error
        if isinstance(settled, FishsegError):
            return Outcome(picture=job.picture, settled=settled)
        return Outcome(picture=job.picture, settled=settled, remark=_remark(job, settled, wanted))

    yield from ordered_map(finish, predicted(), ahead=_AHEAD)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicting:
    """What a worker elsewhere (`fishseg.cluster`) needs for `outcomes`.

    Attributes:
        reload: loads the model.
        folder: where to; the process that asks holds it.
        wanted: what to make of the pictures.
    """

    reload: Callable[[], Loaded]
    folder: Path
    wanted: Wanted

    def __call__(self) -> Callable[[list[InputFile]], Iterator[Outcome]]:
        """`outcomes` of some pictures.

        Raises:
            FishsegError: the worker has no such model.
        """
        loaded = self.reload()
        if loaded.identity != self.wanted.model:
            raise ModelError(
                "a worker has another model than the process that asks it",
                where=self.folder,
                remedy="have the same fishseg, decoder and backbone on all machines",
            )
        results = Results(self.folder)
        return lambda pictures: outcomes(pictures, loaded.model, results, self.wanted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """A picture on its way: read, then predicted; or settled early by a record or an error."""

    picture: InputFile
    settled: Record | FishsegError | None = None
    remark: str = ""
    before: Record = dataclasses.field(default_factory=dict)
    is_another: bool = False  # than the one that `before` tells of
    set_aside: Path | None = None  # where the mask goes that was drawn by hand of that one
    content: Content | None = None
    image: NDArray[np.uint8] | None = None
    answer: Answer | None = None
    threshold: float = 0.5
    classifier: SpeciesClassifier | None = None
    mask_from: str = MODEL
    mask: NDArray[np.bool_] | None = None  # that no model made
    objects: NDArray[np.int32] | None = None  # its fish by number, where it says them
    mask_sha256: str = ""  # of its file
    given: str = ""  # see `fishseg.cli.results.Wanted.made_with`


def _read(picture: InputFile, given: Path | None, results: Results, wanted: Wanted) -> _Job:
    content = Content.of(picture.path)
    record = results.record(picture.name) or {}
    mask = results.mask(picture.name)
    overwritten = mask.resolve()
    for what, file in (("picture", picture.path), ("mask", given)):
        if file is not None and file.resolve() == overwritten:
            raise DataError(
                f"the result would overwrite the {what} itself",
                where=file,
                remedy="choose another folder with --out",
            )
    given_as = None if given is None else f"{Content.of(given).sha256} {wanted.mask_rule}"
    digest = file_sha256(mask) if mask.is_file() else None
    is_known = digest is not None and digest == record.get("mask_sha256")
    is_same = record.get("sha256") == content.sha256
    image = None
    if "sha256" in record and not is_same:
        image = read_image(picture.path)
        is_same = record.get("pixels_sha256") == pixels_sha256(image)
        if is_same:  # what lies beside the pixels in the file has changed, and nothing else
            record = {**record, "bytes": content.bytes, "sha256": content.sha256}
            results.write_record(picture.name, record)
    is_another = "sha256" in record and not is_same
    job = _Job(picture=picture, before=record, content=content, is_another=is_another)
    if is_known and is_same and results.is_complete(record, wanted, given_as):
        return dataclasses.replace(job, settled=_brought_up_to_date(job, results, wanted))
    image = read_image(picture.path) if image is None else image
    job = dataclasses.replace(job, image=image)
    size = image.shape[:2]
    # No record vouches for it: somebody has drawn it, or changed what was written.
    if digest is not None and digest != record.get("unfinished"):
        if not is_known:
            remark = f"masks/{picture.name}.png was changed by hand: kept and measured; " + (
                "delete it to have it predicted" if given is None else "delete it to take the other"
            )
            drawn = results.read_mask(picture.name, size)
            remark += _resized(mask, size)
            return dataclasses.replace(
                job, mask=drawn, mask_sha256=digest, mask_from=HAND, remark=remark
            )
        if is_same and record["mask_from"] in ((HAND,) if given else (HAND, GIVEN)):
            drawn = results.read_mask(picture.name, size)
            return dataclasses.replace(
                job,
                mask=drawn,
                objects=_objects(record, size) if record["mask_from"] == GIVEN else None,
                mask_sha256=digest,
                mask_from=record["mask_from"],
                given=record.get("given", ""),
            )
        if record["mask_from"] == HAND:
            job = dataclasses.replace(job, set_aside=results.free_place_beside(mask))
    if given is not None and given_as is not None:
        return dataclasses.replace(
            job,
            mask=read_mask(given, size, wanted.mask_rule),
            objects=read_objects(given, size, wanted.mask_rule),
            mask_from=GIVEN,
            given=given_as,
            remark=_resized(given, size).removeprefix("; "),
        )
    return job


def _resized(mask: Path, size: tuple[int, int]) -> str:
    """What to say of a mask whose file has another ``(height, width)`` than its picture."""
    with Image.open(mask) as file:  # its header: the pixels have been read
        width, height = file.size
    if size in ((height, width), (width, height)):  # EXIF may have turned it
        return ""
    return (
        f"; its mask is {width}x{height} pixels and was scaled to {size[1]}x{size[0]}: right for a "
        "smaller copy, wrong for a part that was cut out"
    )


def _brought_up_to_date(job: _Job, results: Results, wanted: Wanted) -> Record:
    """The record of a finished picture, with the scale and the place it has now."""
    record = {key: value for key, value in job.before.items() if key != "unfinished"}
    searched = _searched(job, wanted)
    record |= _circumstances(job, results, wanted, searched)
    if searched is not job.before.get("ruler"):
        # Its fish are as they were: only what is drawn changes.
        size = (record["height"], record["width"])
        mask = results.read_mask(job.picture.name, size)
        fish = _fish_of(record, mask)
        measured = [measure(one.mask, origin=one.origin) for one in fish]
        image = read_image(job.picture.path)
        drawn = measured_overlay(image, mask, measured, _strokes(searched))
        return results.write(job.picture, {"overlays": drawn}, record, {})
    if record != job.before:
        results.write_record(job.picture.name, record)
    return record


def _fish_of(record: Record, mask: NDArray[np.bool_]) -> list[Instance]:
    """The fish of a finished picture; its mask alone does not tell fish apart that touch."""
    objects = _objects(record, (mask.shape[0], mask.shape[1]))
    if objects is None:
        return fish_of_mask(mask, min_share=record["min_share"])
    return fish_of_objects(objects, min_share=0)


def _objects(record: Record, size: tuple[int, int]) -> NDArray[np.int32] | None:
    """The fish of a finished picture by number, where its record holds their outlines."""
    if "outlines" not in record:
        return None
    return coco.numbered([outline["rle"] for outline in record["outlines"]], size)


def _searched(job: _Job, wanted: Wanted) -> Record | None:
    """What is known of the ruler in a picture, looked for if it is asked for; see `Search`."""
    known: Record | None = job.before.get("ruler")
    if not job.is_another and known is not None and (not wanted.ruler or Search.is_of_today(known)):
        return known
    if not wanted.ruler or job.picture.path in wanted.scales:
        return None
    image = read_image(job.picture.path) if job.image is None else job.image
    return find_ruler(image).as_record()


def _remark(job: _Job, record: Record, wanted: Wanted) -> str:
    """What to say of a picture, and of its scale where the ruler was asked for one."""
    said = [*_on_another(job, record), job.remark]
    if job.image is not None and not record["fish"] and job.image.max() < _NEARLY_BLACK:
        said.append(f"nearly black: no pixel is brighter than {job.image.max()} of 255")
    searched = record.get("ruler")
    if wanted.ruler and searched is not None and job.picture.path not in wanted.scales:
        search = Search.of_record(searched)
        if search.doubt and record.get("mm_per_px") is not None:
            kept = f"it keeps the scale of before, from {record['scale_from']}"
            said.append(f"{search.doubt}; {kept}")
        else:
            said.append(f"no scale: {search.doubt}" if search.doubt else search.remark)
    return "; ".join(filter(None, said))


def _on_another(job: _Job, record: Record) -> Iterator[str]:
    """What to say where another picture lies than before."""
    if not job.is_another:
        return
    yield "another picture than before: its results were replaced"
    if job.set_aside is not None:
        yield f"the mask drawn by hand of the one before is masks/{job.set_aside.name} now"
    scale = job.before.get("mm_per_px")
    if scale is not None and record["mm_per_px"] is None:
        yield (
            f"its scale of before, {scale:g} mm per pixel from {job.before['scale_from']}, was "
            "forgotten: give it one"
        )


def _strokes(searched: Record | None) -> tuple[NDArray[np.float64], bool] | None:
    return None if searched is None else Search.of_record(searched).strokes


def _circumstances(job: _Job, results: Results, wanted: Wanted, searched: Record | None) -> Record:
    """What may change without anything being found anew."""
    scale = wanted.scales.get(job.picture.path)
    if scale is None and wanted.ruler and searched is not None:
        search = Search.of_record(searched)
        if search.mm_per_px is not None and search.ruler is not None:
            scale = Scale(
                mm_per_px=search.mm_per_px, source=RULER, confidence=search.ruler.confidence
            )
    names = ("mm_per_px", "scale_from", "scale_confidence")
    known = [job.before.get(name) for name in names]
    is_read_anew = job.before.get("scale_from") == RULER and searched is not job.before.get("ruler")
    if job.is_another or is_read_anew or wanted.forget_scales:
        known = [None] * len(names)
    values = known if scale is None else (scale.mm_per_px, scale.source, scale.confidence)
    return {
        "source": job.picture.source,
        "path": results.place(job.picture),
        **dict(zip(names, values, strict=True)),
        **({} if searched is None else {"ruler": searched}),
    }


def _predicted(job: _Job, model: ProbabilityModel) -> _Job:
    classifier = classifier_of(model)
    # Of a mask that was drawn by hand, too, the species is asked.
    if job.image is None or (job.mask is not None and classifier is None):
        return job
    try:
        answer = answer_of(model, job.image)
        return dataclasses.replace(
            job, answer=answer, threshold=model.threshold, classifier=classifier
        )
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


def _finish(job: _Job, results: Results, wanted: Wanted) -> Record:
    assert job.image is not None and job.content is not None  # noqa: S101, PT018 - as read
    made: dict[str, NDArray[Any]] = {}
    # What was asked for once is kept up to date.
    bits = max(wanted.probability_bits, job.before.get("probability_bits", 0))
    interior = None
    if job.mask is not None:
        mask = job.mask
        fish = (
            fish_of_mask(mask, min_share=wanted.min_share)
            if job.objects is None
            else fish_of_objects(job.objects, min_share=wanted.min_share)
        )
    else:
        assert job.answer is not None  # noqa: S101 - without a mask a job is predicted
        probability, interior = job.answer.probability, job.answer.interior
        mask = probability >= job.threshold
        fish = fish_in(job.answer, job.threshold, min_share=wanted.min_share)
        if bits:
            made["probabilities"] = _as_pixels(probability, bits)
    if job.mask_from != HAND:
        made["masks"] = mask.astype(np.uint8) * 255
    measured = [measure(one.mask, origin=one.origin) for one in fish]
    searched = _searched(job, wanted)
    made["overlays"] = measured_overlay(job.image, mask, measured, _strokes(searched))
    record: Record = {
        **_circumstances(job, results, wanted, searched),
        "bytes": job.content.bytes,
        "sha256": job.content.sha256,
        "pixels_sha256": pixels_sha256(job.image),
        "made_with": wanted.made_with(job.mask_from, job.given),
        "min_share": wanted.min_share,
        "mask_from": job.mask_from,
        "mask_sha256": job.mask_sha256,
        **({"given": job.given} if job.given else {}),
        "probability_bits": bits,
        "files": [f"masks/{job.picture.name}.png"],
        "height": mask.shape[0],
        "width": mask.shape[1],
        "fish": _with_species(rows_of(fish, measured, mask), fish, job, mask.shape),
    }
    # Where a part of the mask is several fish, the mask cannot give their outlines later.
    if wanted.coco or interior is not None or job.objects is not None:
        size = (mask.shape[0], mask.shape[1])
        record["outlines"] = [outlines_of(one, size) for one in fish]
    if job.set_aside is not None:
        results.set_aside(job.picture.name, job.set_aside)
    return results.write(job.picture, made, record, pictures_of(job.image, mask))


def _with_species(
    rows: list[Row], fish: list[Instance], job: _Job, size: tuple[int, ...]
) -> list[Row]:
    """The rows, with what each fish is taken for where a classifier says so."""
    features = None if job.answer is None else job.answer.features
    if job.classifier is None or features is None:
        return rows
    named = []
    for row, one in zip(rows, fish, strict=True):
        name, probability = job.classifier.name_fish(features, one, size) or (None, None)
        named.append({**row, "species": name, "species_probability": probability})
    return named


def _as_pixels(probability: NDArray[np.float32], bits: int) -> NDArray[Any]:
    dtype = np.uint8 if bits == 8 else np.uint16
    white = np.float32(np.iinfo(dtype).max)
    pixels: NDArray[Any] = np.rint(probability * white).clip(0, white).astype(dtype)
    return pixels
