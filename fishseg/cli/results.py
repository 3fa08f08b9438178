"""The folder that `fishseg predict` fills, and its memory of what is finished.

A record (``.fishseg/records/NAME.json``) is written last for each photograph: what was measured,
and a fingerprint of all that it was made with. A run that is repeated takes over what its records
still describe. The tables are put together from them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeAlias

from PIL import Image

from fishseg.errors import DataError
from fishseg.images.decoding import read_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from fishseg.cli.inputs import InputFile


Record: TypeAlias = dict[str, Any]

STATE = ".fishseg"
TABLE = "measurements.csv"
PICTURE_FOLDERS = ("masks", "overlays", "probabilities")
# Changes with anything that makes old records wrong.
_FORMAT = 1


class DiskFullError(DataError):
    """There is no space left: no later picture will fare better."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to make of each picture; with ``model`` it decides whether a record still holds.

    Attributes:
        model: what tells the model apart from others.
        min_share: see `fishseg.measurement.instances.find_fish`.
        probability_bits: of the probabilities' PNG, 8 or 16; 0 for none.
        coco: whether outlines are needed.
    """

    model: str
    min_share: float
    probability_bits: int
    coco: bool

    def fingerprint(self, file: Path) -> str:
        """Everything that determines the results of a file.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:
            read_image(file)  # says what is wrong
            raise
        parts = [_FORMAT, content, *dataclasses.astuple(self)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Results:
    """The folder that results go to.

    Raises:
        DataError: it cannot be written to, or holds a folder of ours that we did not write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.picture_folders = [folder / name for name in PICTURE_FOLDERS]
        state = folder / STATE
        if not state.is_dir():
            for place in [*self.picture_folders, folder / TABLE]:
                if place.exists():
                    raise DataError(
                        f"there is a {place.name} already that fishseg did not write",
                        where=place,
                        expected="a new folder, or that of an earlier run",
                        remedy="choose another folder with --out",
                    )
        with writing(state):
            (state / "records").mkdir(parents=True, exist_ok=True)

    def record(self, picture: InputFile, fingerprint: str) -> Record | None:
        """What is known of a picture that is finished; None where something has changed."""
        try:
            record = self._read(picture)
        except (OSError, ValueError):
            return None
        complete = record.get("fingerprint") == fingerprint
        return record if complete and all(map(self._has, record["files"])) else None

    def records(self, pictures: Iterable[InputFile]) -> Iterator[tuple[str, Record]]:
        """The source of each finished picture and its record, read one by one."""
        for picture in pictures:
            yield picture.source, self._read(picture)

    def _read(self, picture: InputFile) -> Record:
        record: Record = json.loads(self._record_path(picture).read_text(encoding="utf-8"))
        return record

    def _has(self, file: str) -> bool:
        return (self.folder / file).is_file()

    def write_pictures(self, picture: InputFile, made: dict[str, NDArray[Any]]) -> list[str]:
        """Write pictures into the folders named, and give their paths.

        Raises:
            DataError: one of them would overwrite the photograph, or cannot be written.
        """
        files = []
        for kind, pixels in made.items():
            file = f"{kind}/{picture.name}.png"
            target = self.folder / file
            if target.resolve() == picture.path.resolve():
                raise DataError(
                    "the result would overwrite the picture itself",
                    where=picture.path,
                    remedy="choose another folder with --out",
                )
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(target, compress_level=3)
            files.append(file)
        return files

    def write_record(self, picture: InputFile, record: Record) -> None:
        """Mark a picture as finished.

        Raises:
            DataError: the record cannot be written.
        """
        target = self._record_path(picture)
        part = target.with_suffix(".part")
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(record), encoding="utf-8")
            part.replace(target)

    def _record_path(self, picture: InputFile) -> Path:
        return self.folder / STATE / "records" / f"{picture.name}.json"


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Say clearly why something cannot be written.

    Raises:
        DiskFullError: there is no space left.
        DataError: anything else, such as a lack of permission.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                "there is no space left",
                where=target,
                remedy="free some and run the same command again: it goes on where it stopped",
            ) from None
        raise DataError(
            f"the result cannot be written: {error.strerror or error}",
            where=target,
            remedy="check the permissions, or choose another folder with --out",
        ) from None
