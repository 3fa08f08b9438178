"""The two tables that stages hand on, inventory and manifest: columns, writing, reading.

In the inventory ``mask_path`` is the mask to use and ``raw_mask_path`` the one that came with the
image. They differ where the audit has repaired a mask. ``mask_rule`` and ``raw_mask_rule`` say
which of their values are fish (see `fishseg.images.mask_rule`).
"""

from __future__ import annotations

import csv
import re
import unicodedata
from pathlib import Path
from typing import Literal

import pandas as pd

from fishseg.errors import DataError
from fishseg.store import write_whole

COLUMNS = {
    "sample_id": "str",
    "class_name": "str",
    "image_path": "str",
    "mask_path": "str",
    "raw_mask_path": "str",
    "mask_rule": "str",
    "raw_mask_rule": "str",
    "width": "int64",
    "height": "int64",
    "image_sha256": "str",
    "mask_sha256": "str",
    "foreground_fraction": "float64",
    "group_id": "str",
    "flipped": "Int64",
    "rotation_degrees": "float64",
    "mask_agreement": "float64",
    "mask_status": "str",
}
# Empty where nothing is known of the source photo.
OPTIONAL_COLUMNS = ["flipped", "rotation_degrees", "mask_agreement"]
MASK_STATUSES = ("ok", "rejected", "repaired", "unverified")
SPLITS = ("train", "val", "test")
# What nothing is learned from: only there what was learned can be held against it.
UNSEEN_SPLITS = ("val", "test")
MANIFEST_COLUMNS = ["sample_id", "class_name", "group_id", "split"]


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all, into a folder that is there.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    # A carriage return in a name ends the line to readers, but is nothing that writers would quote.
    texts = table.select_dtypes(exclude=["number", "bool"]).astype(str)
    returns = any(texts[name].str.contains("\r").any() for name in texts)
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    with write_whole(path) as new:
        table.to_csv(new, index=False, lineterminator="\n", encoding="utf-8", quoting=quoting)


def write_inventory(table: pd.DataFrame, path: Path) -> None:
    """Write the samples as CSV with the columns `COLUMNS`, a missing value as nothing.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    write_csv(table[list(COLUMNS)], path)


def read_inventory(path: Path) -> pd.DataFrame:
    """Read what `write_inventory` wrote, with the types of `COLUMNS`.

    Raises:
        DataError: the file is missing or damaged, lacks a column, has a value of the wrong type
            or a sample twice.
    """
    try:
        # As text first: a class may be called NA, and 00001 is a name.
        texts = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except OSError as error:
        raise _bad_inventory(path, f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise _bad_inventory(path, f"is damaged: {error}") from None
    if list(texts.columns) != list(COLUMNS):
        raise _bad_inventory(path, f"has the columns {', '.join(texts.columns)}")
    texts[OPTIONAL_COLUMNS] = texts[OPTIONAL_COLUMNS].replace("", None)
    empty = (texts == "").any()
    if empty.any():
        raise _bad_inventory(path, f"lacks a value of {empty.idxmax()}")
    try:
        table = texts.astype(COLUMNS)
    except ValueError as error:
        raise _bad_inventory(path, f"holds a value of the wrong type: {error}") from None
    twice = table["sample_id"][table["sample_id"].duplicated()]
    if len(twice):
        raise _bad_inventory(path, f"has the sample {twice.iloc[0]} twice")
    unknown = set(table["mask_status"]) - set(MASK_STATUSES)
    if unknown:
        raise _bad_inventory(path, f"has the unknown mask_status {min(unknown)!r}")
    return table


def _bad_inventory(path: Path, what: str) -> DataError:
    return DataError(
        f"the inventory {what}",
        where=path,
        expected=f"a CSV with the columns {', '.join(COLUMNS)}",
        remedy="dvc repro -f audit",
    )


def write_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Write the manifest as CSV, sorted by ``sample_id``."""
    write_csv(manifest, path)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest.

    Raises:
        DataError: the file is missing, has other columns, or names another split.
    """
    try:
        # Class and file names such as "NA" or "001" are names, not missing values or numbers.
        manifest = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"the manifest cannot be read: {error}", where=path, remedy="dvc repro split"
        ) from None
    if list(manifest.columns) != MANIFEST_COLUMNS or not manifest["split"].isin(SPLITS).all():
        raise DataError(
            "this is no manifest",
            where=path,
            expected=f"the columns {', '.join(MANIFEST_COLUMNS)}, and splits {', '.join(SPLITS)}",
            remedy="dvc repro --force split",
        )
    return manifest


def slug(name: str) -> str:
    """A class name as a key of metrics: ``Gilt-Head Bream`` gives ``gilt_head_bream``."""
    return re.sub(r"[\W_]+", "_", nfc(name).casefold()).strip("_") or "_"


def nfc(name: str) -> str:
    """A name with its accents composed; macOS takes them apart, which no reader can see."""
    return unicodedata.normalize("NFC", name)
