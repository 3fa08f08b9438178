"""Which pictures a command means, and what their results are called."""

from __future__ import annotations

import dataclasses
import fnmatch
import glob
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.errors import DataError
from fishseg.images.decoding import IMAGE_SUFFIXES
from fishseg.images.folders import Skipped, is_result, remarks, search, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What arguments give.

    Attributes:
        pictures: each once, sorted by name.
        problems: what cannot be used, and arguments that give nothing.
        remarks: lines on what was passed over and is not missed.
    """

    pictures: list[InputFile]
    problems: list[DataError]
    remarks: list[str]


def find_pictures(arguments: Sequence[str]) -> Found:
    """The pictures of files, folders (searched through) and patterns.

    Folders give the files with a suffix of an image that are not hidden (see
    `fishseg.images.folders.search`); a file that is named itself is taken whatever it is called.

    Args:
        arguments: paths, or patterns with ``*``, ``?``, ``[...]`` or ``**``.

    Raises:
        DataError: none of them is there.
    """
    missing = [argument for argument in arguments if _is_missing(argument)]
    if len(missing) == len(arguments):
        raise _not_there(", ".join(argument or "''" for argument in missing))
    files: dict[tuple[str, str], Path] = {}
    bases: list[Path] = []
    problems = []
    skipped: set[Skipped] = set()
    for argument in arguments:
        if argument in missing:
            problems.append(_not_there(argument or "''"))
            # Once it is there, the others are still called the same.
            bases.append(_absolute(argument).parent)
            continue
        found, passed_over, base = _expanded(argument)
        skipped.update(passed_over)
        if found:
            bases.append(base)
        elif not any(one.is_missed for one in passed_over):
            problems.append(_nothing(argument))
        for file in found:
            # A folder that is reached in two ways gives its pictures once.
            files.setdefault((os.path.realpath(file.parent), file.name), file)
    here = Path.cwd()
    problems += [_missed(one, here) for one in sorted(skipped) if one.is_missed]
    readable = {file for file in files.values() if _is_utf8(file)}
    problems += [_unreadable_name(file) for file in sorted(set(files.values()) - readable)]
    pictures = sorted(_named(readable, Path(os.path.commonpath(bases)))) if readable else []
    return Found(pictures=pictures, problems=problems, remarks=remarks(sorted(skipped), here))


def _is_missing(argument: str) -> bool:
    # A link that leads nowhere is there; what reads it says what is wrong.
    return not argument or not (os.path.lexists(argument) or glob.has_magic(argument))


def _absolute(path: str | Path) -> Path:
    """The path from the root without ``..``, which a name below another folder must not hold."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links, too


def _expanded(argument: str) -> tuple[list[Path], list[Skipped], Path]:
    """The pictures of one argument, what it passes over, and the folder that names count from."""
    path = _absolute(argument)
    if path.is_dir():
        if is_result(path):
            return [], [Skipped(path, "results of fishseg", False)], path
        return *search(path), path
    if path.exists() or not glob.has_magic(argument):
        if path.exists() and not path.is_file():
            return [], [Skipped(path, "no regular file", True)], path.parent
        return [path], [], path.parent
    return _matching(path)


def _matching(path: Path) -> tuple[list[Path], list[Skipped], Path]:
    """What `_expanded` says of a pattern."""
    fixed, parts = _split(path)
    if parts and not glob.has_magic(parts[0]):
        return [], [], fixed
    if is_result(fixed):
        return [], [Skipped(fixed, "results of fishseg", False)], fixed

    def below(place: Path) -> tuple[str, ...]:
        return place.relative_to(fixed).parts

    files, skipped = search(fixed, enter=lambda folder: _reaches(parts, below(folder)))
    return (
        [file for file in files if _fits(parts, below(file))],
        [
            one
            for one in skipped
            if _fits(parts, below(one.path))
            or (one.path.is_dir() and _reaches(parts, below(one.path)))
        ],
        fixed,
    )


def _split(path: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder that a pattern begins in, and its parts from there; brackets may be a name's."""
    fixed = Path(path.anchor)
    parts = path.parts[1:]
    while len(parts) > 1 and (fixed / parts[0]).is_dir():
        fixed, parts = fixed / parts[0], parts[1:]
    return fixed, parts


def _fits(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether a path, or a folder that it lies in, fits a pattern, part by part."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return _fits(pattern[1:], path) or (bool(path) and _fits(pattern, path[1:]))
    return bool(path) and fnmatch.fnmatch(path[0], pattern[0]) and _fits(pattern[1:], path[1:])


def _reaches(pattern: tuple[str, ...], folder: tuple[str, ...]) -> bool:
    """Whether something below a folder may fit a pattern."""
    if not pattern or not folder or pattern[0] == "**":
        return True
    return fnmatch.fnmatch(folder[0], pattern[0]) and _reaches(pattern[1:], folder[1:])


def _named(files: Iterable[Path], common: Path) -> Iterator[InputFile]:
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


def _missed(one: Skipped, here: Path) -> DataError:
    what, _, remedy = one.reason.partition(": ")
    return DataError(what, where=shown(one.path, here), remedy=remedy or None)


def _not_there(argument: str) -> DataError:
    return DataError(
        "there is no such picture or folder", where=argument, remedy="check how it is spelt"
    )


def _nothing(argument: str) -> DataError:
    is_folder = Path(argument).is_dir()
    return DataError(
        "there are no images in this folder" if is_folder else "no file fits this pattern",
        where=argument,
        expected=f"images: {', '.join(sorted(IMAGE_SUFFIXES))}",
        remedy="check the path",
    )
