"""Unpacking a zip file that somebody else made, without trusting it."""

from __future__ import annotations

import errno
import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PureWindowsPath
from typing import Never

from tqdm import tqdm

from fishseg.errors import DataError

# Photographs hardly shrink. Deflate cannot shrink anything by more than about 1,030 times, so an
# honest archive of images stays far below this even if all its masks are uncompressed bitmaps.
MAX_COMPRESSION_RATIO = 200
CHUNK_BYTES = 1 << 20
ENCRYPTED_FLAG = 0x1


class DamagedArchiveError(DataError):
    """A zip file that is cut off, altered or none at all; fetching it again may help."""


def unpack(archive: Path, target: Path, *, max_bytes: int, max_files: int) -> None:
    """Unpack a zip file into the folder ``target``, all of it or nothing.

    The files are written to a hidden sibling of ``target`` that takes its name at the end, so
    that a run that was killed leaves no half-filled ``target`` behind. Backslashes in member
    names separate folders, as some Windows programs write them.

    Args:
        archive: the zip file.
        target: the folder to make; it may exist if it is empty.
        max_bytes: size of the unpacked files that is refused when exceeded, in bytes.
        max_files: number of files that is refused when exceeded.

    Raises:
        DamagedArchiveError: the archive is truncated, fails a checksum or is no zip file.
        DataError: the archive is encrypted, packed in a way that Python does not know, too large,
            names places outside ``target``, links or a file twice; ``target`` holds something; the
            disk is full or not writable.
    """
    target = target.absolute()
    _require_empty(target)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with zipfile.ZipFile(archive) as zip_file:
            members = _check_members(archive, zip_file, max_files=max_files)
            unpacked_bytes = _check_size(archive, members, max_bytes=max_bytes)
            _remove(partial)
            partial.mkdir(parents=True)
            require_space(partial, unpacked_bytes)
            with tqdm(
                total=unpacked_bytes, desc=f"unpacking {archive.name}", unit="B", unit_scale=True
            ) as progress:
                for relative, member in members.items():
                    _extract(zip_file, member, partial / relative, progress)
        if target.exists():
            target.rmdir()
        partial.rename(target)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        UnicodeDecodeError,
    ) as error:
        raise DamagedArchiveError(
            f"the archive is damaged or no zip file that can be read: {error}",
            where=archive,
            expected="a complete zip file",
            remedy="fetch it again, or unpack it with another program and pack it anew",
        ) from None
    except NotImplementedError as error:
        raise DataError(
            f"the archive is packed in a way that Python does not know: {error}",
            where=archive,
            expected="a zip file of kind Deflate, BZIP2, LZMA or without compression",
            remedy="unpack it with another program, and pack it anew as a plain zip file",
        ) from None
    except OSError as error:
        raise _disk_error(error, archive) from None
    finally:
        _remove(partial)


def require_space(folder: Path, needed_bytes: int) -> None:
    """Refuse to start what the disk of the existing ``folder`` cannot hold.

    Raises:
        DataError: fewer than ``needed_bytes`` are free.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise DataError(
            f"the disk has {free_bytes / 1e9:.2f} GB left, {needed_bytes / 1e9:.2f} GB are needed",
            where=folder,
            remedy="free some space and run the same command again",
        )


def _require_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(
            "there is something already where the archive should be unpacked",
            where=target,
            expected="an empty or missing folder",
            remedy="move it away or remove it",
        )


def _check_members(
    archive: Path, zip_file: zipfile.ZipFile, *, max_files: int
) -> dict[Path, zipfile.ZipInfo]:
    """The files of the archive by their path below the target, each of them harmless."""
    members: dict[Path, zipfile.ZipInfo] = {}
    for member in zip_file.infolist():
        name = member.filename
        # Reads / and \ alike and knows drives, so one parse finds every way out on any system.
        parsed = PureWindowsPath(name)
        if parsed.anchor or ".." in parsed.parts:
            raise _unsafe(archive, f"{name!r} would be written outside the target folder")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(archive, f"{name!r} is a link or a device, not a file")
        if name.endswith(("/", "\\")):
            continue
        if member.flag_bits & ENCRYPTED_FLAG:
            raise DataError(
                f"{name!r} is encrypted",
                where=archive,
                expected="a zip file without a password",
                remedy="unpack it with its password and give the folder instead",
            )
        relative = Path(*parsed.parts)
        if relative in members:
            raise _unsafe(archive, f"{name!r} is in it twice")
        members[relative] = member
    for relative in members:
        for parent in relative.parents:
            if parent in members:
                raise _unsafe(archive, f"{str(parent)!r} is both a file and a folder")
    if len(members) > max_files:
        raise DataError(
            f"the archive holds {len(members):,} files",
            where=archive,
            expected=f"at most {max_files:,}",
            remedy="unpack it yourself if you trust it",
        )
    return members


def _check_size(archive: Path, members: dict[Path, zipfile.ZipInfo], *, max_bytes: int) -> int:
    """The bytes the files take when unpacked, by their headers; no archive bomb."""
    # The headers can be believed here: zipfile stops reading a member at its declared size, and
    # a member that goes on past it fails its checksum.
    unpacked_bytes = sum(member.file_size for member in members.values())
    if unpacked_bytes > max_bytes:
        raise DataError(
            f"the archive unpacks to {unpacked_bytes:,} bytes",
            where=archive,
            expected=f"at most {max_bytes:,}",
            remedy="unpack it yourself if you trust it",
        )
    ratio = unpacked_bytes / archive.stat().st_size
    if ratio > MAX_COMPRESSION_RATIO:
        raise _unsafe(archive, f"its files are {ratio:,.0f} times as large as the archive")
    return unpacked_bytes


def _extract(
    zip_file: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, progress: tqdm[Never]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zip_file.open(member) as packed, path.open("xb") as unpacked:
        while chunk := packed.read(CHUNK_BYTES):
            unpacked.write(chunk)
            progress.update(len(chunk))


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _unsafe(archive: Path, what: str) -> DataError:
    return DataError(
        f"the archive is not safe to unpack: {what}",
        where=archive,
        expected="plain files and folders, each once",
        remedy="get it from another place, or look into it with `unzip -l`",
    )


def _disk_error(error: OSError, archive: Path) -> DataError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return DataError(
        f"the archive cannot be unpacked: {error.strerror or error}",
        where=error.filename or archive,
        remedy="free some space and run the same command again"
        if full
        else "check that the archive can be read and the folder written",
    )
