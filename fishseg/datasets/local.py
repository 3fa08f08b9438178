"""The local data source: a folder or a zip of the user's own images and masks."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from fishseg.datasets import coco
from fishseg.datasets.archive import require_space, unpack
from fishseg.datasets.layout import (
    COPIES_FOLDER,
    PHOTOS_FOLDER,
    find_pairs,
    find_photos,
    holds_coco_files,
    require_class_folders,
    unwrap,
    write_problems,
)
from fishseg.errors import DataError
from fishseg.images.folders import search, some
from fishseg.params import typed_path
from fishseg.store import PARTIAL
from fishseg.store import folder as store_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fishseg.datasets.layout import Pair, Problem
    from fishseg.params import DataParams

log = logging.getLogger(__name__)

GROUPS_FILE = "groups.csv"
PROBLEMS_FILE = "unpaired.csv"

# The user's own archive: generous, but a zip bomb must not fill the disk.
MAX_UNPACKED_BYTES = 256 * 2**30
MAX_FILES = 1_000_000


def download(params: DataParams, raw: Path) -> None:
    """Copy the folder or zip ``params.path`` into ``raw``, in the Kaggle layout.

    Any layout of `fishseg.datasets.layout` will do, and pictures with COCO files beside them, as
    annotation tools export them (`fishseg.datasets.coco`). Files are copied as they are: ``raw``
    stays what it is when the source changes; the source photos of ``NA_Fish_Dataset`` and
    ``groups.csv`` come along if there are any. What could not be paired stays behind and is listed
    in ``raw/unpaired.csv``.

    Args:
        params: the section ``data``; ``path`` counts as in
            `fishseg.params.typed_path`.
        raw: the folder to fill; it may be missing, but not hold anything.

    Raises:
        DataError: the path is missing, lies in ``raw`` or holds no pair; it holds COCO files at
            several places, or ``groups.csv`` where it is not looked for; a class has a name that no
            folder can have there, or two have the same; the archive is damaged or unsafe; ``raw``
            holds something; the disk is full.
    """
    source = typed_path(params.path)
    _require_apart(source, raw)
    scratch = store_folder("unpacked")
    with (
        opened(source, scratch=scratch) as folder,
        tempfile.TemporaryDirectory(prefix=PARTIAL, dir=scratch) as new,
    ):
        coco_files = [] if (folder / "masks").is_dir() else coco.find_files(folder)
        if coco_files:
            _tell(coco_files, folder)
            pairs, problems = coco.write_pairs(coco_files, folder, Path(new))
        else:
            pairs, problems = find_pairs(folder)
        if not pairs:
            raise _no_pairs(source, problems)
        require_class_folders({pair.class_name for pair in pairs}, source)
        _copy(_destinations(folder, pairs, raw), raw)
    write_problems(problems, raw / PROBLEMS_FILE)


@contextlib.contextmanager
def opened(path: Path, *, scratch: Path | None = None) -> Iterator[Path]:
    """A folder of images and masks: ``path`` itself, or what is in it if it is a zip.

    A zip is unpacked to a temporary folder below ``scratch`` (by default where the system keeps
    such), which is removed on leaving. If all of it lies in one outer folder, that is the one
    given.

    Raises:
        DataError: there is no such path; it is neither a folder nor a zip that is safe to unpack;
            or a ``groups.csv`` lies elsewhere than in the folder given, where nobody would read it.
    """
    if path.is_dir():
        _require_groups_on_top(path, searched=path)
        yield path
        return
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise DataError(
            "this is neither a folder nor a zip file" if path.exists() else "there is no such path",
            where=path,
            expected="a folder or a zip of images and masks",
            remedy="check the path; unpack other kinds of archives yourself and give the folder",
        )
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=scratch) as place:
        folder = Path(place) / "unpacked"
        unpack(path, folder, max_bytes=MAX_UNPACKED_BYTES, max_files=MAX_FILES)
        inner = unwrap(folder, is_known=holds_coco_files)
        _require_groups_on_top(inner, searched=folder)
        yield inner


def _tell(coco_files: list[Path], folder: Path) -> None:
    names = [file.relative_to(folder).as_posix() for file in coco_files]
    log.info("the masks are drawn from %s", ", ".join(names))
    places = dict.fromkeys(file.parent for file in coco_files)
    others = {file for place in places for file in place.glob("[!.]*.json")} - {*coco_files}
    if others:
        # Such as CVAT's person_keypoints_default.json, or COCO's captions.
        passed_over = sorted(file.relative_to(folder).as_posix() for file in others)
        log.warning("JSON beside it is not read: %s", some(passed_over))


def _require_groups_on_top(folder: Path, *, searched: Path) -> None:
    """Refuse a ``groups.csv`` that would be passed over: the split would tear its groups apart."""
    right = folder / GROUPS_FILE
    _, passed_over = search(searched)
    for found in (one.path for one in passed_over):
        if found.name.casefold() == GROUPS_FILE and str(found) != str(right):
            there, wanted = (place.relative_to(searched).as_posix() for place in (found, right))
            raise DataError(
                f"the groups are looked for in {wanted}, and would not be found in {there}",
                where=found,
                expected=f"{wanted} in the outermost folder, and no other of this name",
                remedy=f"move {there} to {wanted}; if it is of something else, rename it",
            )


def _destinations(folder: Path, pairs: list[Pair], raw: Path) -> dict[Path, Path]:
    """Each file to copy with the place it goes to."""
    destinations = {}
    for pair in pairs:
        class_folder = raw / COPIES_FOLDER / COPIES_FOLDER / pair.class_name
        image_folder, mask_folder = pair.class_name, f"{pair.class_name} GT"
        destinations[pair.image_path] = class_folder / image_folder / pair.image_path.name
        destinations[pair.mask_path] = class_folder / mask_folder / pair.mask_path.name
    for photos in find_photos(folder).values():
        for photo in photos:
            destinations[photo] = raw / PHOTOS_FOLDER / photo.parent.name / photo.name
    groups = folder / GROUPS_FILE
    if groups.is_file():
        destinations[groups] = raw / GROUPS_FILE
    return destinations


def _copy(destinations: dict[Path, Path], raw: Path) -> None:
    try:
        raw.mkdir(parents=True, exist_ok=True)
        require_space(raw, sum(source.stat().st_size for source in destinations))
        for source, target in tqdm(destinations.items(), desc="copy", unit="file"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DataError(
            f"the files cannot be copied: {error.strerror or error}",
            where=error.filename or raw,
            remedy="free some space and run the same command again"
            if full
            else "check that the source can be read and the target written",
        ) from None


def _require_apart(source: Path, raw: Path) -> None:
    inside = source.resolve()
    if inside == raw.resolve() or raw.resolve() in inside.parents:
        raise DataError(
            "data.path lies in the folder that this stage fills, which is emptied first",
            where=source,
            expected=f"a path outside {raw}",
            remedy="move the images and masks elsewhere, then -S data.path=FOLDER",
        )
    if raw.exists() and (not raw.is_dir() or any(raw.iterdir())):
        raise DataError(
            "there is something already where the images should go",
            where=raw,
            expected="an empty or missing folder",
            remedy=f"remove {raw} and run the same command again",
        )


def _no_pairs(source: Path, problems: list[Problem]) -> DataError:
    listed = "".join(f"\n    {problem.path}: {problem.message}" for problem in problems[:10])
    return DataError(
        f"no image has a mask; {len(problems)} problems, the first of them:{listed}",
        where=source,
        expected="each image with a mask of the same name but for the suffix",
        remedy="rename or add files",
    )
