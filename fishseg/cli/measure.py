"""``fishseg measure``: the fish of masks that are there already."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.cli.arguments import (
    Commands,
    add_command,
    add_mask_values,
    add_results,
    conclude,
    one_line,
    path,
)
from fishseg.errors import DataError

if TYPE_CHECKING:
    import argparse

    from fishseg.cli.inputs import Found

DESCRIPTION = """\
Measure the fish of pictures whose masks are there already, drawn by hand or made by something else.
A mask belongs to the picture of the same path below its folder and the same name but for the
suffix. Nothing is predicted, and neither decoder nor torch is needed. In DIR this writes what
`fishseg predict` writes: masks/, overlays/, measurements.csv. A mask that is corrected there is
kept when the command is repeated."""

EXAMPLES = """\
  fishseg measure photos masks --out fish
  fishseg measure photos masks --out fish --mm-per-px 0.21
  fishseg measure photo.jpg mask.png --out fish --scales scales.csv
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = add_command(
        commands,
        "measure",
        summary="measurements of masks that are there already",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    command.add_argument("pictures", metavar="PICTURES", help="a picture, a folder, or a pattern")
    command.add_argument("masks", type=path, metavar="MASKS", help="a mask, or a folder of masks")
    add_mask_values(command)
    add_results(command)
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Write everything; 1 where a file could not be used."""
    from fishseg.cli.filling import fill, wanted_of
    from fishseg.cli.inputs import find_pictures

    wanted, scales = wanted_of(options)
    found = find_pictures([options.pictures])
    masks: dict[Path, Path] = {}
    if found.pictures:
        found, masks = _paired(found, options.masks)
    if not found.pictures:
        return conclude(0, [one_line(problem) for problem in found.problems], found.remarks)
    rule = _rule(sorted(set(masks.values())), options.mask_values)
    return fill(options.out, found, masks, dataclasses.replace(wanted, mask_rule=rule), scales)


def _rule(masks: list[Path], declared: str) -> str:
    """Which values are fish, judged over all masks together."""
    from fishseg.audit.mask_values import OPTION_CHOICE, read_values, resolve_rule
    from fishseg.images.mask_rule import AUTO, ZERO_255

    values, places = [], []
    for mask in masks:
        try:
            values.append(read_values(mask))
            places.append(str(mask))
        except DataError:
            continue  # who measures it will say what is wrong
    if values and declared == AUTO and all(one.is_photograph for one in values):
        raise DataError(
            "these look like photographs, where masks are expected",
            where=", ".join(places[:2]) + (", ..." if len(places) > 2 else ""),
            expected="fishseg measure PICTURES MASKS, the pictures first",
            remedy="turn the two round; or export masks of 0 and 255; or say which values are fish "
            "with --mask-values",
        )
    return resolve_rule(values, places, declared, choice=OPTION_CHOICE) if values else ZERO_255


def _paired(found: Found, place: Path) -> tuple[Found, dict[Path, Path]]:
    """The pictures that have a mask, each with its own; what has no partner is a problem."""
    masks = _masks(place)
    if place.is_file() and len(found.pictures) == 1:
        return found, {found.pictures[0].path: place}
    by_picture: dict[Path, Path] = {}
    problems = list(found.problems)
    stems = Counter(_stem(picture.source) for picture in found.pictures)
    used: set[Path] = set()
    for picture in found.pictures:
        stem = _stem(picture.source)
        # Pictures that differ in the suffix alone have masks like IMG_1.jpg.png.
        candidates = masks.get(picture.source, []) or masks.get(stem, [])
        used.update(candidates)
        if len(candidates) == 1 and (stems[stem] == 1 or picture.source in masks):
            by_picture[picture.path] = candidates[0]
            continue
        names = ", ".join(candidate.name for candidate in candidates)
        what, remedy = f"there is no mask of it in {place}", f"expected {stem}.png there"
        if candidates:
            what = f"it is not clear which mask is whose: {names}"
            remedy = f"let one picture and one mask be called {stem}"
        problems.append(DataError(what, where=picture.path, remedy=remedy))
    left = sorted({mask for several in masks.values() for mask in several} - used)
    problems += [
        DataError(
            "there is no picture of this mask",
            where=mask,
            remedy="give the picture the mask's name, or leave the mask out",
        )
        for mask in left
    ]
    pictures = [picture for picture in found.pictures if picture.path in by_picture]
    return dataclasses.replace(found, pictures=pictures, problems=problems), by_picture


def _stem(source: str) -> str:
    return Path(source).with_suffix("").as_posix()


def _masks(place: Path) -> dict[str, list[Path]]:
    """The masks of a folder by their path below it, without the suffix."""
    from fishseg.images.decoding import IMAGE_SUFFIXES
    from fishseg.images.folders import search

    if place.is_dir():
        files, base = search(place)[0], place
    elif place.is_file():
        files, base = [place], place.parent
    else:
        raise DataError("there is no such mask or folder", where=place, remedy="check the path")
    if not files:
        own = place / "masks"
        raise DataError(
            "there are no masks in this folder",
            where=place,
            expected=f"images: {', '.join(sorted(IMAGE_SUFFIXES))}",
            remedy=f"give {own}" if own.is_dir() else "check the path",
        )
    masks: dict[str, list[Path]] = {}
    for file in files:
        masks.setdefault(_stem(file.relative_to(base).as_posix()), []).append(file)
    return masks
