"""How many millimetres a pixel is: for all pictures, or for each from a table."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.cli.user_tables import read_rows, who_is_meant
from fishseg.errors import DataError, ParameterError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

    from fishseg.cli.inputs import InputFile

COLUMNS = ("image", "mm_per_px")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """A scale and where it came from.

    Attributes:
        mm_per_px: millimetres in a pixel.
        source: the option or the file that says so, or `fishseg.measurement.table.RULER`.
        confidence: of a scale that was read from a ruler.
    """

    mm_per_px: float
    source: str
    confidence: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scales:
    """The scale of each picture.

    Attributes:
        of_all: that of pictures that the table does not name; None leaves them the one they have.
        table: by the image as the table names it.
        file: the table.
    """

    of_all: Scale | None = None
    table: Mapping[str, float] = dataclasses.field(default_factory=dict)
    file: Path = Path()

    def of_each(self, pictures: Iterable[InputFile]) -> tuple[dict[Path, Scale], list[str]]:
        """The scale of each picture that has one, and a remark on each line of no use.

        `fishseg.cli.user_tables.who_is_meant` says which picture a line means.
        """
        places = {picture.source: picture.path for picture in pictures}
        of_all = self.of_all
        scales = {} if of_all is None else dict.fromkeys(places.values(), of_all)
        meant, useless = who_is_meant(self.table, places)
        for name, source in meant.items():
            scale = Scale(mm_per_px=self.table[name], source=self.file.name)
            scales[places[source]] = scale
        return scales, [f"{self.file}: {name}: {what}" for name, what in useless]


def number(text: str) -> float:
    """A number with a decimal point or a decimal comma.

    Raises:
        ValueError: it is neither, or has marks of thousands.
    """
    text = text.strip()
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    value = float(text)
    if "_" in text:
        raise ValueError(text)
    return value


def scales_of(options: argparse.Namespace) -> Scales:
    """The scales that options give.

    Raises:
        ParameterError: a number is not above zero, or there are too many or too few of them.
        DataError: the table cannot be used.
    """
    of_all = scale(options.mm_per_px, options.reference_px, options.reference_mm)
    if of_all is not None and options.scale == "ruler":
        raise ParameterError(
            "the scale is not clear",
            where=f"--scale {options.scale}, {of_all.source}",
            expected="one of them",
            remedy="give pictures without a ruler theirs with --scales, and leave the other out",
        )
    if options.scales is None:
        return Scales(of_all=of_all)
    return Scales(of_all=of_all, table=_read(options.scales), file=options.scales)


def scale(
    mm_per_px: float | None, reference_px: float | None, reference_mm: float | None
) -> Scale | None:
    """A scale given as such or by something of known length; None if not given.

    Raises:
        ParameterError: a number is not above zero, or there are too many or too few of them.
    """
    given = {
        "--mm-per-px": mm_per_px,
        "--reference-px": reference_px,
        "--reference-mm": reference_mm,
    }
    for option, value in given.items():
        if value is not None and not _is_scale(value):
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
        return Scale(mm_per_px=reference_mm / reference_px, source="--reference-mm")
    return None if mm_per_px is None else Scale(mm_per_px=mm_per_px, source="--mm-per-px")


def _is_scale(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _read(path: Path) -> dict[str, float]:
    """The scale of each image of a table."""

    def refuse(what: str, remedy: str | None = None) -> DataError:
        return DataError(
            f"the table of scales cannot be used: {what}",
            where=path,
            expected="the line image,mm_per_px, then each image once, such as day1/IMG_1.jpg,0.21",
            remedy=remedy
            or "correct it; with a decimal comma, part the columns by semicolons: image;mm_per_px",
        )

    table: dict[str, float] = {}
    for row in read_rows(path, COLUMNS, refuse):
        image, text = row["image"], row["mm_per_px"]
        if image and not text.strip():
            continue  # a list of all pictures, with the scales that are known
        try:
            value = number(text)
        except ValueError:
            value = math.nan
        if not image or not _is_scale(value):
            raise refuse(f"{text!r} is no scale of {image or 'no image'!r}")
        if table.setdefault(image, value) != value:
            raise refuse(f"{image!r} has two scales")
    return table
