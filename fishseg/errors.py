"""The error family: everything a user can cause, said in one message.

Whatever the operating system or a library raises underneath becomes one of the family at the two
doors of the program, ``stages.run`` and ``fishseg.cli.main``. Its own mistakes (`TypeError`,
`AssertionError`, …) are none of a user's business to mend and keep their traceback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path


class FishsegError(Exception):
    """A mistake or a mishap that the user can do something about.

    Args:
        what: what went wrong, one sentence.
        where: the file, key or address it happened at.
        expected: what would have been right.
        remedy: what to do or type next.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object | None = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.expected = expected
        self.remedy = remedy
        lines = [what]
        if self.where is not None:
            lines.append(f"  where:    {self.where}")
        if expected is not None:
            lines.append(f"  expected: {expected}")
        if remedy is not None:
            lines.append(f"  to do:    {remedy}")
        super().__init__("\n".join(lines))


class ParameterError(FishsegError):
    """A parameter is missing, unknown, of the wrong type or out of range."""


class DataError(FishsegError):
    """Images or masks that cannot be used as they are."""


class DownloadError(FishsegError):
    """Data or weights that could not be fetched."""


class BackboneError(FishsegError):
    """A backbone that is unknown, incomplete or does not fit what was asked of it."""


class CacheError(FishsegError):
    """Cached features or masks that are missing, damaged or of another run."""


class StorageError(FishsegError):
    """A file or folder that cannot be written: a full disk, a folder for reading only."""


class TrainingError(FishsegError):
    """A training run that cannot go on."""


class ModelError(FishsegError):
    """An exported model that is missing, damaged, foreign or not like the one it came from."""


@contextlib.contextmanager
def one_message(if_interrupted: str) -> Iterator[None]:
    """A door: what a user can cause ends the program with one message and exit status 1.

    What is still waiting to be printed is printed before the block counts as done.

    Args:
        if_interrupted: what to say after Ctrl-C.
    """
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(if_interrupted)
    except Exception as error:
        found = explain(error)
        if found is None:
            raise
        if isinstance(error, OSError) and error.filename is None:
            _forget_unprinted()
        if isinstance(error, BrokenPipeError):
            sys.exit(1)  # as with `| head`: nobody is there to read more
        raise SystemExit(f"ERROR: {found}") from None


def explain(error: BaseException) -> FishsegError | None:
    """What a user should know of an exception; None where it is a mistake of the program.

    Args:
        error: whatever came up. One of the family explains itself.
    """
    if isinstance(error, FishsegError):
        return error
    if _is_memory(error):
        return FishsegError(
            f"there is not enough memory: {_first_line(error)}",
            where=_place_of(error),
            remedy="close other programs, or ask for less: smaller pictures, batches or models",
        )
    if isinstance(error, OSError):
        return _explain_os_error(error)
    if isinstance(error, UnicodeError):
        return FishsegError(
            f"a name or a text cannot be read or written: {_first_line(error)}",
            where=_place_of(error),
            expected="UTF-8",
            remedy="rename the file, for example with convmv; or export LC_ALL=C.UTF-8",
        )
    for known, (what, remedy) in _OF_LIBRARIES.items():
        if any(name.startswith(known) for name in _names_of(error)):
            where = _place_of(error)
            return FishsegError(f"{what}: {_first_line(error)}", where=where, remedy=remedy)
    return None


# Exceptions of libraries that files, disks and networks cause, by the start of their full name
# (so that nothing is imported to find out). Their other ones are mistakes in how they are called.
_OF_LIBRARIES = {
    "safetensors": (
        "weights cannot be read or written",
        "check the free disk space, and that the file is whole",
    ),
    "concurrent.futures.process.BrokenProcessPool": (
        "a process that worked for this one was killed, most often for want of memory",
        "close other programs and run the same command again",
    ),
    "onnxruntime.": (
        "onnxruntime cannot run this model",
        "export it again, or try another version of onnxruntime",
    ),
    "PIL.": ("a picture cannot be read", "fetch it again, or leave it out"),
    "zipfile.BadZipFile": ("an archive is damaged", "fetch it again"),
    "zlib.error": ("a compressed file is damaged", "fetch it again"),
    "yaml.": ("a file is not YAML", "git diff shows what has changed"),
    "csv.Error": ("a table is damaged", "make it again, or take it from git"),
    "pandas.errors.EmptyDataError": ("a table is empty", "make it again, or take it from git"),
    "pandas.errors.ParserError": ("a table is damaged", "make it again, or take it from git"),
    "httpx": ("the network failed", "run the same command again"),
    "requests.": ("the network failed", "run the same command again"),
    "huggingface_hub.": ("the hub refuses", "read what it says, and run the same command again"),
    "_pygit2.": ("git cannot open this repository", "git status says more"),
    "scmrepo.": ("git cannot open this repository", "git status says more"),
    "dvc.": ("DVC refuses", "dvc status says more"),
}


def _explain_os_error(error: OSError) -> FishsegError:
    return FishsegError(
        f"the system refuses: {error.strerror or _first_line(error)}",
        where=error.filename if error.filename is not None else _place_of(error),
        remedy=_REMEDIES.get(error.errno or 0, "mend that and run the same command again"),
    )


_FULL = "free some disk space and run the same command again"
_FORBIDDEN = "check who may read and write there, or choose another folder"
_IN_THE_WAY = "a file lies where a folder belongs, or the other way round: move it away"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "files may not grow that large here: see ulimit -f, or choose another disk",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOENT: "check the path; what a stage makes, dvc repro makes again",
    errno.ENAMETOOLONG: "give the file or folder a shorter name",
    errno.EMFILE: "allow more open files: ulimit -n 4096",
    errno.EIO: "the disk may be failing: copy what you need from it",
}


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    # torch has no type of its own for the CPU, and OpenCV has one for everything.
    named = any(name in ("builtins.RuntimeError", "cv2.error") for name in _names_of(error))
    said = str(error).lower()
    return named and ("memory" in said and ("alloc" in said or "out of" in said))


def _names_of(error: BaseException) -> list[str]:
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


def _place_of(error: BaseException) -> str | None:
    """Where in this program it came up, for want of a file: ``fishseg/…/files.py, line 84``."""
    here = Path(__file__).parents[1]
    found = None
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        # Not the libraries, which may lie below this folder, too.
        if path.is_relative_to(here) and "site-packages" not in path.parts:
            found = f"{path.relative_to(here).as_posix()}, line {frame.lineno}"
    return found


def _forget_unprinted() -> None:
    """Drop what standard output could not take, or Python complains once more when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
