"""The tables of `fishseg predict`: measurements as CSV, outlines as COCO."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import logging
import re
from typing import TYPE_CHECKING, Any

from fishseg.cli.decisions import DECISIONS, decided, read_decisions
from fishseg.images.folders import some
from fishseg.measurement import coco
from fishseg.measurement.table import (
    COLUMNS,
    MM_COLUMNS,
    PLAUSIBLE_MM,
    in_millimetres,
    is_plausible,
    outlines_of,
)
from fishseg.prediction.instances import fish_of_mask
from fishseg.report.own_pictures import is_left_out, page
from fishseg.store import file_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping
    from pathlib import Path

    from fishseg.cli.results import Results, Wanted
    from fishseg.measurement.table import Row

log = logging.getLogger(__name__)

TABLE, EXCEL, PAGE = "measurements.csv", "measurements.xlsx", "index.html"
# There only where the model names species; see `fishseg.prediction.species`.
SPECIES_COLUMNS = ("species", "species_probability")
# File and kind of outline.
COCO_FILES = {"annotations.json": "rle", "annotations_polygons.json": "polygons"}


def write_tables(results: Results, wanted: Wanted) -> list[str]:
    """Put the tables together from all records, also those of earlier runs.

    Returns:
        Lines on what the user should know.
    """
    decisions = decided(read_decisions(results.folder / DECISIONS), results.records())
    table = table_of(
        (record for _, record in results.records()),
        min_confidence=wanted.min_confidence,
        decisions=decisions.verdicts,
    )
    with results.replacing(results.folder / PAGE) as part:
        text = page(
            results.records(),
            decisions.verdicts,
            table.setup,
            outdated=decisions.outdated,
            min_confidence=wanted.min_confidence,
        )
        part.write_text(text, encoding="utf-8", newline="\n")
    with results.replacing(results.folder / TABLE) as part:
        table.write_csv(part)
    # Once there, they are kept up to date.
    is_asked = wanted.excel or (results.folder / EXCEL).exists()
    if is_asked and importlib.util.find_spec("openpyxl") is None:
        log.warning("%s is not brought up to date: pip install openpyxl", EXCEL)
    elif is_asked:
        with results.replacing(results.folder / EXCEL) as part:
            table.write_excel(part)
    if wanted.coco or all((results.folder / name).exists() for name in COCO_FILES):
        changed = set(_changed(results))
        for name, kind in COCO_FILES.items():
            with results.replacing(results.folder / name) as part:
                write_coco(part, lambda: _with_outlines(results, changed), kind)
    table.report()
    n_given = n_other = 0
    gone = []
    for _, record in results.records():
        mask_from = record["mask_from"]
        n_given += mask_from == "given"
        n_other += mask_from == "model" and record["made_with"] != wanted.made_with("model")
        if not (results.folder / record["path"]).exists():
            gone.append(record["source"])
    if n_given and wanted.model:
        log.info(
            "%d of %d images keep the masks that `fishseg measure` was given: delete one in masks/ "
            "to have it predicted",
            n_given,
            table.n_images,
        )
    if n_other and wanted.model:
        log.warning(
            "%d of %d images were predicted with another model or other options, in an earlier "
            "run: give them again to bring them up to date",
            n_other,
            table.n_images,
        )
    remarks = [*decisions.remarks, *results.strays()]
    if gone:
        remarks.append(
            f"{some(gone)}: in the tables, and no longer where the picture was: delete its mask in "
            "masks/ to take it out"
        )
    return remarks


def _changed(results: Results) -> Iterator[str]:
    """The pictures without outlines whose mask is no longer the one that was measured."""
    for name, record in results.records():
        if "outlines" not in record:
            mask = results.mask(name)
            if not mask.is_file() or file_sha256(mask) != record["mask_sha256"]:
                log.warning(
                    "masks/%s.png is not the one that was measured: give the picture again to have "
                    "it among the outlines",
                    name,
                )
                yield name


def _with_outlines(results: Results, changed: Container[str]) -> Iterator[Row]:
    """The records with the outlines of their fish, made of the masks where they lack."""
    for name, record in results.records():
        if name in changed:
            continue
        if "outlines" not in record:
            size = (record["height"], record["width"])
            mask = results.read_mask(name, size)
            fish = fish_of_mask(mask, min_share=record["min_share"])
            record["outlines"] = [outlines_of(one, size) for one in fish]
            results.write_record(name, record)
        yield record


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """What the records of a folder say, a row a fish.

    Attributes:
        rows: each with the same columns, None where there is nothing to say.
        n_images: how many pictures there are.
        empty: those of them without a fish.
        n_implausible: fish of a length that fish do not have.
        n_unsure: fish that were left out because of their confidence.
        emptied: pictures that have no row because of that.
    """

    rows: list[Row]
    n_images: int
    empty: list[str]
    n_implausible: int
    n_unsure: int
    emptied: list[str]

    def write_csv(self, path: Path) -> None:
        """Write the rows, below a line of names."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def write_excel(self, path: Path) -> None:
        """Write the rows as a sheet; numbers are numbers, whatever the country's decimal mark."""
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.styles import Font
        from openpyxl.utils import get_column_letter

        def cell(value: Any, *, bold: bool = False) -> Any:
            text = isinstance(value, str)
            # XML has no control characters.
            made = WriteOnlyCell(sheet, re.sub(r"[\x00-\x1f]", "\ufffd", value) if text else value)
            if text:
                made.data_type = "s"  # a name that begins with = is no formula
            if bold:
                made.font = Font(bold=True)
            return made

        book = Workbook(write_only=True)
        sheet = book.create_sheet("measurements")
        columns = self.columns
        sheet.freeze_panes = "C2"
        for number, name in enumerate(columns, start=1):
            sheet.column_dimensions[get_column_letter(number)].width = max(9, len(name) + 2)
        sheet.auto_filter.ref = f"A1:{get_column_letter(len(columns))}{len(self.rows) + 1}"
        sheet.append([cell(name, bold=True) for name in columns])
        for row in self.rows:
            sheet.append([cell(row.get(name)) for name in columns])
        book.save(path)

    @property
    def columns(self) -> list[str]:
        """Those of millimetres, species and decisions only where there are any."""
        has_scale = any(row["mm_per_px"] is not None for row in self.rows)
        of_ruler = any(row["scale_confidence"] is not None for row in self.rows)
        sure = ("scale_confidence",) if of_ruler else ()
        with_scale = ("mm_per_px", "scale_from", *sure, *MM_COLUMNS) if has_scale else ()
        named = SPECIES_COLUMNS if any(row["species"] for row in self.rows) else ()
        decided = ("decision",) if any(row["decision"] for row in self.rows) else ()
        return ["image", "fish", *COLUMNS, *named, "mask_from", *decided, *with_scale]

    @property
    def setup(self) -> dict[str, str]:
        """The numbers at the head of the page."""
        numbers = {"Pictures": self.n_images, "Fish": len(self.rows)}
        if self.n_unsure:
            numbers["Fish below --min-confidence"] = self.n_unsure
        return {name: str(number) for name, number in numbers.items()}

    def report(self) -> None:
        """Log how many fish there are, and where there is none."""
        log.info(
            "%d fish in %d images; %d images without a fish%s",
            len(self.rows),
            self.n_images,
            len(self.empty),
            f": {some(self.empty)}" if self.empty else "",
        )
        n_odd = sum(bool(row["check"]) for row in self.rows)
        if n_odd:
            log.info("%d fish to look at: the column check says why", n_odd)
        if self.n_unsure:
            log.info(
                "%d fish below --min-confidence are left out of the table%s",
                self.n_unsure,
                f"; there is no other in {some(self.emptied)}" if self.emptied else "",
            )
        if self.n_implausible:
            shortest, longest = PLAUSIBLE_MM
            log.warning(
                "%d fish come out shorter than %g mm or longer than %g mm: check the scale",
                self.n_implausible,
                shortest,
                longest,
            )


def table_of(
    records: Iterable[Row],
    *,
    min_confidence: float = 0,
    decisions: Mapping[str, str] | None = None,
) -> Table:
    """The table of these records, in their order; fish are numbered from 1 in each picture.

    Args:
        records: as `fishseg.cli.streaming` makes them.
        min_confidence: fish of less are left out; those of masks that no model made stay.
        decisions: of the user, by the image.
    """
    rows: list[Row] = []
    empty: list[str] = []
    emptied: list[str] = []
    n_images = n_implausible = n_unsure = 0
    for record in records:
        scale = record["mm_per_px"]
        n_images += 1
        if not record["fish"]:
            empty.append(record["source"])
        elif all(is_left_out(fish, min_confidence) for fish in record["fish"]):
            emptied.append(record["source"])
        for number, fish in enumerate(record["fish"], start=1):
            if is_left_out(fish, min_confidence):
                n_unsure += 1
                continue
            in_mm = dict.fromkeys(MM_COLUMNS) if scale is None else in_millimetres(fish, scale)
            n_implausible += scale is not None and not is_plausible(fish, scale)
            rows.append(
                {
                    "image": record["source"],
                    "fish": number,
                    **dict.fromkeys(SPECIES_COLUMNS),
                    **fish,
                    "mask_from": record["mask_from"],
                    "decision": (decisions or {}).get(record["source"]),
                    "mm_per_px": scale,
                    "scale_from": record["scale_from"],
                    "scale_confidence": record.get("scale_confidence"),
                    **in_mm,
                }
            )
    return Table(
        rows=rows,
        n_images=n_images,
        empty=empty,
        n_implausible=n_implausible,
        n_unsure=n_unsure,
        emptied=emptied,
    )


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
