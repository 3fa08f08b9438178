"""The tables of `fishseg predict`: measurements as CSV, outlines as COCO."""

from __future__ import annotations

import csv
import logging
import math
from typing import TYPE_CHECKING, TextIO

from fishseg.errors import ParameterError
from fishseg.measurement import coco
from fishseg.measurement.table import (
    COLUMNS,
    MM_COLUMNS,
    PLAUSIBLE_MM,
    in_millimetres,
    is_plausible,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from fishseg.measurement.table import Row

log = logging.getLogger(__name__)

RLE_FILE, POLYGON_FILE = "annotations.json", "annotations_polygons.json"


def scale(
    mm_per_px: float | None, reference_px: float | None, reference_mm: float | None
) -> float | None:
    """Millimetres in a pixel, given as such or by something of known length; None if not given.

    Raises:
        ParameterError: a number is not above zero, or there are too many or too few of them.
    """
    given = {
        "--mm-per-px": mm_per_px,
        "--reference-px": reference_px,
        "--reference-mm": reference_mm,
    }
    for option, value in given.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ParameterError(
                f"the scale cannot be {value:g}",
                where=option,
                expected="a number above 0",
                remedy="--mm-per-px 0.25, if four pixels are one millimetre",
            )
    if (reference_px is None) != (reference_mm is None) or None not in (mm_per_px, reference_px):
        raise ParameterError(
            "the scale is not clear",
            where=", ".join(option for option, value in given.items() if value is not None),
            expected="--mm-per-px, or both --reference-px and --reference-mm",
            remedy="--reference-px 812 --reference-mm 300, if a ruler of 300 mm is 812 pixels long",
        )
    if reference_px is not None and reference_mm is not None:
        return reference_mm / reference_px
    return mm_per_px


class Table:
    """The CSV file, a row a fish, written as the fish come, and a count of them."""

    def __init__(self, file: TextIO, mm_per_px: float | None) -> None:
        self._mm_per_px = mm_per_px
        self._file = file
        self._n_images = self._n_fish = self._n_empty = self._n_implausible = 0
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(
            ["image", "fish", *COLUMNS, *(MM_COLUMNS if mm_per_px is not None else ())]
        )

    def add(self, image: str, rows: list[Row]) -> None:
        """Write the fish of an image, numbered from 1."""
        for number, row in enumerate(rows, start=1):
            values = [row[column] for column in COLUMNS]
            if self._mm_per_px is not None:
                values += in_millimetres(row, self._mm_per_px).values()
                self._n_implausible += not is_plausible(row, self._mm_per_px)
            self._writer.writerow([image, number, *values])
        self._file.flush()
        self._n_images += 1
        self._n_fish += len(rows)
        self._n_empty += not rows

    def report(self) -> None:
        """Log how many fish there are."""
        log.info(
            "%d fish in %d images; %d images without a fish",
            self._n_fish,
            self._n_images,
            self._n_empty,
        )
        if self._n_implausible:
            shortest, longest = PLAUSIBLE_MM
            log.warning(
                "%d fish come out shorter than %g mm or longer than %g mm: check the scale",
                self._n_implausible,
                shortest,
                longest,
            )


def write_coco(folder: Path, records: Callable[[], Iterable[tuple[str, Row]]]) -> None:
    """Write the COCO files, the exact one and the one of polygons.

    Args:
        folder: where to.
        records: gives the name and the record of each picture; called several times, so that they
            need not all be in memory.
    """

    def images() -> Iterator[Row]:
        for number, (name, record) in enumerate(records(), start=1):
            size = {"width": record["width"], "height": record["height"]}
            yield {"id": number, "file_name": name, **size}

    def annotations(kind: str) -> Iterator[Row]:
        fish_number = 0
        for number, (_, record) in enumerate(records(), start=1):
            for row in record["fish"]:
                fish_number += 1
                yield {"id": fish_number, "image_id": number, **_annotation(row, kind)}

    coco.write(folder / RLE_FILE, images, lambda: annotations("rle"))
    coco.write(folder / POLYGON_FILE, images, lambda: annotations("polygons"))


def _annotation(row: Row, kind: str) -> Row:
    return {
        "category_id": coco.CATEGORY["id"],
        "bbox": [row[f"box_{part}_px"] for part in ("left", "top", "width", "height")],
        "area": row["area_px"],
        "iscrowd": 0,
        "score": row["confidence"],
        "segmentation": row["outlines"][kind],
    }
