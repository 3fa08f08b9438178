"""``fishseg accept``: corrected suggestions become pictures to train on."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import logging
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.cli.arguments import Commands, add_command, conclude, path
from fishseg.cli.user_tables import read_rows
from fishseg.errors import DataError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

log = logging.getLogger("fishseg")

DESCRIPTION = """\
Take corrected suggestions over into a folder to train on (data.source: local): its images/ and
masks/ grow by the pictures that were corrected. corrections.csv there says of each how many pixels
were corrected, and the IoU of the decoder's mask before. A mask that is there already is replaced
where it is as it was accepted, and left alone where somebody changed it since.

CORRECTED is what an annotation tool exports as COCO (a .json, or a .zip or folder that holds one),
or a folder of masks; without it, the masks in SUGGESTED/masks are taken as they were painted."""

EXAMPLES = """\
  fishseg accept suggested export.zip --into labelled
  fishseg accept suggested corrected.json --into labelled
  fishseg accept suggested --into labelled
"""

COLUMNS = ("image", "pixels_corrected", "iou_before", "mask_sha256")
KEPT = Path(".fishseg/suggested")


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = add_command(
        commands,
        "accept",
        summary="take corrected suggestions over into a folder to train on",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    command.add_argument("suggested", type=path, metavar="SUGGESTED")
    command.add_argument("corrected", type=path, nargs="?", metavar="CORRECTED")
    command.add_argument(
        "--into", type=path, required=True, metavar="DIR", help="the folder to train on"
    )
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Take over and report; 1 where something could not be used."""
    from tqdm import tqdm

    from fishseg.store import make_folder

    images = _images(options.suggested)
    with tempfile.TemporaryDirectory() as scratch:
        pairs, problems = _pairs(options.suggested, options.corrected, images, Path(scratch))
        rows, table = [], options.into / "corrections.csv"
        for part in ("images", "masks"):
            make_folder(options.into / part)
        known = _read(table)
        for image, before, after in tqdm(pairs, desc="accept", unit="image"):
            try:
                _refuse_another(image, options.into / "images")
                accepted = str(known.get(image.name, {}).get("mask_sha256", ""))
                rows.append(_accept(image, before, after, options.into, accepted))
            except DataError as error:
                what_to_do = f"; {error.remedy}" if error.remedy else ""
                problems.append(f"{image.name}: {error.what}{what_to_do}")
    _write(known, rows, table)
    if rows:
        log.info(
            "%d pixels corrected; the decoder's masks had a mean IoU of %.3f",
            sum(int(row["pixels_corrected"]) for row in rows),
            sum(float(row["iou_before"]) for row in rows) / len(rows),
        )
        log.info("train on them: dvc exp run -S data.source=local -S data.path=%s", options.into)
    return conclude(len(rows), problems, [])


def _images(suggested: Path) -> dict[str, Path]:
    """The pictures of a folder of suggestions, by the name without the suffix."""
    folder = suggested / "images"
    if not (folder.is_dir() and (suggested / KEPT).is_dir()):
        raise DataError(
            "these are no suggestions",
            where=suggested,
            expected="a folder that `fishseg suggest` wrote",
            remedy="check the path",
        )
    return {path.stem: path for path in sorted(folder.iterdir()) if path.is_file()}


def _pairs(
    suggested: Path, corrected: Path | None, images: dict[str, Path], scratch: Path
) -> tuple[list[tuple[Path, Path, Path]], list[str]]:
    """Image, mask before and mask after of each corrected picture; what could not be used."""
    from fishseg.datasets import coco

    with _opened(corrected or suggested / "masks", scratch / "unpacked") as place:
        files = [place] if place.is_file() else coco.find_files(place)
        if not files:
            after = {path.stem: path for path in sorted(place.rglob("*.png"))}
            before = {path.stem: path for path in sorted((suggested / KEPT).glob("*.png"))}
            problems = [
                f"{path.name}: there is no picture of this mask"
                for stem, path in after.items()
                if stem not in images
            ]
        else:
            # Compared with the polygons that went out, so that what nobody touched counts nothing.
            drawn = {}
            for name, source in (("before", [suggested / "annotations.json"]), ("after", files)):
                pairs, found = coco.write_pairs(source, suggested / "images", scratch / name)
                drawn[name] = {pair.image_path.stem: pair.mask_path for pair in pairs}
            before, after = drawn["before"], drawn["after"]
            problems = [
                f"{one.path}: {one.message}" for one in found if one.kind != "image_without_mask"
            ]
    missing = sorted(images.keys() - after.keys())
    problems += [f"{images[stem].name}: it has no corrected mask" for stem in missing]
    return [
        (image, before[stem], after[stem])
        for stem, image in images.items()
        if stem in after and stem in before
    ], problems


@contextlib.contextmanager
def _opened(place: Path, scratch: Path) -> Iterator[Path]:
    """A file or folder as it is, or what is in a zip."""
    from fishseg.datasets.local import opened

    if not place.exists():
        raise DataError("there is no such file or folder", where=place, remedy="check the path")
    scratch.mkdir(parents=True)
    if place.is_file() and zipfile.is_zipfile(place):
        with opened(place, scratch=scratch) as folder:
            yield folder
    else:
        yield place


def _refuse_another(image: Path, folder: Path) -> None:
    """Two cameras call different pictures alike, and labels of the first must not be lost."""
    from fishseg.store import file_sha256

    for other in folder.glob("*"):
        if other.stem == image.stem and file_sha256(other) != file_sha256(image):
            raise DataError(
                f"another picture of this name, {other.name}, is there already",
                where=folder,
                remedy="rename this one, suggest and correct it again; or accept it elsewhere",
            )


def _accept(
    image: Path, before: Path, after: Path, into: Path, accepted: str
) -> dict[str, str | int]:
    """Copy a picture and its mask; how much was corrected.

    ``accepted`` is the SHA-256 of the mask that an earlier call left there; empty where
    none did.

    Raises:
        DataError: a file cannot be read; or another mask is there, which was not accepted.
    """
    import numpy as np
    from PIL import Image

    from fishseg.images.decoding import read_image
    from fishseg.images.mask_rule import ZERO_255
    from fishseg.images.masks import read_mask
    from fishseg.metrics.masks import iou, overlap_counts

    size = read_image(image).shape[:2]
    mask, old = (read_mask(path, size, ZERO_255) for path in (after, before))
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    _refuse_to_overwrite(image, into / "masks", {sha256, accepted})
    shutil.copyfile(image, into / "images" / image.name)
    (into / "masks" / f"{image.stem}.png").write_bytes(file.getvalue())
    return {
        "image": image.name,
        "pixels_corrected": int((mask ^ old).sum()),
        "iou_before": f"{iou(overlap_counts(mask, old)):.4f}",
        "mask_sha256": sha256,
    }


def _refuse_to_overwrite(image: Path, folder: Path, ours: set[str]) -> None:
    """Somebody's work on a mask that was accepted, or that was there before, must not be lost."""
    from fishseg.store import file_sha256

    for there in folder.glob("*"):
        if there.stem == image.stem and file_sha256(there) not in ours:
            raise DataError(
                f"{there.name} is there already and is not as it was accepted",
                where=folder,
                remedy="delete it to take this mask, or leave this one out",
            )


def _read(path: Path) -> dict[str, dict[str, str | int]]:
    """The rows of the table so far, by picture.

    Raises:
        DataError: somebody has made something else of it.
    """

    def refuse(what: str, remedy: str | None) -> DataError:
        return DataError(
            f"the corrections cannot be read: {what}",
            where=path,
            expected="the columns image, pixels_corrected and iou_before",
            remedy=remedy or "correct that line, or move the file away to begin a new one",
        )

    if not path.is_file():
        return {}
    return {row["image"]: dict(row) for row in read_rows(path, COLUMNS[:-1], refuse)}


def _write(
    known: dict[str, dict[str, str | int]], new: list[dict[str, str | int]], path: Path
) -> None:
    """Add rows to the table; a picture that is corrected again has the newest numbers."""
    from fishseg.store import write_whole

    rows = known | {str(row["image"]): known.get(str(row["image"]), {}) | row for row in new}
    columns = dict.fromkeys([*COLUMNS, *(column for row in rows.values() for column in row)])
    with write_whole(path) as new_file, new_file.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))
