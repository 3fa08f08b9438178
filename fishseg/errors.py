"""The error family: everything a user can cause, said in one message."""

from __future__ import annotations


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
