"""The two tables that stages hand on, inventory and manifest: columns, writing, reading.

In the inventory ``mask_path`` is the mask to use and ``raw_mask_path`` the one that came with the
image. They differ where the audit has repaired a mask. ``mask_rule`` and ``raw_mask_rule`` say
which of their values are fish (see `fishseg.images.mask_rule`).

A table of more than `MOST_CSV_ROWS` rows is a Parquet file in a folder that DVC keeps. In its place
as CSV is a summary, which names that file and its SHA-256: it stands for it in `dvc.yaml` and git.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from fishseg.errors import DataError, StorageError
from fishseg.store import file_sha256, make_folder, nfc, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
MOST_CSV_ROWS = 50_000  # of more rows git keeps a summary
_PLACE = ["table", "sha256"]  # of the Parquet file, in a summary
_NO_PYARROW = "pip install '.[parquet]' in a copy of the repository, or pip install pyarrow"


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


def write_table(
    table: pd.DataFrame,
    path: Path,
    whole: Path | None = None,
    *,
    by: Sequence[str],
    means: Sequence[str] = (),
) -> None:
    """Write a table as CSV; of more than `MOST_CSV_ROWS` rows a summary, and all of it as Parquet.

    Args:
        table: what to write.
        path: the CSV.
        whole: the Parquet file, beside the CSV unless given; removed where the CSV holds all.
        by: columns; the summary counts the rows of each combination, as ``n``.
        means: columns of numbers whose mean is in the summary.

    Raises:
        StorageError: the disk is full, the folder cannot be written, or pyarrow is missing.
    """
    whole = whole or path.with_suffix(".parquet")
    whole.unlink(missing_ok=True)
    if len(table) <= MOST_CSV_ROWS:
        write_csv(table, path)
        return
    make_folder(whole.parent)
    with write_whole(whole) as new:
        try:
            table.to_parquet(new, index=False)
        except ImportError:
            raise StorageError(
                f"a table of more than {MOST_CSV_ROWS} rows needs pyarrow, which is not installed",
                where=whole,
                remedy=_NO_PYARROW,
            ) from None
    groups = table.groupby(list(by))
    summary = groups.size().rename("n").to_frame().join(groups[list(means)].mean()).reset_index()
    place = Path(os.path.relpath(whole, path.parent)).as_posix()
    write_csv(summary.round(6).assign(table=place, sha256=file_sha256(whole)), path)


def whole_of(
    table: pd.DataFrame, path: Path, read: Callable[[Path], bytes] = Path.read_bytes
) -> pd.DataFrame:
    """The table that a CSV at ``path`` is the summary of; the same where it is none.

    Args:
        table: what the CSV holds.
        path: where it lies.
        read: gives the content of a file; of another revision, DVC has it.

    Raises:
        DataError: that table is missing or another one.
    """
    if not set(_PLACE) <= set(table.columns):
        return table
    place, sha256 = table[_PLACE].iloc[0]
    whole = Path(os.path.normpath(path.parent / place))
    try:
        content = read(whole)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DataError(
                "the table is not the one of its summary", where=whole, expected=f"that of {path}",
                remedy="dvc checkout",
            )  # fmt: skip
        return pd.read_parquet(io.BytesIO(content))
    except OSError as error:
        raise DataError(
            f"the table cannot be read: {error.strerror}",
            where=whole,
            expected=f"the one that {path} names",
            remedy="dvc pull, or dvc repro",
        ) from None
    except ImportError:
        raise DataError(
            "the table cannot be read without pyarrow", where=whole, remedy=_NO_PYARROW
        ) from None


def write_inventory(table: pd.DataFrame, path: Path, whole: Path | None = None) -> None:
    """Write the samples with the columns `COLUMNS`, a missing value as nothing; see `write_table`.

    Raises:
        StorageError: see `write_table`.
    """
    write_table(table[list(COLUMNS)], path, whole, by=["class_name", "mask_status"])


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
    texts = whole_of(texts, path)
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


def write_manifest(manifest: pd.DataFrame, path: Path, whole: Path | None = None) -> None:
    """Write the manifest, sorted by ``sample_id``; see `write_table`."""
    write_table(manifest, path, whole, by=["class_name", "split"])


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
    manifest = whole_of(manifest, path)
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
