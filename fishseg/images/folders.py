"""What a folder holds: its pictures, and what in it is passed over and why.

Whoever searches a folder searches it like this: linked folders are followed, none is searched
twice, and results of our own are no pictures to work on.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.images.decoding import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

# A folder with this one in it holds results of ours; the file in it names them.
STATE = ".fishseg"
MARKER = "results.json"
# What `fishseg predict` writes that may look like pictures to work on.
RESULT_FOLDERS = ("masks", "overlays", "probabilities")
IGNORED_FOLDER = "__MACOSX"  # what macOS puts into archives

_RAW_SUFFIXES = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc",
    ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl",
    ".sr2", ".srf", ".srw", ".x3f",
})  # fmt: skip
_OTHER_PICTURES = frozenset({
    ".apng", ".avifs", ".cur", ".dib", ".dcm", ".eps", ".exr", ".hdr", ".heics",
    ".ico", ".j2c", ".j2k", ".jls", ".jp2", ".jpc", ".jpf",
    ".jpm", ".jpx", ".jxl", ".jxr", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".psb",
    ".psd", ".qoi", ".svg", ".tga", ".wdp", ".xcf",
})  # fmt: skip
_NO_PICTURE = "no picture by its name"


@dataclasses.dataclass(frozen=True, order=True)
class Skipped:
    """Something in a folder that is not used.

    Attributes:
        path: the file or folder.
        reason: why, and what to do if anything can be done.
        is_missed: it is a picture that the user may expect to be used.
    """

    path: Path
    reason: str
    is_missed: bool


def search(
    folder: Path, *, enter: Callable[[Path], bool] = lambda _: True
) -> tuple[list[Path], list[Skipped]]:
    """The files below a folder with the suffix of an image, and what is passed over, both sorted.

    Links to folders are followed; a folder that can be reached in two ways is searched once.

    Args:
        folder: where to begin.
        enter: whether to search a folder below it.
    """
    found = _Search(enter)
    searched: set[str] = set()
    found.folders.append(folder)
    # Links come last, so that a folder keeps the name that is its own.
    while found.folders or found.links:
        here = found.folders.pop() if found.folders else found.links.pop(0)
        if os.path.realpath(here) in searched:
            reason = "a link to a folder that is searched already"
            found.skipped.append(Skipped(here, reason, False))
            continue
        searched.add(os.path.realpath(here))
        try:
            found.look_into(here)
        except OSError as error:
            reason = f"the folder cannot be read ({error.strerror}): check the permissions"
            found.skipped.append(Skipped(here, reason, True))
    return sorted(found.files), sorted(without_twins(found.skipped, found.files))


@dataclasses.dataclass
class _Search:
    enter: Callable[[Path], bool]
    files: list[Path] = dataclasses.field(default_factory=list)
    skipped: list[Skipped] = dataclasses.field(default_factory=list)
    folders: list[Path] = dataclasses.field(default_factory=list)
    links: list[Path] = dataclasses.field(default_factory=list)

    def look_into(self, here: Path) -> None:
        ours = result_names(here)
        for entry in sorted(here.iterdir()):
            if entry.name in ours:
                self.skipped.append(Skipped(entry, "results of fishseg", False))
            elif entry.is_dir():
                self._take_folder(entry)
            elif reason := unused_file(entry):
                self.skipped.append(reason)
            else:
                self.files.append(entry)

    def _take_folder(self, folder: Path) -> None:
        if folder.name == STATE:
            return
        if folder.name.startswith(".") or folder.name == IGNORED_FOLDER:
            self.skipped.append(Skipped(folder, "hidden", False))
        elif self.enter(folder):
            (self.links if folder.is_symlink() else self.folders).append(folder)


def unused_file(file: Path) -> Skipped | None:
    """Why a file of a folder is not used, from its name and kind alone; None if it is."""
    suffix = file.suffix.lower()
    if file.name.startswith("."):
        # Such as what macOS keeps beside each file on foreign disks.
        return Skipped(file, "hidden", False)
    if suffix in IMAGE_SUFFIXES:
        # Reading a pipe would wait for ever; a link that leads nowhere is told when it is read.
        special = file.exists() and not file.is_file()
        return Skipped(file, "no regular file", True) if special else None
    if suffix in _RAW_SUFFIXES:
        return Skipped(file, "a camera's raw file is not read: export it as JPEG or TIFF", True)
    if suffix in _OTHER_PICTURES:
        reason = f"pictures of the kind {suffix} are not read: save it as PNG or JPEG"
        return Skipped(file, reason, True)
    return Skipped(file, _NO_PICTURE, False)


def without_twins(skipped: Iterable[Skipped], files: Iterable[Path]) -> Iterator[Skipped]:
    """A raw file whose developed picture lies beside it is not missed."""
    used = {file.with_suffix(""): file for file in files}
    for one in skipped:
        twin = used.get(one.path.with_suffix("")) if one.is_missed else None
        if twin is None:
            yield one
        else:
            yield Skipped(one.path, "a picture of the same name is used", False)


def result_names(folder: Path) -> frozenset[str]:
    """The names in a folder that are results of ours; none in a folder that holds no results."""
    state = folder / STATE
    if not state.is_dir():
        return frozenset()
    try:
        return frozenset(map(str, json.loads((state / MARKER).read_text(encoding="utf-8"))["ours"]))
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset(RESULT_FOLDERS)


def is_result(path: Path) -> bool:
    """Whether an absolute path is a result of ours, or lies below one."""
    places = (path, *path.parents)
    return any(place.name in result_names(place.parent) for place in places if place.name)


def mark_results(folder: Path, names: Collection[str]) -> None:
    """Mark files and folders within a folder as results of ours, beside those marked already."""
    marker = folder / STATE / MARKER
    marker.parent.mkdir(parents=True, exist_ok=True)
    known = result_names(folder) if marker.exists() else frozenset()
    if known >= frozenset(names):
        return
    part = marker.with_suffix(".part")
    part.write_text(json.dumps({"ours": sorted({*known, *names})}), encoding="utf-8", newline="\n")
    part.replace(marker)


def remarks(skipped: Iterable[Skipped], shown_from: Path) -> list[str]:
    """A line for each reason for which something that nobody misses was passed over."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for one in skipped:
        if not one.is_missed:
            by_reason[one.reason].append(shown(one.path, shown_from))
    return [f"{some(names)}: {reason}" for reason, names in sorted(by_reason.items())]


def shown(path: Path, base: Path) -> str:
    """A path as the user wrote it, so far as it lies below a folder."""
    place = path.relative_to(base) if path.is_relative_to(base) else path
    return str(place).encode("utf-8", "backslashreplace").decode()


def use_listed(used: int, unused: Sequence[str], others: Sequence[str]) -> str:
    """How many pictures were used and how many not, each with its reason, as lines.

    Args:
        used: how many.
        unused: a line for each file that was not.
        others: lines on what nobody misses, and on what else to know.
    """
    missed = f", {_counted(len(unused), 'file')} could not be used:" if unused else ""
    lines = [f"{_counted(used, 'picture')} used{missed}", *unused]
    if others:
        lines += ["to know:", *others]
    return "\n".join(lines)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def some(names: Sequence[str], at_most: int = 5) -> str:
    """A few names, and how many more there are."""
    more = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {more} more" if more > 0 else "")
