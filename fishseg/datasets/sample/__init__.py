"""The sample data set: rendered photographs of nine species, in the Kaggle data set's layout.

It stands in for "A Large Scale Fish Dataset" wherever that cannot be fetched: the same folders and
names, the same kind of copies, the same kind of mistakes. In addition it knows the truth about
every copy, which lies in ``truth.csv``, ``truth_photos.csv`` and ``truth/``; the pipeline never
reads it, tests and benchmarks do.

One photograph depends on the seed, its class and its number only, one copy on the seed, its class,
its photo and its number only: a larger set holds the pictures of a smaller one unchanged, under
other names.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from fishseg.datasets.sample.anywhere import draw_set
from fishseg.datasets.sample.camera import Picture
from fishseg.datasets.sample.copies import Transform, draw_transform, draw_wrong_transform
from fishseg.datasets.sample.photo import Photo, render_photo
from fishseg.datasets.sample.species import SPECIES, Species
from fishseg.parallel import ordered_map
from fishseg.params import DataParams

__all__ = ["SPECIES", "download"]

_logger = logging.getLogger(__name__)

# First word of the seed of each kind of draw, so that no two kinds share their random numbers.
_PHOTO, _COPY, _WRONG_MASK, _ORDER = 1, 2, 3, 4

_Row: TypeAlias = dict[str, object]

_STRAY_FILES = {
    "license.txt": "Rendered by fishseg; no photograph is in here. Use it as you like.\n",
    "README.txt": (
        "Rendered pictures of nine species in the layout of A Large Scale Fish Dataset.\n"
        "<Class>/<Class> holds mirrored and rotated copies of the photographs in NA_Fish_Dataset,\n"
        "<Class>/<Class> GT their masks under the same names.\n"
    ),
    "Segmentation_example_script.m": (
        "% Shows one image beside its mask.\n"
        "image = imread('Trout/Trout/00001.png');\n"
        "mask = imread('Trout/Trout GT/00001.png');\n"
        "imshowpair(image, mask, 'montage');\n"
    ),
}


def download(params: DataParams, raw: Path) -> None:
    """Render the sample set into an empty folder.

    ``truth.csv`` has a row for each copy: ``sample_id``; ``photo``, relative to ``raw``;
    ``flipped`` (1: mirrored left-right before the rotation); ``rotation_degrees`` counter-clockwise
    as seen, about the middle of the frame; ``m00`` … ``m12``, the affine map from the photo's pixel
    centres to the copy's; ``mask_wrong``; and ``mask_m00`` … ``mask_m12``, the map that the mask
    was made with. ``truth_photos.csv`` has a row for each photo, see
    `fishseg.datasets.sample.photo.Photo`, and ``truth/<Class>/<stem>.png`` its exact coverage.

    Args:
        params: ``scene`` chooses; ``anywhere`` and ``shoal`` are
            `fishseg.datasets.sample.anywhere.draw_set`. For
            ``market``, ``seed``, ``photos_per_class``, ``copies_per_photo`` and
            ``wrong_mask_share`` count.
        raw: the folder to fill.
    """
    if params.scene != "market":
        draw_set(params.seed, params.photos_per_class, raw, params.scene)
        return
    _lay_out(raw)
    jobs = _plan(params)
    render = functools.partial(_render, params.seed, raw)
    # Threads do: almost all of the time is spent in numpy and OpenCV, which release the GIL.
    rendered = tqdm(ordered_map(render, jobs), total=len(jobs), desc="render photos", unit="photo")
    photo_rows, copy_rows = [], []
    for photo_row, its_copies in rendered:
        photo_rows.append(photo_row)
        copy_rows += its_copies
    _write_table(raw / "truth_photos.csv", photo_rows, key="photo")
    _write_table(raw / "truth.csv", copy_rows, key="sample_id")
    _logger.info("rendered %d photographs and %d copies", len(photo_rows), len(copy_rows))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Copy:
    """``index`` counts the copies of one photo; ``stem`` is the file's name in the class."""

    index: int
    stem: str
    mask_wrong: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """One photo to render, the ``index``-th of its class, and the copies to make of it."""

    class_index: int
    index: int
    copies: tuple[_Copy, ...]


def _plan(params: DataParams) -> list[_Job]:
    """Number the copies so that their order does not tell the photo, and choose the wrong masks."""
    photos, copies = params.photos_per_class, params.copies_per_photo
    shape = (len(SPECIES), photos, copies)
    numbers = [
        _rng(_ORDER, params.seed, class_index).permutation(photos * copies).reshape(photos, copies)
        for class_index in range(len(SPECIES))
    ]
    # Each copy draws a lot of its own; the lowest lots of the whole set get a wrong mask.
    lots = [_rng(_WRONG_MASK, params.seed, *identity).random() for identity in np.ndindex(shape)]
    wrong = np.zeros(len(lots), bool)
    wrong[np.argsort(lots)[: round(params.wrong_mask_share * len(lots))]] = True
    wrong = wrong.reshape(shape)
    return [
        _Job(
            class_index=class_index,
            index=photo,
            copies=tuple(
                _Copy(
                    index=copy,
                    stem=f"{numbers[class_index][photo, copy] + 1:05d}",
                    mask_wrong=bool(wrong[class_index, photo, copy]),
                )
                for copy in range(copies)
            ),
        )
        for class_index in range(len(SPECIES))
        for photo in range(photos)
    ]


def _rng(*key: int) -> np.random.Generator:
    """The generator of one draw. The last word keeps keys apart: SeedSequence pads with zeros."""
    return np.random.default_rng([*key, 1])


def _lay_out(raw: Path) -> None:
    for species in SPECIES:
        for folder in (
            _copy_folder(raw, species),
            _mask_folder(raw, species),
            raw / "NA_Fish_Dataset" / species.source_folder,
            raw / "truth" / species.name,
        ):
            folder.mkdir(parents=True, exist_ok=True)
    for name, text in _STRAY_FILES.items():
        (raw / "Fish_Dataset" / "Fish_Dataset" / name).write_text(
            text, encoding="utf-8", newline="\n"
        )


def _copy_folder(raw: Path, species: Species) -> Path:
    return raw / "Fish_Dataset" / "Fish_Dataset" / species.name / species.name


def _mask_folder(raw: Path, species: Species) -> Path:
    return raw / "Fish_Dataset" / "Fish_Dataset" / species.name / f"{species.name} GT"


def _render(seed: int, raw: Path, job: _Job) -> tuple[_Row, list[_Row]]:
    """Write one photo, its truth and its copies; return their rows of the truth tables."""
    species = SPECIES[job.class_index]
    photo = render_photo(species, _rng(_PHOTO, seed, job.class_index, job.index))
    name = f"{job.index + 1:05d}.png"
    path = raw / "NA_Fish_Dataset" / species.source_folder / name
    _write_png(path, photo.picture)
    _write_png(raw / "truth" / species.name / name, photo.coverage)
    photo_row: _Row = {
        "photo": path.relative_to(raw).as_posix(),
        "area_px": round(photo.area_px, 3),
        "length_px": round(photo.length_px, 3),
        "width_px": round(photo.width_px, 3),
        "whole": int(photo.whole),
    }
    copy_rows = []
    for copy in job.copies:
        rng = _rng(_COPY, seed, job.class_index, job.index, copy.index)
        truth = _write_copy(raw, species, copy, photo, rng)
        copy_rows.append(
            {"sample_id": f"{species.name}/{copy.stem}", "photo": photo_row["photo"], **truth}
        )
    return photo_row, copy_rows


def _write_copy(
    raw: Path, species: Species, copy: _Copy, photo: Photo, rng: np.random.Generator
) -> _Row:
    transform = draw_transform(rng)
    mask_transform = transform
    if copy.mask_wrong:
        mask_transform = draw_wrong_transform(transform, photo.coverage, rng)
    name = f"{copy.stem}.png"
    _write_png(_copy_folder(raw, species) / name, transform.copy_picture(photo.picture))
    _write_png(_mask_folder(raw, species) / name, mask_transform.copy_mask(photo.coverage))
    return {
        "flipped": int(transform.flipped),
        "rotation_degrees": transform.rotation_degrees,
        **_entries("m", transform),
        "mask_wrong": int(copy.mask_wrong),
        **_entries("mask_m", mask_transform),
    }


def _entries(prefix: str, transform: Transform) -> _Row:
    matrix = transform.matrix()
    return {
        f"{prefix}{row}{column}": matrix[row, column] for row in range(2) for column in range(3)
    }


def _write_table(path: Path, rows: list[_Row], *, key: str) -> None:
    table = pd.DataFrame(rows).sort_values(key)
    table.to_csv(path, index=False, lineterminator="\n")


def _write_png(path: Path, picture: Picture) -> None:
    stored = picture[..., ::-1] if picture.ndim == 3 else picture
    path.write_bytes(cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes())
