"""Which pictures a command means, and what their results are called."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.errors import DataError
from fishseg.images.decoding import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


@dataclasses.dataclass(frozen=True, kw_only=True, order=True)
class InputFile:
    """A picture to work on.

    Attributes:
        name: its path below what all arguments have in common, without the suffix: what its
            results are called. Where two pictures differ in the suffix alone, both keep it.
        source: the same with the suffix, for tables.
        path: the file.
    """

    name: str
    source: str
    path: Path


def find_pictures(
    arguments: Sequence[str], *, left_out: Collection[Path]
) -> tuple[list[InputFile], list[DataError]]:
    """The pictures of files, folders (searched through) and patterns, each once, sorted by name.

    Folders give the files with a suffix of an image that are not hidden; a file that is named
    itself is taken whatever it is called.

    Args:
        arguments: paths, or patterns with ``*``, ``?``, ``[...]`` or ``**``.
        left_out: folders that are passed over: the results of an earlier run.

    Returns:
        The pictures, and a line for each argument that gives none.
    """
    avoided = {_absolute(folder) for folder in left_out}
    files: set[Path] = set()
    bases: list[Path] = []
    problems = []
    for argument in arguments:
        found, base = _expanded(argument, avoided)
        if found:
            files |= found
            bases.append(base)
        else:
            problems.append(_nothing(argument))
    if not files:
        return [], problems
    common = Path(os.path.commonpath(bases))
    readable = {file for file in files if _is_utf8(file)}
    problems += [_unreadable_name(file) for file in sorted(files - readable)]
    return sorted(_named(readable, common)), problems


def _absolute(path: str | Path) -> Path:
    """The path from the root without ``..``, which a name below another folder must not hold."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links, too


def _expanded(argument: str, avoided: set[Path]) -> tuple[set[Path], Path]:
    """The pictures of one argument and the folder that their names count from."""
    path = _absolute(argument)
    if path.is_dir():
        return set(_images_below(path, avoided)), path
    if path.exists() or not glob.has_magic(argument):
        return {path}, path.parent
    fixed = path
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    found: set[Path] = set()
    for match in glob.iglob(argument, recursive=True):  # noqa: PTH207 - takes any pattern
        hit = _absolute(match)
        found |= set(_images_below(hit, avoided)) if hit.is_dir() else {hit}
    return {file for file in found if avoided.isdisjoint(file.parents)}, fixed


def _images_below(folder: Path, avoided: set[Path]) -> Iterator[Path]:
    for place, subfolders, names in os.walk(folder):
        here = Path(place)
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and name != "__MACOSX" and here / name not in avoided
        ]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield here / name


def _named(files: set[Path], common: Path) -> Iterator[InputFile]:
    def stem(file: Path) -> str:
        return file.relative_to(common).with_suffix("").as_posix()

    # Some file systems take names that differ in case for one.
    uses = Counter(stem(file).casefold() for file in files)
    for file in files:
        source = file.relative_to(common).as_posix()
        name = stem(file) if uses[stem(file).casefold()] == 1 else source
        yield InputFile(name=name, source=source, path=file)


def _is_utf8(file: Path) -> bool:
    # Python stands for bytes that are no UTF-8 by surrogates, which no table can hold.
    return not any("\ud800" <= letter <= "\udfff" for letter in str(file))


def _unreadable_name(file: Path) -> DataError:
    return DataError(
        "the file name is not UTF-8",
        where=str(file).encode("utf-8", "backslashreplace").decode(),
        remedy="rename it, for example with convmv",
    )


def _nothing(argument: str) -> DataError:
    is_folder = Path(argument).is_dir()
    return DataError(
        "there are no images in this folder" if is_folder else "no file fits this pattern",
        where=argument,
        expected=f"images: {', '.join(sorted(IMAGE_SUFFIXES))}",
        remedy="check the path",
    )
