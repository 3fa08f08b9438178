"""The tables of `fishseg predict`: measurements as CSV, outlines as COCO."""

from __future__ import annotations

import csv
import dataclasses
import logging
import math
from typing import TYPE_CHECKING, Any

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

# File and kind of outline.
COCO_FILES = {"annotations.json": "rle", "annotations_polygons.json": "polygons"}


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """What the records of a folder say, a row a fish.

    Attributes:
        rows: each with the same columns, None where there is nothing to say.
        n_images: how many pictures there are.
        n_empty: how many of them are without a fish.
        n_implausible: fish of a length that fish do not have.
    """

    rows: list[Row]
    n_images: int
    n_empty: int
    n_implausible: int

    def write_csv(self, path: Path) -> None:
        """Write the rows, below a line of names."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    @property
    def columns(self) -> list[str]:
        """Those of millimetres only where a scale is known."""
        has_scale = any(row["mm_per_px"] is not None for row in self.rows)
        with_scale = ("mm_per_px", *MM_COLUMNS) if has_scale else ()
        return ["image", "fish", *COLUMNS, "mask_from", *with_scale]

    def report(self) -> None:
        """Log how many fish there are."""
        log.info(
            "%d fish in %d images; %d images without a fish",
            len(self.rows),
            self.n_images,
            self.n_empty,
        )
        if self.n_implausible:
            shortest, longest = PLAUSIBLE_MM
            log.warning(
                "%d fish come out shorter than %g mm or longer than %g mm: check the scale",
                self.n_implausible,
                shortest,
                longest,
            )


def table_of(records: Iterable[Row]) -> Table:
    """The table of these records, in their order; fish are numbered from 1 in each picture."""
    rows: list[Row] = []
    n_images = n_empty = n_implausible = 0
    for record in records:
        scale = record["mm_per_px"]
        n_images += 1
        n_empty += not record["fish"]
        for number, fish in enumerate(record["fish"], start=1):
            in_mm = dict.fromkeys(MM_COLUMNS) if scale is None else in_millimetres(fish, scale)
            n_implausible += scale is not None and not is_plausible(fish, scale)
            rows.append(
                {
                    "image": record["source"],
                    "fish": number,
                    **fish,
                    "mask_from": "hand" if record["by_hand"] else "model",
                    "mm_per_px": scale,
                    **in_mm,
                }
            )
    return Table(rows=rows, n_images=n_images, n_empty=n_empty, n_implausible=n_implausible)


def write_coco(path: Path, records: Callable[[], Iterable[Row]], kind: str) -> None:
    """Write a COCO file.

    Args:
        path: the file.
        records: gives the record of each picture, with its outlines; called several times, so that
            they need not all be in memory.
        kind: ``rle``, exact, or ``polygons``.
    """

    def images() -> Iterator[Row]:
        for number, record in enumerate(records(), start=1):
            size = {"width": record["width"], "height": record["height"]}
            yield {"id": number, "file_name": record["source"], **size}

    def annotations() -> Iterator[Row]:
        fish_number = 0
        for number, record in enumerate(records(), start=1):
            for row, outlines in zip(record["fish"], record["outlines"], strict=True):
                fish_number += 1
                entry = _annotation(row, outlines[kind])
                yield {"id": fish_number, "image_id": number, **entry}

    coco.write(path, images, annotations)


def _annotation(row: Row, segmentation: Any) -> Row:
    # A mask that was drawn by hand has no score.
    score = {} if row["confidence"] is None else {"score": row["confidence"]}
    return {
        "category_id": coco.CATEGORY["id"],
        "bbox": [row[f"box_{part}_px"] for part in ("left", "top", "width", "height")],
        "area": row["area_px"],
        "iscrowd": 0,
        **score,
        "segmentation": segmentation,
    }
