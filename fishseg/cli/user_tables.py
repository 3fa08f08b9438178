"""Tables that users write, as the spreadsheets of any country save them."""

from __future__ import annotations

import codecs
import csv
import re
from collections import defaultdict
from pathlib import PurePath
from typing import TYPE_CHECKING

from fishseg.store import nfc

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from fishseg.errors import FishsegError

_ZIP = b"PK\x03\x04"  # what an .xlsx is


def read_rows(
    path: Path, needed: Collection[str], refuse: Callable[[str, str | None], FishsegError]
) -> Iterator[dict[str, str]]:
    """The rows of a table that names images, by the names of its columns in small letters.

    Columns may be parted by commas, semicolons or tabs, which Excel's line ``sep=;`` may say, and
    stand in any order; a column that is not needed does no harm. Folders in ``image`` are parted by
    ``/``, whatever the table has.

    Args:
        path: the table.
        needed: columns that have to be there, ``image`` among them.
        refuse: makes the error to raise, of what is wrong and what to do where that is special.

    Raises:
        FishsegError: what ``refuse`` makes, of a table that cannot be read.
    """
    lines = _text(path, refuse).splitlines()
    declared = re.fullmatch(r"sep=(.)", lines[0].strip('"'), re.IGNORECASE) if lines else None
    lines = lines[1:] if declared else lines
    # Where a comma is the decimal mark, spreadsheets part columns by semicolons.
    found = next((mark for mark in ";\t" if lines and mark in lines[0]), ",")
    mark = declared[1] if declared else found
    try:
        head, *rows = [row for row in csv.reader(lines, delimiter=mark) if any(row)] or [[]]
    except csv.Error as error:
        raise refuse(str(error), None) from None
    columns = [name.strip().casefold() for name in head]
    if not set(needed) <= set(columns):
        raise refuse(f"its first line is {lines[0] if lines else ''!r}", None)
    for row in rows:
        if len(row) > len(columns) and mark == ",":
            raise refuse(f"the line {mark.join(row)!r} has {len(row)} values", None)
        values = {**dict.fromkeys(columns, ""), **dict(zip(columns, row, strict=False))}
        yield {**values, "image": values["image"].strip().replace("\\", "/")}


def _text(path: Path, refuse: Callable[[str, str | None], FishsegError]) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        what = f"it cannot be read: {error.strerror}"
        raise refuse(what, "check the name of the file") from None
    if content.startswith(_ZIP):
        raise refuse("it is a workbook", "save it as CSV")
    # Spreadsheets put a byte order mark in front; without one, plain CSV is what Excel calls so.
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def who_is_meant(
    names: Collection[str], places: Mapping[str, PurePath]
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Which image each name of a table means.

    An image is named as in `measurements.csv`, or by the end of the path of its file, as many
    folders as tell it apart. Where a name fits several, it means the one that no other name does;
    where several name one image, the one with most folders does.

    Args:
        names: of the table.
        places: where the file of each image is, by its name in `measurements.csv`.

    Returns:
        The image that each useful name means; names with what is wrong with them, or with what
        else they might have meant.
    """
    by_end: defaultdict[str, set[str]] = defaultdict(set)
    for source, place in places.items():
        for end in {nfc(source), *_ends(place)}:
            by_end[end].add(source)
    fitting = {name: set(by_end.get(nfc(name), ())) for name in names}
    for name, fit in fitting.items():
        # A file that is called otherwise by now is no better than one that is called so.
        if name in fit and nfc(places[name].name) == nfc(PurePath(name).name):
            fitting[name] = {name}
    owners: dict[str, str] = {}
    while settled := [name for name, fit in fitting.items() if len(fit) == 1]:
        for name in sorted(settled, key=lambda name: name.count("/"), reverse=True):
            (source,) = fitting.pop(name)
            owners.setdefault(source, name)
        fitting = {name: fit - owners.keys() for name, fit in fitting.items()}
    meant = {name: source for source, name in owners.items()}
    remarks = []
    for name in names:
        fit = by_end.get(nfc(name), set())
        others = sorted(fit - owners.keys())
        if name in meant and not others:
            continue
        ends = " or ".join(_shortest(places[source], by_end) for source in others)
        if name in meant:
            its = _shortest(places[meant[name]], by_end)
            what = f"taken for {its}, as measurements.csv has it, and not for {ends}"
        elif len(fit) == 1:
            what = f"{owners[min(fit)]} is the same picture: leave one of them out"
        elif fit:
            what = f"there are {len(fit)} pictures of this name: write {ends or 'their folders'}"
        else:
            what = "no such picture: write the image as measurements.csv names it"
        remarks.append((name, what))
    return meant, remarks


def _ends(place: PurePath) -> list[str]:
    """The ends of a path: the name of the file, that with its folder, and so on to all of it."""
    parts = [nfc(part) for part in place.parts if part != place.anchor]
    ends = ["/".join(parts[start:]) for start in reversed(range(len(parts)))]
    return [*ends, place.as_posix()] if place.anchor else ends


def _shortest(place: PurePath, by_end: Mapping[str, Collection[str]]) -> str:
    """The shortest end of a path that is no other's."""
    ends = _ends(place)
    return next((end for end in ends if len(by_end[end]) == 1), ends[-1])
