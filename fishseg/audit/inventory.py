"""Make the inventory: every usable image-mask pair of the raw data, measured and hashed."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from fishseg.audit.grouping import merge
from fishseg.audit.mask_values import OPTION_CHOICE, MaskValues, read_values, resolve_rule
from fishseg.datasets.layout import (
    PAIRING_KINDS,
    Pair,
    Problem,
    find_pairs,
    read_problems,
)
from fishseg.datasets.local import GROUPS_FILE, PROBLEMS_FILE
from fishseg.errors import DataError
from fishseg.images.decoding import read_image
from fishseg.images.folders import some
from fishseg.images.mask_rule import AUTO, parse_rule
from fishseg.images.masks import read_truth, require_fit
from fishseg.parallel import ordered_map
from fishseg.store import file_sha256, nfc
from fishseg.tables import COLUMNS, slug

# Worth knowing of, but the sample stays in.
KINDS_KEPT = ("empty_mask", "full_mask")
# Left out without being broken: there was no image, or it is there already.
KINDS_REDUNDANT = ("duplicate", "empty_class")
KINDS = tuple(
    sorted({*PAIRING_KINDS, *KINDS_REDUNDANT, *KINDS_KEPT, "broken_image", "broken_mask"})
)


@dataclasses.dataclass(frozen=True)
class Inventory:
    """The usable samples, a row each with the columns `COLUMNS`, and what else was found."""

    table: pd.DataFrame
    problems: list[Problem]

    def require_fish(self) -> None:
        """Nothing can be learnt where there is no fish anywhere.

        Raises:
            DataError: all masks are empty.
        """
        empty = [problem for problem in self.problems if problem.kind == "empty_mask"]
        if len(empty) == len(self.table):
            raise DataError(
                f"all {len(empty)} masks are empty{_listed(empty)}",
                expected="masks in which fish are not 0",
                remedy="look at the masks: were they exported as something else?",
            )

    def use(self) -> tuple[int, list[str], list[str]]:
        """How many pictures are used, a line for each that cannot be, and lines on the rest.

        The last are on pictures that are left out without being missed, and on doubtful ones.
        """
        unused: list[str] = []
        others: list[str] = []
        for problem in self.problems:
            lines = others if problem.kind in KINDS_KEPT + KINDS_REDUNDANT else unused
            lines.append(f"{problem.path}: {problem.message}")
        return len(self.table), unused, others


def build_inventory(
    raw: Path, *, max_broken_share: float, mask_values: str = AUTO, choice: str = OPTION_CHOICE
) -> Inventory:
    """Pair, decode, measure and hash the files of ``raw``.

    Left out are what has no partner or cannot be decoded, and of exact copies of an image all but
    the first; a picture without fish stays in. Every sample is its own source photo unless
    ``raw/groups.csv`` (``sample_id,group_id``) says which belong together; groups that have an
    image in common are one. Problems that the download met (``raw/unpaired.csv``) count as well.

    Args:
        raw: a folder in a layout of `fishseg.datasets.layout`.
        max_broken_share: the share of the images that may be unusable, 0 to 1.
        mask_values: which values of the masks are fish: ``auto``, or a rule of
            `fishseg.images.mask_rule`.
        choice: what the user types for another rule, ``{}`` in its place.

    Returns:
        The samples sorted by ``sample_id`` and the problems, sorted. Paths of samples count from
        the working directory, those of problems from ``raw``.

    Raises:
        DataError: too many images are unusable, or all of them; ``groups.csv`` does not fit; it
            is not plain which values of the masks are fish, or no mask has any.
        ParameterError: ``mask_values`` is no rule.
    """
    if mask_values != AUTO:
        parse_rule(mask_values)  # before hours of work
    pairs, problems = find_pairs(raw)
    if (raw / PROBLEMS_FILE).is_file():
        problems += read_problems(raw / PROBLEMS_FILE)
    group_of = _read_groups(raw, pairs, problems)
    kept: list[_Measured] = []
    first_with: dict[str, str] = {}
    images: list[str | None] = []
    measured = ordered_map(partial(_measure, raw=raw), pairs)
    for pair, (image_sha256, found) in zip(
        pairs, tqdm(measured, total=len(pairs), desc="check files", unit="image"), strict=True
    ):
        images.append(image_sha256)
        if isinstance(found, Problem):
            problems.append(found)
            continue
        first = first_with.setdefault(found.row["image_sha256"], pair.sample_id)
        if first != pair.sample_id:
            place = _relative(pair.image_path, raw)
            problems.append(Problem("duplicate", place, f"the same image as {first}, left out"))
            continue
        kept.append(found)
    # One image in two groups makes them one, whether or not it stays in each of them.
    given = [group_of[pair.sample_id] for pair in pairs]
    joined = {
        pair.sample_id: given[first]
        for pair, first in zip(pairs, merge([given, images]), strict=True)
    }
    for measured_pair in kept:
        measured_pair.row["group_id"] = joined[measured_pair.row["sample_id"]]
    rows, doubts = _read_masks(kept, mask_values, choice) if kept else ([], [])
    problems += doubts
    problems.sort()
    _require_enough(raw, pairs, problems, max_broken_share)
    if not rows:
        raise DataError(
            f"there is no image with a mask that can be used{_listed(problems)}",
            where=raw,
            remedy="repair or add images and masks",
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return Inventory(table=table, problems=problems)


def summary(inventory: Inventory) -> dict[str, Any]:
    """The inventory in numbers, for ``metrics/audit.json``; every kind of problem is there."""
    table = inventory.table
    counts = Counter(problem.kind for problem in inventory.problems)
    return {
        "n_images": len(table),
        "n_groups": int(table["group_id"].nunique()),
        "n_problems": len(inventory.problems),
        "mean_foreground_fraction": round(float(table["foreground_fraction"].mean()), 6),
        "problems": {kind: counts[kind] for kind in KINDS},
        "per_class": {
            slug(str(name)): {
                "n_images": len(members),
                "n_groups": int(members["group_id"].nunique()),
            }
            for name, members in table.groupby("class_name")
        },
    }


@dataclasses.dataclass(frozen=True)
class _Measured:
    """A row of the inventory but for what it takes a rule to say, and the values of its mask."""

    row: dict[str, Any]
    mask_place: str
    values: MaskValues


def _read_masks(
    kept: list[_Measured], mask_values: str, choice: str
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The rows with the rule for all masks and the share of fish by it, and what is doubtful."""
    values, places = [found.values for found in kept], [found.mask_place for found in kept]
    rule = resolve_rule(values, places, mask_values, choice=choice)
    rows: list[dict[str, Any]] = []
    problems = []
    for found, share in zip(kept, ordered_map(partial(_share, rule=rule), kept), strict=True):
        if isinstance(share, Problem):
            problems.append(share)
            continue
        if share == 0:
            message = "no foreground; kept, as without fish"
            problems.append(Problem("empty_mask", found.mask_place, message))
        if share == 1:
            message = "nothing but foreground; kept"
            problems.append(Problem("full_mask", found.mask_place, message))
        rules = {"mask_rule": rule, "raw_mask_rule": rule}
        rows.append({**found.row, **rules, "foreground_fraction": round(share, 6)})
    return rows, problems


def _share(found: _Measured, *, rule: str) -> float | Problem:
    """The share of fish among the pixels that count; of the values alone where they suffice."""
    size = (found.row["height"], found.row["width"])
    share = found.values.share(parse_rule(rule)) if found.values.size == size else None
    if share is not None:
        return share
    try:
        truth = read_truth(Path(found.row["mask_path"]), size, rule)
    except DataError as error:
        return Problem("broken_mask", found.mask_place, error.what)
    if truth.valid is None:
        return float(truth.fish.mean())
    return float(truth.fish.sum() / max(1, truth.valid.sum()))


def _measure(pair: Pair, *, raw: Path) -> tuple[str | None, _Measured | Problem]:
    """The image's SHA-256 if it can be read, and a row but for its group or why there is none."""
    image_place, mask_place = _relative(pair.image_path, raw), _relative(pair.mask_path, raw)
    try:
        height, width, _ = read_image(pair.image_path).shape
    except DataError as error:
        return None, Problem("broken_image", image_place, error.what)
    image_sha256 = file_sha256(pair.image_path)
    try:
        values = read_values(pair.mask_path)
        require_fit(pair.mask_path, values.size, (height, width))
    except DataError as error:
        return image_sha256, Problem("broken_mask", mask_place, error.what)
    row = {
        "sample_id": pair.sample_id,
        "class_name": pair.class_name,
        "image_path": _from_working_directory(pair.image_path),
        "mask_path": _from_working_directory(pair.mask_path),
        "raw_mask_path": _from_working_directory(pair.mask_path),
        "width": width,
        "height": height,
        "image_sha256": image_sha256,
        "mask_sha256": file_sha256(pair.mask_path),
        "flipped": None,
        "rotation_degrees": None,
        "mask_agreement": None,
        "mask_status": "unverified",
    }
    return image_sha256, _Measured(row, mask_place, values)


def _require_enough(
    raw: Path, pairs: list[Pair], problems: list[Problem], max_broken_share: float
) -> None:
    unusable = [found for found in problems if found.kind not in KINDS_KEPT + KINDS_REDUNDANT]
    n_images = len(pairs) + sum(found.kind in PAIRING_KINDS for found in unusable)
    if len(unusable) <= max_broken_share * n_images:
        return
    share = len(unusable) / n_images
    raise DataError(
        f"{len(unusable)} of {n_images} images cannot be used ({share:.1%}){_listed(unusable)}",
        where=raw,
        expected=f"a share of audit.max_broken_share = {max_broken_share:g} at most",
        remedy="repair or remove them, or allow more with -S audit.max_broken_share=SHARE",
    )


def _listed(problems: list[Problem]) -> str:
    """Counts by kind and the first ten problems, each on a line of its own."""
    counts = Counter(problem.kind for problem in problems)
    lines = [", ".join(f"{kind}: {n}" for kind, n in sorted(counts.items()))] if counts else []
    lines += [f"{problem.path}: {problem.message}" for problem in problems[:10]]
    return "".join(f"\n    {line}" for line in lines)


def _read_groups(raw: Path, pairs: list[Pair], problems: list[Problem]) -> dict[str, str]:
    """The source photo of each sample: from ``groups.csv``, or else the sample itself."""
    path = raw / GROUPS_FILE
    sample_ids = {pair.sample_id for pair in pairs}
    if not path.is_file():
        return {sample_id: sample_id for sample_id in sample_ids}
    groups = _parse_groups(path, sample_ids)
    missing = sorted(sample_ids - groups.keys())
    if missing:
        raise _bad_groups(path, f"no group for {some(missing)}")
    # Whoever listed all samples listed those that turned out to have no mask, too.
    unpaired = {nfc(Path(problem.path).stem) for problem in problems}
    unknown = [
        sample_id
        for sample_id in sorted(groups.keys() - sample_ids)
        if sample_id.rpartition("/")[2] not in unpaired
    ]
    if unknown:
        raise _bad_groups(path, f"there is no sample {some(unknown)}")
    return groups


def _parse_groups(path: Path, sample_ids: set[str]) -> dict[str, str]:
    try:
        # Spreadsheets put a byte order mark in front.
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise _bad_groups(path, f"it cannot be read: {error}") from None
    if [cell.strip() for cell in header] != ["sample_id", "group_id"]:
        raise _bad_groups(path, f"its first line is {','.join(header)!r}")
    groups: dict[str, str] = {}
    for row in rows:
        if len(row) != 2 or not all(cell.strip() for cell in row):
            raise _bad_groups(path, f"a line is not a sample and a group: {','.join(row)!r}")
        # Nobody sees the spaces behind a comma; but a file may be named with one at its end.
        sample_id, group_id = (nfc(cell.strip()) for cell in row)
        if nfc(row[0]) in sample_ids:
            sample_id = nfc(row[0])
        if sample_id in groups:
            raise _bad_groups(path, f"sample {sample_id!r} is in it twice")
        groups[sample_id] = group_id
    return groups


def _bad_groups(path: Path, what: str) -> DataError:
    return DataError(
        f"the groups do not fit the images: {what}",
        where=path,
        expected="the line sample_id,group_id, then each sample once, such as Trout/00001,photo7",
        remedy="correct the file, or remove it if every image is a photo of its own",
    )


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _from_working_directory(path: Path) -> str:
    return Path(os.path.relpath(path)).as_posix()
