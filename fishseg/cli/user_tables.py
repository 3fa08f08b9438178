"""Tables that users write, as the spreadsheets of any country save them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from fishseg.errors import FishsegError


def read_rows(
    path: Path, needed: Collection[str], refuse: Callable[[str, str | None], FishsegError]
) -> Iterator[dict[str, str]]:
    """The rows of a table that names images, by the names of its columns in small letters.

    Columns may be parted by commas, semicolons or tabs and stand in any order; a column that is not
    needed does no harm. Folders in ``image`` are parted by ``/``, whatever the table has.

    Args:
        path: the table.
        needed: columns that have to be there, ``image`` among them.
        refuse: makes the error to raise, of what is wrong and what to do where that is special.

    Raises:
        FishsegError: what ``refuse`` makes, of a table that cannot be read.
    """
    lines = _text(path, refuse).splitlines()
    # Where a comma is the decimal mark, spreadsheets part columns by semicolons.
    mark = next((mark for mark in ";\t" if lines and mark in lines[0]), ",")
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
    try:
        return content.decode("utf-8-sig")  # spreadsheets put a byte order mark in front
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")  # what Excel calls plain CSV


def who_is_meant(
    names: Collection[str], files: Mapping[str, str]
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Which image each name of a table means: that of its path, or the only one of its file name.

    Args:
        names: of the table.
        files: the file name of each image, by its path as `measurements.csv` has it.

    Returns:
        The path that each useful name means; the other names, each with what is wrong with it.
    """
    named = {path: [path] for path in names if path in files}
    for path, name in files.items():
        # A path says which is meant; a mere name may be that of another's path.
        if path not in names and name in names and name not in files:
            named.setdefault(name, []).append(path)
    useless = []
    for name in names:
        n_meant = len(named.get(name, []))
        if n_meant != 1:
            what = f"there are {n_meant} pictures of this name" if n_meant else "no such picture"
            useless.append((name, f"{what}: write the image as measurements.csv names it"))
    return {name: meant[0] for name, meant in named.items() if len(meant) == 1}, useless
