"""Masks of a COCO file, as annotation tools export it: polygons, run lengths, crowds.

The format: https://cocodataset.org/#format-data. A pixel is fish if its centre lies in one of the
polygons of any annotation of its picture, or if run lengths say so. A crowd, several fish that were
marked as one, is fish like any other. A picture that is listed without an annotation is one
without a fish. A fish that has a box but no outline would become background: its picture is left
out.

A set may have several files, one of each part (``train``, ``valid``, ``test``): they are read as
one. Ids count within a file.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from fishseg.datasets.layout import (
    COCO_PLACES,
    DEFAULT_CLASS,
    Pair,
    Problem,
    find_coco_files,
)
from fishseg.errors import DataError
from fishseg.images.decoding import IMAGE_SUFFIXES, MAX_PIXELS
from fishseg.images.folders import IGNORED_FOLDER
from fishseg.images.masks import of_run_lengths
from fishseg.store import nfc
from fishseg.tables import slug

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

# From here on a box and the one around an outline are of the same fish: boxes are drawn loosely.
MIN_BOX_IOU = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labelled:
    """A picture of a COCO file.

    Attributes:
        file_name: as the file names it.
        size: ``(height, width)`` in pixels, as the file says.
        class_name: the category of its annotations, if they have one in common; else
            `fishseg.datasets.layout.DEFAULT_CLASS`, as the categories spell it.
        annotations: of its fish.
        listed_in: the COCO file.
    """

    file_name: str
    size: tuple[int, int]
    class_name: str
    annotations: tuple[Mapping[str, Any], ...]
    listed_in: Path

    def mask(self) -> Mask:
        """What is fish, ``(H, W)``.

        Raises:
            DataError: a segmentation that cannot be understood, a fish without one, or a size that
                no picture has.
        """
        height, width = self.size
        if min(self.size) < 1 or height * width > MAX_PIXELS:
            raise DataError(
                f"no picture has the size that the file says: {width}x{height}",
                where=self.file_name,
                remedy="correct its width and height in the file, or export again",
            )
        mask = np.zeros(self.size, np.bool_)
        outlines: list[_Box] = []
        for annotation in self.annotations:
            if not annotation.get("segmentation"):
                continue
            try:
                fish = _segmentation(annotation["segmentation"], self.size)
            except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
                raise DataError(
                    f"the segmentation of annotation {annotation.get('id')} cannot be used: "
                    f"{error}",
                    where=self.file_name,
                    expected="polygons [[x, y, x, y, ...], ...], or run lengths of the picture's "
                    "size",
                    remedy="draw it anew, and export again",
                ) from None
            mask |= fish
            if fish.any():
                outlines.append(_box_around(fish))
        self._require_outlines(outlines)
        return mask

    def _require_outlines(self, outlines: Sequence[_Box]) -> None:
        # Some tools write a box of each fish beside its outline, as an annotation of its own.
        bare = [
            one
            for one in self.annotations
            if not one.get("segmentation") and not _is_outlined(one.get("bbox"), outlines)
        ]
        if bare:
            raise DataError(
                f"{len(bare)} of its fish have boxes, but no outlines; the first of them is "
                f"annotation {bare[0].get('id')}",
                where=self.file_name,
                expected="polygons or run lengths of every fish",
                remedy="outline them, or leave the picture out of the export",
            )


def find_files(folder: Path) -> list[Path]:
    """The COCO files of a folder, all parts of one set; none where there are none.

    Raises:
        DataError: there are some at several of `fishseg.datasets.layout.COCO_PLACES`.
    """
    found = find_coco_files(folder)
    if len(found) > 1:
        names = _names([file for files in found.values() for file in files], folder)
        raise DataError(
            f"it is not plain which COCO file is meant: {names}",
            where=folder,
            expected=f"files at one of these places: {', '.join(COCO_PLACES)}",
            remedy="keep what is meant there, and move the rest elsewhere",
        )
    return next(iter(found.values()), [])


def read(*paths: Path) -> tuple[list[Labelled], list[Problem]]:
    """The pictures of COCO files in their order, and what in them could not be used.

    Raises:
        DataError: one is no COCO file.
    """
    labelled: list[Labelled] = []
    problems: list[Problem] = []
    for path in paths:
        listed, unused = _read(path)
        labelled += listed
        place = "/".join(path.parts[-2:]) if len(paths) > 1 else path.name
        problems += [dataclasses.replace(problem, path=place) for problem in unused]
    # Beside a category Fish, the class fish would be another of the same folder on some systems.
    names = {picture.class_name for picture in labelled}
    same = {name for name in names if slug(name) == slug(DEFAULT_CLASS)}
    default = same.pop() if len(same) == 1 else DEFAULT_CLASS
    return [
        dataclasses.replace(picture, class_name=picture.class_name or default)
        for picture in labelled
    ], problems


def _read(path: Path) -> tuple[list[Labelled], list[Problem]]:
    """As `read`; the class of a picture of no one category is empty."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
        categories = {entry["id"]: nfc(str(entry["name"]).strip()) for entry in tree["categories"]}
        pictures = {
            entry["id"]: (str(entry["file_name"]), (int(entry["height"]), int(entry["width"])))
            for entry in tree["images"]
        }
        of_picture: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        for annotation in tree["annotations"]:
            of_picture[annotation["image_id"]].append(annotation)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"this is no COCO file: {' '.join(str(error).split())[:200]}",
            where=path,
            expected="JSON with images, annotations and categories",
            remedy="export it again, as COCO",
        ) from None
    problems = [
        Problem(
            "annotation_without_image",
            path.name,
            f"{len(of_picture[unknown])} annotations are of a picture {unknown!r} that the file "
            "does not list: left out",
        )
        for unknown in sorted(of_picture.keys() - pictures.keys(), key=str)
    ]
    labelled = [
        Labelled(
            file_name=file_name,
            size=size,
            class_name=_class_name(of_picture.get(number, ()), categories),
            annotations=tuple(of_picture.get(number, ())),
            listed_in=path,
        )
        for number, (file_name, size) in pictures.items()
    ]
    return labelled, problems


def write_pairs(
    paths: Sequence[Path], images: Path, scratch: Path
) -> tuple[list[Pair], list[Problem]]:
    """Draw the masks of COCO files, and pair them with the pictures.

    Of several files, each means the pictures of its own part: those beside it (Roboflow), or in
    the folder of its subset (CVAT), where there are any.

    Args:
        paths: the COCO files of one set.
        images: the folder that the pictures lie in, however deep.
        scratch: an empty folder for the masks.

    Raises:
        DataError: one is no COCO file.
    """
    labelled, problems = read(*paths)
    files = _files(images)
    parts = {path: _of_part(path, files) if len(paths) > 1 else files for path in paths}
    listed: dict[Path, list[Labelled]] = defaultdict(list)
    for picture in labelled:
        found, why = _look_up(picture.file_name, parts[picture.listed_in])
        if found is None:
            if len(paths) > 1:
                why += f"; it stands in {_names([picture.listed_in], images)}"
            problems.append(Problem("mask_without_image", picture.file_name, why))
        else:
            listed[found].append(picture)
    pairs: dict[str, Pair] = {}
    for number, (found, same) in enumerate(listed.items()):
        picture = same[0]
        place = found.relative_to(images).as_posix()
        if len(same) > 1:
            where = _names(dict.fromkeys(one.listed_in for one in same), images)
            message = f"this picture is listed {len(same)} times, in {where}: keep one"
            problems.append(Problem("duplicate_stem", place, message))
            continue
        sample_id = f"{picture.class_name}/{nfc(found.stem)}"
        # Some file systems take names that differ in case only for one.
        if other := pairs.get(sample_id.casefold()):
            message = (
                f"{other.image_path.relative_to(images).as_posix()} is of class "
                f"{picture.class_name}, too, and has this name: rename one"
            )
            problems.append(Problem("duplicate_stem", place, message))
            continue
        try:
            mask = picture.mask()
        except DataError as error:
            problems.append(Problem("mask_without_image", picture.file_name, error.what))
            continue
        # Not by its class: a category may be called anything, such as `..`.
        mask_path = scratch / str(number) / f"{found.stem}.png"
        mask_path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(mask_path)
        pairs[sample_id.casefold()] = Pair(sample_id, picture.class_name, found, mask_path)
    problems += [
        Problem(
            "image_without_mask",
            file.relative_to(images).as_posix(),
            f"this picture is not listed in {_names(paths, images)}",
        )
        for file in sorted({file for same in files.values() for file in same} - listed.keys())
    ]
    return sorted(pairs.values(), key=lambda pair: pair.sample_id), sorted(problems)


def _class_name(annotations: Sequence[Mapping[str, Any]], categories: Mapping[Any, str]) -> str:
    """The one category of a picture's annotations, or nothing."""
    names = {categories.get(annotation.get("category_id"), "") for annotation in annotations}
    return names.pop() if len(names) == 1 else ""


class _Box(NamedTuple):
    """An upright rectangle, from its corner ``(x0, y0)`` to ``(x1, y1)``, in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area(self) -> float:
        return max(0.0, self.x1 - self.x0) * max(0.0, self.y1 - self.y0)

    def iou(self, other: _Box) -> float:
        shared = _Box(*np.maximum(self[:2], other[:2]), *np.minimum(self[2:], other[2:])).area
        either = self.area + other.area - shared
        return shared / either if either else 0.0

    def holds_middle_of(self, other: _Box) -> bool:
        x, y = (other.x0 + other.x1) / 2, (other.y0 + other.y1) / 2
        return self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1


def _box_around(mask: Mask) -> _Box:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return _Box(float(columns[0]), float(rows[0]), columns[-1] + 1.0, rows[-1] + 1.0)


def _is_outlined(bbox: Any, outlines: Sequence[_Box]) -> bool:
    """Whether an annotation's box is that of an outline, or of the parts of a fish together."""
    try:
        x, y, width, height = (float(number) for number in bbox)
    except (TypeError, ValueError):
        return False
    box = _Box(x, y, x + width, y + height)
    inside = [outline for outline in outlines if box.holds_middle_of(outline)]
    if len(inside) > 1:
        low, high = np.min(inside, axis=0)[:2], np.max(inside, axis=0)[2:]
        inside.append(_Box(*low, *high))
    return any(box.iou(outline) >= MIN_BOX_IOU for outline in inside)


def _files(images: Path) -> dict[str, list[Path]]:
    """The pictures of a folder, by name."""
    files: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(images.rglob("*")):
        parts = file.relative_to(images).parts
        hidden = any(part.startswith(".") or part == IGNORED_FOLDER for part in parts)
        if not hidden and file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES:
            files[nfc(file.name)].append(file)
    return files


def _of_part(path: Path, files: Mapping[str, list[Path]]) -> Mapping[str, list[Path]]:
    """The pictures that one COCO file of several may mean, by name.

    Roboflow puts them beside it. For ``annotations/instances_Train.json``, CVAT has
    ``images/Train``, and COCO itself ``Train``. All there are, where no such folder holds any.
    """
    folders = [path.parent]
    if path.parent.name == "annotations":
        part = path.stem.removeprefix("instances_")
        folders = [path.parents[1] / "images" / part, path.parents[1] / part]
    for folder in folders:
        inside = {
            name: [one for one in same if folder in one.parents] for name, same in files.items()
        }
        if any(inside.values()):
            return inside
    return files


def _names(paths: Iterable[Path], folder: Path) -> str:
    """How a message calls files, so far as they lie below a folder."""
    return ", ".join(
        path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
        for path in paths
    )


def _look_up(file_name: str, files: Mapping[str, list[Path]]) -> tuple[Path | None, str]:
    """The file that a name means, or why there is none; tools put folders before it, or drop them.

    Label Studio puts eight digits and a dash before the name of what was uploaded.
    """
    name = PurePosixPath(nfc(file_name).replace("\\", "/"))
    same = files.get(name.name) or []
    head, dash, rest = name.name.partition("-")
    if not same and dash and len(head) == 8 and all(sign in "0123456789abcdef" for sign in head):
        same = files.get(rest) or []
    if len(same) > 1:
        same = [file for file in same if file.as_posix().endswith(f"/{name}")] or same
    if len(same) == 1:
        return same[0], ""
    return None, f"{len(same)} pictures have this name: rename them" if same else (
        "there is no picture of this name"
    )


def _segmentation(found: Any, size: tuple[int, int]) -> Mask:
    if isinstance(found, dict):
        height, width = (int(side) for side in found["size"])
        if (height, width) != size:
            raise ValueError(f"run lengths of {width}x{height}, the picture has {size[::-1]}")
        counts = found["counts"]
        return of_run_lengths(_decompress(counts) if isinstance(counts, str) else counts, size)
    if not isinstance(found, list):
        raise TypeError("it is neither a list of polygons nor run lengths")
    mask = np.zeros(size, np.bool_)
    for polygon in found:
        mask |= _of_polygon(np.asarray(polygon, np.float64).reshape(-1, 2), size)
    return mask


def _decompress(text: str) -> list[int]:
    """Run lengths of COCO's compressed form.

    Each is written in groups of five bits, lowest first, as letters from ``0`` on; the sixth bit
    says that more follow, the highest of the last is the sign. From the third on, it is the
    difference to the one before last (``rleFrString`` in pycocotools' ``maskApi.c``).
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii"):
        bits = letter - 48
        if not 0 <= bits < 64:
            raise ValueError("the compressed run lengths hold a letter that has no meaning")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def _of_polygon(corners: NDArray[np.float64], size: tuple[int, int]) -> Mask:
    """The pixels whose centres lie in a polygon ``(n, 2)``, by the even-odd rule.

    On each row of centres, every edge that crosses it turns the pixels behind the crossing over.
    """
    if len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError("a polygon needs three corners")
    height, width = size
    flips = np.zeros((height, width + 1), np.int64)
    for rows, columns in _crossings(corners, size):
        np.add.at(flips, (rows, columns), 1)
    inside: Mask = np.cumsum(flips, axis=1)[:, :width] % 2 == 1
    return inside


def _crossings(
    corners: NDArray[np.float64], size: tuple[int, int]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Of each edge, the rows that it crosses and the first column behind it there."""
    height, width = size
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = sorted((y0, y1))
        rows = np.arange(
            max(0, int(np.ceil(low - 0.5))), min(height, int(np.ceil(high - 0.5))), dtype=np.int64
        )
        if len(rows):
            x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            yield rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
