"""Folders of real pictures: what each holds to measure against, known by its files.

A set is a folder with pictures and

- masks, in a layout of `fishseg.datasets.layout`; or ``images/`` and ``boxes.csv``
  (``stem,x0,y0,x1,y1`` in pixels, a line a fish), drawn by hand;
- perhaps ``measures.csv`` (``stem,px_per_mm_from_ruler_ticks,mask_long_axis_mm``): the scale of a
  picture, read off a ruler in it, and how long the one fish on it is;
- perhaps ``truth.csv`` (``stem,photo``): the photograph that each copy was made from. Without it
  every picture is a photograph.
"""

from __future__ import annotations

import csv
import dataclasses
import logging
from collections import defaultdict
from pathlib import Path
from typing import TypeAlias

from fishseg.audit.inventory import build_inventory
from fishseg.errors import DataError
from fishseg.images.decoding import IMAGE_SUFFIXES

log = logging.getLogger(__name__)

Box: TypeAlias = tuple[float, float, float, float]
BOXES, MEASURES, TRUTH = "boxes.csv", "measures.csv", "truth.csv"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ruler:
    """What a ruler says of a picture with one fish."""

    px_per_mm: float
    length_mm: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture and what is known of it.

    Attributes:
        name: the stem of its file.
        photograph: the photograph it is a copy of; in intervals, copies are drawn together.
        image_path: its file.
        mask_path: that of its mask, if there is one.
        boxes: ``(x0, y0, x1, y1)`` in pixels of each fish, if they are known.
        ruler: its scale, if it is known.
    """

    name: str
    photograph: str
    image_path: Path
    mask_path: Path | None = None
    boxes: tuple[Box, ...] | None = None
    ruler: Ruler | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RealSet:
    """Pictures that belong together."""

    name: str
    pictures: tuple[Picture, ...]


def find_sets(folder: Path) -> list[RealSet]:
    """The sets among the folders in ``folder``, by name; what is no set is logged.

    Raises:
        DataError: there is none; or one has a table that does not fit its pictures.
    """
    if not folder.is_dir():
        raise DataError(
            "there is no such folder",
            where=folder,
            expected="a folder of sets of real pictures",
            remedy="FISHSEG_REAL=FOLDER make real",
        )
    sets = []
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            pictures = _pictures(inner)
        except DataError as error:
            if any((inner / table).is_file() for table in (BOXES, MEASURES, TRUTH)):
                raise  # meant to be one
            log.warning("%s is no set of pictures: %s", inner, error.what)
        else:
            sets.append(RealSet(name=inner.name, pictures=tuple(pictures)))
    if not sets:
        raise DataError(
            "none of the folders in it is a set of real pictures",
            where=folder,
            expected="images/ and masks/, or images/ and boxes.csv, in a folder of each set",
            remedy="FISHSEG_REAL=FOLDER make real",
        )
    return sets


def _pictures(folder: Path) -> list[Picture]:
    if (folder / BOXES).is_file():
        pictures = _with_boxes(folder)
    else:
        inventory = build_inventory(folder, max_broken_share=1)
        for problem in inventory.problems:
            log.warning("%s/%s: %s", folder.name, problem.path, problem.message)
        pictures = [
            Picture(
                name=Path(row["image_path"]).stem,
                photograph=str(row["group_id"]),
                image_path=Path(row["image_path"]),
                mask_path=Path(row["mask_path"]),
            )
            for _, row in inventory.table.iterrows()
        ]
    photograph_of = _photographs(folder, pictures)
    rulers = _rulers(folder, pictures)
    return [
        dataclasses.replace(
            picture,
            photograph=photograph_of.get(picture.name, picture.photograph),
            ruler=rulers.get(picture.name),
        )
        for picture in pictures
    ]


def _with_boxes(folder: Path) -> list[Picture]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    for row in _read(folder / BOXES, ("stem", "x0", "y0", "x1", "y1")):
        x0, y0, x1, y1 = (_number(folder / BOXES, row, key) for key in ("x0", "y0", "x1", "y1"))
        if x1 <= x0 or y1 <= y0:
            raise _bad(folder / BOXES, f"the box of {row['stem']} has no area")
        boxes[row["stem"]].append((x0, y0, x1, y1))
    files = {
        path.stem: path
        for path in sorted((folder / "images").iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    if missing := sorted(boxes.keys() - files.keys()):
        raise _bad(folder / BOXES, f"there is no picture {missing[0]} in images/")
    for stem in sorted(files.keys() - boxes.keys()):
        log.warning("%s/%s has no line in %s: left out", folder.name, files[stem].name, BOXES)
    return [
        Picture(name=stem, photograph=stem, image_path=files[stem], boxes=tuple(found))
        for stem, found in sorted(boxes.items())
    ]


def _photographs(folder: Path, pictures: list[Picture]) -> dict[str, str]:
    if not (folder / TRUTH).is_file():
        return {}
    found = {row["stem"]: row["photo"] for row in _read(folder / TRUTH, ("stem", "photo"))}
    for picture in pictures:
        if not found.get(picture.name):
            raise _bad(folder / TRUTH, f"it does not say the photograph of {picture.name}")
    return found


def _rulers(folder: Path, pictures: list[Picture]) -> dict[str, Ruler]:
    path = folder / MEASURES
    if not path.is_file():
        return {}
    scale, length = "px_per_mm_from_ruler_ticks", "mask_long_axis_mm"
    rulers = {
        row["stem"]: Ruler(
            px_per_mm=_number(path, row, scale), length_mm=_number(path, row, length)
        )
        for row in _read(path, ("stem", scale, length))
    }
    for name in sorted({picture.name for picture in pictures} - rulers.keys()):
        log.warning("%s/%s is not in %s: its length is not measured", folder.name, name, MEASURES)
    return rulers


def _read(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise _bad(path, f"it cannot be read: {error}") from None
    if not rows or any(row.get(column) is None for row in rows for column in columns):
        raise _bad(path, f"not every line has {', '.join(columns)}")
    return rows


def _number(path: Path, row: dict[str, str], key: str) -> float:
    try:
        return float(row[key])
    except ValueError:
        raise _bad(path, f"{key} of {row['stem']} is no number: {row[key]!r}") from None


def _bad(path: Path, what: str) -> DataError:
    return DataError(
        f"the table does not fit: {what}", where=path, remedy="correct it, or move the set away"
    )
