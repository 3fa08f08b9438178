"""Which image belongs to which mask: the folder layouts that are understood.

That of the Kaggle data set, where one level ``Fish_Dataset`` or both may be missing::

    Fish_Dataset/Fish_Dataset/Trout/Trout/00001.png       an image
    Fish_Dataset/Fish_Dataset/Trout/Trout GT/00001.png    its mask
    NA_Fish_Dataset/Trout/00001.png                       a source photo, without mask

and the plain one, without classes or with a subfolder for each::

    images/a.jpg  masks/a.png
    images/Trout/a.jpg  masks/Trout/a.png

Instead of masks, `fishseg.datasets.coco` reads COCO files at one of `COCO_PLACES`.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import defaultdict
from itertools import zip_longest
from typing import TYPE_CHECKING

import pandas as pd

from fishseg.errors import DataError
from fishseg.images.decoding import IMAGE_SUFFIXES
from fishseg.images.folders import (
    IGNORED_FOLDER,
    Skipped,
    search,
    some,
    unused_file,
    without_twins,
)
from fishseg.store import nfc
from fishseg.tables import slug, write_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

COPIES_FOLDER = "Fish_Dataset"
PHOTOS_FOLDER = "NA_Fish_Dataset"
# The class of a plain layout without subfolders.
DEFAULT_CLASS = "fish"
COCO_PARTS = "*/_annotations.coco.json"  # Roboflow: in train/, valid/ and test/
# Where tools put COCO files. Of a pattern with a star, all files are parts of one set.
COCO_PLACES = (
    "annotations.json",  # our own
    "result.json",  # Label Studio
    "instances.json",
    "annotations/instances.json",
    "annotations/instances_*.json",  # CVAT: instances_default.json, or one of each subset
    "_annotations.coco.json",  # Roboflow
    COCO_PARTS,
)
# The one class whose photos are spelled in a way that `slug` does not even out.
PHOTO_ALIASES = {"hourse_mackerel": "horse_mackerel"}

PAIRING_KINDS = (
    "annotation_without_image",
    "case_mismatch",
    "duplicate_stem",
    "empty_class",
    "image_without_mask",
    "mask_without_image",
    "nested_image",
    "unread_format",
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image and its mask; ``sample_id`` is ``<class_name>/<stem>``."""

    sample_id: str
    class_name: str
    image_path: Path
    mask_path: Path


@dataclasses.dataclass(frozen=True, order=True)
class Problem:
    """Something left out or doubtful; ``path`` is relative to the folder searched."""

    kind: str
    path: str
    message: str


@dataclasses.dataclass(frozen=True)
class _ClassFolders:
    """Where the images and masks of a class are.

    In the plain layout without classes, the subfolders of ``images`` are classes of their own.
    """

    name: str
    images: Path
    masks: Path
    has_subfolders: bool = True


def find_pairs(folder: Path) -> tuple[list[Pair], list[Problem]]:
    """Every image of a folder with the mask of the same stem, and what could not be paired.

    Nothing is guessed: names that differ in case, or that two files share, are problems, and so
    are images in folders within a class and pictures of a kind that is not read. Files that are no
    pictures are passed over.

    Returns:
        The pairs in the order of their ``sample_id``, and the problems, sorted.

    Raises:
        DataError: the folder is missing, has none of the layouts above, has classes that cannot be
            told apart by their `slug`, or holds a name that is not UTF-8.
    """
    pairs: list[Pair] = []
    problems: list[Problem] = []
    try:
        classes = _class_folders(folder)
        _require_slugs([found.name for found in classes], folder)
        for class_folders in classes:
            found, unpaired = _pair_up(folder, class_folders)
            pairs += found
            problems += unpaired
    except OSError as error:
        raise DataError(
            f"the folder cannot be read: {error.strerror}",
            where=error.filename or folder,
            remedy="check that you may read it",
        ) from None
    if not classes:
        raise _unknown_layout(folder)
    return sorted(pairs, key=lambda pair: pair.sample_id), sorted(problems)


def find_photos(raw: Path) -> dict[str, list[Path]]:
    """The source photos of each class, sorted, by the class's name in ``Fish_Dataset``.

    Classes without photos are absent. The two parts of the data set spell two classes differently:
    ``Gilt-Head Bream`` and ``Gilt Head Bream``, ``Hourse Mackerel`` and ``Horse Mackerel``.
    """
    folders = {slug(folder.name): folder for folder in _subfolders(raw / PHOTOS_FOLDER)}
    found = {}
    for class_folders in _class_folders(raw):
        key = slug(class_folders.name)
        folder = folders.get(key) or folders.get(PHOTO_ALIASES.get(key, key))
        photos = _image_files(folder) if folder else []
        if photos:
            found[class_folders.name] = photos
    return found


def find_coco_files(folder: Path) -> dict[str, list[Path]]:
    """The files at each of `COCO_PLACES` that has some, sorted."""
    found = {place: _visible_files(folder, place) for place in COCO_PLACES}
    return {place: files for place, files in found.items() if files}


def holds_coco_files(folder: Path) -> bool:
    """Whether there are COCO files for this folder, and not for the only one in it."""
    found = find_coco_files(folder)
    return bool(found) and not (list(found) == [COCO_PARTS] and len(_subfolders(folder)) == 1)


def unwrap(folder: Path, *, is_known: Callable[[Path], bool] = lambda _: False) -> Path:
    """The first folder on the way down that has a known layout.

    The way goes on while there is one subfolder only, as in an archive that a file manager packed
    with its outer folder. ``folder`` itself where this leads nowhere.

    Args:
        folder: where to begin.
        is_known: whether a folder is of another kind that is understood; asked where none on the
            way has a layout.
    """
    way = [folder]
    while len(inner := _subfolders(way[-1])) == 1:
        way += inner
    return next(filter(_class_folders, way), None) or next(filter(is_known, way), folder)


def write_problems(problems: list[Problem], path: Path) -> None:
    """Write problems as CSV with the columns kind, path, message, sorted."""
    rows = [dataclasses.astuple(problem) for problem in sorted(problems)]
    write_csv(pd.DataFrame(rows, columns=["kind", "path", "message"], dtype=str), path)


def read_problems(path: Path) -> list[Problem]:
    """Read what `write_problems` wrote.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
            problems = [Problem(*row) for row in rows]
    except (OSError, ValueError, TypeError, csv.Error):
        header, problems = [], []
    if header != ["kind", "path", "message"]:
        raise DataError(
            "the list of problems cannot be read",
            where=path,
            expected="a CSV with the columns kind, path, message",
            remedy="dvc repro -f download",
        )
    return problems


def _pair_up(folder: Path, class_folders: _ClassFolders) -> tuple[list[Pair], list[Problem]]:
    # Stems that differ in case only go together, since some file systems take them for one name.
    by_stem: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for side, side_folder in enumerate((class_folders.images, class_folders.masks)):
        for path in _image_files(side_folder):
            by_stem[_stem(path).casefold()][side].append(path)
    pairs, problems = [], _out_of_reach(folder, class_folders)
    if not by_stem and not problems:
        place = _relative(class_folders.images, folder)
        message = f"no images of class {class_folders.name} in this folder"
        return [], [Problem("empty_class", place, message)]

    for images, masks in by_stem.values():
        if kind := _mismatch(images, masks):
            first = (images or masks)[0]
            problems.append(Problem(kind, _relative(first, folder), _describe(images, masks)))
        else:
            sample_id = f"{class_folders.name}/{_stem(images[0])}"
            pairs.append(Pair(sample_id, class_folders.name, images[0], masks[0]))
    return pairs, problems


def _out_of_reach(folder: Path, class_folders: _ClassFolders) -> list[Problem]:
    """Pictures of a class that are not looked at: of a kind that is not read, or too deep."""
    deep: list[Path] = []
    skipped: list[Skipped] = []
    for entry in _entries(class_folders.images):
        if not entry.is_dir():
            unused = unused_file(entry)
            skipped += [unused] if unused else []
        elif class_folders.has_subfolders:
            images, others = search(entry)
            deep += images
            skipped += others
    message = "images in folders within a class are not used: move it into the class's own"
    return [Problem("nested_image", _relative(path, folder), message) for path in deep] + [
        Problem("unread_format", _relative(one.path, folder), one.reason)
        for one in without_twins(skipped, _image_files(class_folders.images))
        if one.is_missed
    ]


def _mismatch(images: list[Path], masks: list[Path]) -> str | None:
    """Why these files of one stem are no pair, as the kind of a problem."""
    if len({_stem(path) for path in images + masks}) > 1:
        return "case_mismatch"
    if len(images) > 1 or len(masks) > 1:
        return "duplicate_stem"
    if not masks:
        return "image_without_mask"
    return None if images else "mask_without_image"


def _describe(images: list[Path], masks: list[Path]) -> str:
    named = [
        f"{side} {', '.join(path.name for path in paths) or 'none'}"
        for side, paths in (("images:", images), ("masks:", masks))
    ]
    return f"one image and one mask of the same name are needed; found {'; '.join(named)}"


def _class_folders(folder: Path) -> list[_ClassFolders]:
    """The classes of the first layout that fits, the most specific tried first."""
    outer = folder / COPIES_FOLDER
    return (
        _kaggle_classes(outer / COPIES_FOLDER)
        or _kaggle_classes(outer)
        or _plain_classes(folder)
        or _kaggle_classes(folder)
    )


def _kaggle_classes(level: Path) -> list[_ClassFolders]:
    classes = [
        _ClassFolders(nfc(entry.name), _inner(entry, entry.name), _inner(entry, f"{entry.name} GT"))
        for entry in _subfolders(level)
        if entry.name not in (COPIES_FOLDER, PHOTOS_FOLDER)
    ]
    recognised = any(found.images.is_dir() or found.masks.is_dir() for found in classes)
    return classes if recognised else []


def _inner(folder: Path, name: str) -> Path:
    """The subfolder of a name, however its accents are composed."""
    exact = folder / name
    if name.isascii() or exact.is_dir():
        return exact
    return next((found for found in _subfolders(folder) if nfc(found.name) == nfc(name)), exact)


def _plain_classes(folder: Path) -> list[_ClassFolders]:
    images, masks = folder / "images", folder / "masks"
    if not (images.is_dir() and masks.is_dir()):
        return []
    # Accents of one name may be composed on one side and taken apart on the other.
    by_name = [_by_name(_subfolders(side)) for side in (images, masks)]
    classes = [
        _ClassFolders(name, image_folder or images / name, mask_folder or masks / name)
        for name in sorted({*by_name[0], *by_name[1]})
        for image_folder, mask_folder in zip_longest(*(found.get(name, []) for found in by_name))
    ]
    if not classes or _image_files(images) or _image_files(masks):
        classes.append(_ClassFolders(DEFAULT_CLASS, images, masks, has_subfolders=False))
    return classes


def _by_name(folders: list[Path]) -> dict[str, list[Path]]:
    found = defaultdict(list)
    for folder in folders:
        found[nfc(folder.name)].append(folder)
    return found


def require_class_folders(class_names: Iterable[str], where: Path) -> None:
    """Refuse classes that cannot each have a folder of its own in the Kaggle layout.

    Args:
        class_names: of all samples, each once.
        where: what they come from.

    Raises:
        DataError: a name that leads elsewhere, or that would be passed over; or two names of one
            `slug`.
    """
    names = sorted(class_names)
    for name in names:
        leads_elsewhere = name.startswith(".") or any(sign in name for sign in "/\\\0")
        if leads_elsewhere or name in (COPIES_FOLDER, PHOTOS_FOLDER, IGNORED_FOLDER):
            raise DataError(
                f"a class cannot be called {name!r}: its pictures need a folder of that name",
                where=where,
                expected=f"names without / and \\ that do not begin with a dot, and other than "
                f"{COPIES_FOLDER}, {PHOTOS_FOLDER} and {IGNORED_FOLDER}",
                remedy="rename the class",
            )
    _require_slugs(names, where)


def _require_slugs(class_names: Iterable[str], where: Path) -> None:
    names = defaultdict(list)
    for name in class_names:
        names[slug(name)].append(name)
    for same in names.values():
        if len(same) == 1:
            continue
        if len(set(same)) == 1:
            what = (
                f"the classes {', '.join(same)} have one name: accents may be composed in two "
                f"ways, and pictures outside of a folder of their own are of class {DEFAULT_CLASS}"
            )
        else:
            what = f"only case, spaces or punctuation tell the classes {', '.join(same)} apart"
        raise DataError(
            what,
            where=where,
            expected="classes that keep their difference as keys of the metrics",
            remedy="rename or merge them",
        )


def _subfolders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir() and entry.name != IGNORED_FOLDER]


def _image_files(folder: Path) -> list[Path]:
    return [
        entry
        for entry in _entries(folder)
        if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()
    ]


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without hidden files; nothing where there is no folder."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    for entry in entries:
        # Python stands for bytes that are no UTF-8 by surrogates, which no CSV can hold.
        if re.search("[\ud800-\udfff]", entry.name):
            raise DataError(
                "a file name is not UTF-8",
                where=str(entry).encode("utf-8", "backslashreplace").decode(),
                remedy="rename it, for example with convmv",
            )
    return [entry for entry in entries if not entry.name.startswith(".")]


def _stem(path: Path) -> str:
    return nfc(path.stem)


def _relative(path: Path, folder: Path) -> str:
    place = path.relative_to(folder).as_posix()
    return place.encode("utf-8", "backslashreplace").decode()


def _unknown_layout(folder: Path) -> DataError:
    if not folder.is_dir():
        return DataError(
            "this is a file, not a folder" if folder.exists() else "there is no such folder",
            where=folder,
            expected="a folder of images and masks",
            remedy="check the path; unpack an archive first",
        )
    nearby = [
        _relative(file, folder)
        for pattern in ("*.json", "*/*.json", "*/*/*.json")
        for file in _visible_files(folder, pattern)
    ]
    remedy = "rename the folders to match one of these"
    if find_coco_files(folder):
        remedy = (
            "`dvc exp run -S data.source=local -S data.path=FOLDER download` draws the masks; "
            "then give data/raw"
        )
    elif nearby:
        remedy += f"; {some(nearby, 3)} would be read at one of the places for COCO files"
    return DataError(
        "no images with masks in a layout that is known",
        where=folder,
        expected="one of\n"
        "    images/a.jpg and masks/a.png\n"
        "    images/Trout/a.jpg and masks/Trout/a.png\n"
        "    Trout/Trout/a.png and 'Trout/Trout GT/a.png', also below Fish_Dataset/ or "
        "Fish_Dataset/Fish_Dataset/\n"
        f"    with data.source=local, pictures and COCO files: {', '.join(COCO_PLACES)}",
        remedy=remedy,
    )


def _visible_files(folder: Path, pattern: str) -> list[Path]:
    """The files that match a pattern, without those that are hidden."""
    return [
        path
        for path in sorted(folder.glob(pattern))
        if not any(
            part.startswith(".") or part == IGNORED_FOLDER
            for part in path.relative_to(folder).parts
        )
        and path.is_file()
    ]
