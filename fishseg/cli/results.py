"""The folder that `fishseg predict` fills, and its memory of what is finished.

A record (``.fishseg/records/NAME.json``) is written last for each photograph: where it came from,
what was measured, and what that was made with. A run that is repeated takes over what its records
still describe; the tables are put together from all of them. Every file is written beside its
place and then put there in one step, so that a run may end at any moment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import io
import itertools
import json
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from fishseg.audit.mask_values import read_lone_mask
from fishseg.cli.decisions import DECISIONS
from fishseg.cli.inputs import InputFile
from fishseg.cli.tables import COCO_FILES, EXCEL, PAGE, TABLE
from fishseg.errors import DataError
from fishseg.images.decoding import read_image
from fishseg.images.folders import RESULT_FOLDERS, STATE, mark_results, result_names, some
from fishseg.store import file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from fishseg.cli.scales import Scale
log = logging.getLogger(__name__)

Record: TypeAlias = dict[str, Any]

OURS = frozenset({*RESULT_FOLDERS, TABLE, EXCEL, PAGE, "pictures", *COCO_FILES})
# Where a mask comes from.
MODEL, GIVEN, HAND = "model", "given", "hand"
# Changes with anything that makes old records wrong.
_FORMAT = 2
_LINES_SHOWN = 5
# What a record holds once its picture is finished.
_KEYS = frozenset({
    "source", "path", "bytes", "sha256", "made_with", "min_share", "mask_from", "probability_bits",
    "files", "mask_sha256", "height", "width", "mm_per_px", "scale_from", "fish",
})  # fmt: skip


class DiskFullError(DataError):
    """There is no space left: no later picture will fare better."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to make of each picture.

    Attributes:
        model: what tells the model apart from others; empty where masks are given.
        min_share: see `fishseg.prediction.instances.find_fish`.
        probability_bits: of the probabilities' PNG, 8 or 16; 0 for none.
        coco: whether outlines are needed; those that are missing are made of the masks later.
        excel: whether the table is written as a sheet, too.
        min_confidence: fish of less are left out of the table.
        scales: of the pictures that have one; the others keep what an earlier run gave them.
        ruler: whether those that have none get that of the ruler in them.
        forget_scales: whether what an earlier run gave is forgotten.
        mask_rule: which values of masks that are given are fish (`fishseg.images.mask_rule`).
    """

    model: str
    min_share: float
    probability_bits: int
    coco: bool
    excel: bool
    min_confidence: float
    scales: Mapping[Path, Scale]
    ruler: bool = False
    forget_scales: bool = False
    mask_rule: str = ""

    def made_with(self, mask_from: str, given: str = "") -> str:
        """What decides what is found in a picture.

        Args:
            mask_from: ``model``, ``given``, or ``hand`` for one that was corrected afterwards.
            given: the SHA-256 of the mask that was given, and which of its values are fish.
        """
        decides = {MODEL: self.model, GIVEN: given, HAND: ""}[mask_from]
        parts = [_FORMAT, mask_from, decides, self.min_share]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """What tells a file from all others.

    Attributes:
        bytes: how many it has.
        sha256: of all of them.
    """

    bytes: int
    sha256: str

    @classmethod
    def of(cls, file: Path) -> Content:
        """That of a picture.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            return cls(bytes=file.stat().st_size, sha256=file_sha256(file))
        except OSError:
            read_image(file)  # says what is wrong
            raise


def pixels_sha256(image: NDArray[np.uint8]) -> str:
    """What tells the pixels of an image ``(H, W, 3)`` from all others, however they are stored."""
    digest = hashlib.sha256(f"{image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


class Results:
    """The folder that results go to, held by one run at a time.

    Use it as a context manager.

    Raises:
        DataError: another run is writing into it; it cannot be written to; or it holds a folder
            of ours that we did not write, or results of an older version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state = folder / STATE
        self._records = self._state / "records"
        self._lock = FileLock(self._state / "lock", timeout=0)

    def __enter__(self) -> Results:
        """Take hold of the folder, make it if need be, and read the records."""
        for name in OURS - result_names(self.folder):
            if (self.folder / name).exists():
                raise DataError(
                    f"there is a {name} already that fishseg did not write",
                    where=self.folder / name,
                    expected="a new folder, or that of an earlier run",
                    remedy="choose another folder with --out",
                )
        with writing(self._state):
            self._records.mkdir(parents=True, exist_ok=True)
            mark_results(self.folder, OURS)
            self._take_hold()
        try:
            self._read_records()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the folder."""
        self._lock.release()

    def _take_hold(self) -> None:
        try:
            self._lock.acquire()
        except Timeout:
            raise DataError(
                "another run of fishseg is writing into this folder",
                where=self.folder,
                expected="one run at a time",
                remedy="wait until it has ended, or choose another folder with --out",
            ) from None
        except NotImplementedError:
            log.warning(
                "%s: this file system has no locks; let no two runs write into one folder",
                self.folder,
            )

    def _read_records(self) -> None:
        self._known: dict[str, InputFile] = {}  # by the place of the photograph
        self._orphans: dict[Content, str] = {}  # places of photographs that are no longer there
        self._names: set[str] = set()
        self._sources: set[str] = set()
        for name, record in self._each():
            place = record["path"]
            known = InputFile(name=name, source=record["source"], path=self.folder / place)
            self._known[place] = known
            self._names.add(name.casefold())
            self._sources.add(known.source.casefold())
            if not known.path.exists():
                content = Content(bytes=record["bytes"], sha256=record["sha256"])
                self._orphans[content] = place

    def _each(self) -> Iterator[tuple[str, Record]]:
        """The name and the record of each picture that is finished, in the order of the names."""
        files = [file for file in self._records.rglob("*.json") if file.is_file()]
        names = [file.relative_to(self._records).as_posix().removesuffix(".json") for file in files]
        for name in sorted(names):
            record = self.record(name)
            if record is not None and record.keys() >= _KEYS:
                yield name, record

    def named(self, pictures: Iterable[InputFile]) -> list[InputFile]:
        """The same pictures with the names that they have here.

        One that is here already, by its place or (where it has been moved) its content, keeps its
        name. Another one of the same name gets the folders that it lies in before it, as many as
        tell it apart.
        """
        return [self._named(picture) for picture in pictures]

    def _named(self, picture: InputFile) -> InputFile:
        known = self._known.get(self.place(picture)) or self._moved(picture)
        if known is None:
            known = next(
                InputFile(name=name, source=source, path=picture.path)
                for name, source in _names(picture)
                if name.casefold() not in self._names and source.casefold() not in self._sources
            )
            self._names.add(known.name.casefold())
            self._sources.add(known.source.casefold())
        return dataclasses.replace(known, path=picture.path)

    def _moved(self, picture: InputFile) -> InputFile | None:
        """The picture that this one was before it was moved."""
        try:
            n_bytes = picture.path.stat().st_size
            if all(content.bytes != n_bytes for content in self._orphans):
                return None
            place = self._orphans.pop(Content.of(picture.path), None)
        except (OSError, DataError):
            return None  # whoever reads it will say what is wrong
        return None if place is None else self._known[place]

    def place(self, picture: InputFile) -> str:
        """Where a picture lies as seen from here, so that both may move together."""
        # A link to the folder makes no other picture of it.
        path = os.path.join(os.path.realpath(picture.path.parent), picture.path.name)  # noqa: PTH118
        try:
            return Path(os.path.relpath(path, os.path.realpath(self.folder))).as_posix()
        except ValueError:  # another drive of Windows
            return Path(path).as_posix()

    def record(self, name: str) -> Record | None:
        """What is known of a picture, be it finished or not; None where that is nothing."""
        try:
            record = json.loads(self._record_path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def records(self) -> Iterator[tuple[str, Record]]:
        """The name and record of each picture with a mask, in the order of the sources."""
        known = sorted(self._finished(), key=lambda item: item[1])
        for name, _ in known:
            record = self.record(name)
            if record is not None:
                yield name, record

    def _finished(self) -> Iterator[tuple[str, str]]:
        for name, record in self._each():
            # Whoever deletes a mask wants the picture out of the tables.
            if self.mask(name).is_file():
                yield name, record["source"]

    def mask(self, name: str) -> Path:
        """Where the mask of a picture is."""
        return self.folder / f"masks/{name}.png"

    def free_place_beside(self, mask: Path) -> Path:
        """Where a mask can go to make room for another: ``NAME.before.png``, or with a number."""
        numbers = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        places = (mask.with_name(f"{mask.stem}.before{number}.png") for number in numbers)
        return next(place for place in places if not os.path.lexists(place))

    def set_aside(self, name: str, place: Path) -> None:
        """Move the mask of a picture to a place where nothing is.

        Raises:
            DataError: it cannot be moved.
        """
        with writing(place):
            self.mask(name).rename(place)

    def strays(self) -> list[str]:
        """Lines on masks and decisions that are not read."""
        masks = self.folder / "masks"
        misnamed, unknown = [], []
        for file in sorted(masks.rglob("*")):
            place = file.relative_to(masks)
            is_hidden = any(part.startswith(".") for part in place.parts)
            if is_hidden or not file.is_file():
                continue
            name = place.with_name(place.stem).as_posix()
            # One that was set aside is known by the name of its picture.
            is_known = re.sub(r"\.before(-\d+)?$", "", name).casefold() in self._names
            if not is_known:
                unknown.append(f"masks/{place.as_posix()}")
            elif file.suffix != ".png" and not _is_same_file(file, self.mask(name)):
                line = f"masks/{place.as_posix()} is not read: save it as masks/{name}.png"
                misnamed.append(line)
        lines = misnamed[:_LINES_SHOWN]
        if len(misnamed) > len(lines):
            lines.append(f"nor are {len(misnamed) - len(lines)} more in masks/")
        if unknown:
            lines.append(f"{some(unknown)}: not read, for no picture here has that name")
        # What a browser calls a second file that it saves.
        copies = sorted(file.name for file in self.folder.glob(f"{Path(DECISIONS).stem}?*.csv"))
        if copies:
            lines.append(f"{some(copies)}: not read: give the one that counts the name {DECISIONS}")
        return lines

    def read_mask(self, name: str, size: tuple[int, int]) -> NDArray[np.bool_]:
        """The mask of a picture of a ``(height, width)``, ours or painted by hand.

        Raises:
            DataError: it cannot be read, or does not fit.
        """
        return read_lone_mask(self.mask(name), size)

    def is_complete(self, record: Record, wanted: Wanted, given: str | None = None) -> bool:
        """Whether a record holds, and the files that it names are there.

        Args:
            record: what is known of a picture.
            wanted: what is to be made of it.
            given: the mask that was given for it, as `Wanted.made_with` takes it; None asks for a
                prediction where there is no mask that somebody gave before.
        """
        if not record.keys() >= _KEYS:
            return False
        mask_from = record["mask_from"]
        before = record.get("given", "")
        return (
            mask_from in ((HAND, GIVEN, MODEL) if given is None else (HAND, GIVEN))
            and record["made_with"] == wanted.made_with(mask_from, given or before)
            and (mask_from != MODEL or record["probability_bits"] >= wanted.probability_bits)
            and all((self.folder / file).is_file() for file in record["files"])
        )

    def write(
        self,
        picture: InputFile,
        made: dict[str, NDArray[Any]],
        record: Record,
        shown: Mapping[str, bytes],
    ) -> Record:
        """Write a picture's results, by the folders they go to, and then its record.

        Args:
            picture: the picture.
            made: pixels by the folder they go to.
            record: what else is known.
            shown: files for the page, by their names.

        Returns:
            The record, completed by what the files tell.

        Raises:
            DataError: one of them would overwrite the photograph, or cannot be written.
        """
        contents = {f"{kind}/{picture.name}.png": _png(pixels) for kind, pixels in made.items()}
        contents |= {f"pictures/{picture.name}/{name}": content for name, content in shown.items()}
        for file in contents:
            if (self.folder / file).resolve() == picture.path.resolve():
                raise DataError(
                    "the result would overwrite the picture itself",
                    where=picture.path,
                    remedy="choose another folder with --out",
                )
        mask = contents.get(f"masks/{picture.name}.png")
        if mask is not None:
            record = {**record, "mask_sha256": hashlib.sha256(mask).hexdigest()}
            # Should the run end before the record is there, the mask is still known for ours.
            before = self.record(picture.name) or {}
            self.write_record(picture.name, {**before, "unfinished": record["mask_sha256"]})
        for file, content in contents.items():
            self._put(self.folder / file, content)
        record = {**record, "files": sorted({*record["files"], *contents})}
        self.write_record(picture.name, record)
        return record

    def write_record(self, name: str, record: Record) -> None:
        """Keep what is known of a picture.

        Raises:
            DataError: the record cannot be written.
        """
        self._put(self._record_path(name), json.dumps(record).encode())

    def _put(self, target: Path, content: bytes) -> None:
        with self.replacing(target) as part:
            part.write_bytes(content)

    @contextlib.contextmanager
    def replacing(self, target: Path) -> Iterator[Path]:
        """A path to write to; what is there in the end takes the target's place in one step.

        Raises:
            DataError: it cannot be written.
        """
        part = self._state / "parts" / hashlib.sha256(str(target).encode()).hexdigest()[:32]
        with writing(target):
            part.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield part
                target.parent.mkdir(parents=True, exist_ok=True)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)

    def _record_path(self, name: str) -> Path:
        return self._records / f"{name}.json"


def _names(picture: InputFile) -> Iterator[tuple[str, str]]:
    """Names and sources that a picture may have, the shortest first."""
    source = picture.source
    yield picture.name, source
    yield source, source
    folders = list(picture.path.parts[1 : -len(Path(source).parts)])
    while folders:
        source = f"{folders.pop()}/{source}"
        yield str(Path(source).with_suffix("").as_posix()), source
        yield source, source
    number = 2
    while True:
        yield f"{number}/{source}", f"{number}/{source}"
        number += 1


def _is_same_file(file: Path, other: Path) -> bool:
    """Whether two names are of one file, as where the file system knows no small letters."""
    return other.exists() and file.samefile(other)


def _png(pixels: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=3)
    return file.getvalue()


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
            remedy="close it in other programs, check the permissions, or choose another folder "
            "with --out",
        ) from None
