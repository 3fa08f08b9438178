"""Where what is expensive to get is kept between runs: downloads, feature shards, checkpoints.

The store is a cache: deleting it costs time and nothing else. Git and DVC ignore it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

DEFAULT_PLACE = Path("data/.store")


def folder(name: str) -> Path:
    """The folder ``name`` of the store, made if missing.

    The place comes from ``FISHSEG_STORE``, because ignored files do not travel into the copies
    that ``dvc exp run --temp`` and ``--queue`` work in; without it, it is ``data/.store``.
    """
    place = Path(os.environ.get("FISHSEG_STORE") or DEFAULT_PLACE) / name
    place.mkdir(parents=True, exist_ok=True)
    return place


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits; the file need not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
