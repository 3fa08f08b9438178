"""What the stages wrote, as the page takes it: numbers of the splits, curves, a row an image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from fishseg.errors import DataError
from fishseg.report.image_files import as_records
from fishseg.tables import whole_of

if TYPE_CHECKING:
    from pathlib import Path

SHOWN_SPLITS = ("val", "test")
_TEXTS = ("sample_id", "class_name", "group_id", "mask_status", "split")
_NUMBERS = ("iou", "boundary_iou", "dice", "precision", "recall", "raw_iou")
# What the evaluation may add beside them.
_OPTIONAL_NUMBERS = ("confidence",)


def read_scores(path: Path) -> pd.DataFrame:
    """The rows of ``metrics/evaluate/images.csv``, texts and scores only.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    numbers = [*_NUMBERS, *_OPTIONAL_NUMBERS]
    table = read_table(
        path,
        dtype={**dict.fromkeys(_TEXTS, "str"), **dict.fromkeys(numbers, "float64")},
        # A class may be called NA; of the numbers, nothing is no number.
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
    )
    table = whole_of(table, path)
    missing = [name for name in (*_TEXTS, *_NUMBERS) if name not in table]
    if missing:
        raise DataError(
            f"the table of scores has no column {', '.join(missing)}",
            where=path,
            remedy="dvc repro -f evaluate",
        )
    columns = [name for name in (*_TEXTS, *numbers) if name in table]
    scores: pd.DataFrame = table[columns]
    return scores


def read_results(metrics: Path) -> dict[str, Any]:
    """The numbers of the page, as JSON knows them; None for what no stage has measured.

    Returns:
        ``splits``, ``leak``, ``training``, ``audit``, ``species`` and ``robustness`` as their files
        say them, ``epochs`` and ``species_classes`` as lists of rows.

    Raises:
        DataError: a file is missing or damaged.
    """
    robustness, species = metrics / "robustness.json", metrics / "classify.json"
    return {
        "splits": read_json(metrics / "evaluate.json"),
        "leak": read_json(metrics / "split.json"),
        "training": read_json(metrics / "train.json"),
        "audit": read_json(metrics / "audit.json"),
        "robustness": read_json(robustness) if robustness.exists() else None,
        "species": read_json(species) if species.exists() else None,
        "species_classes": _read_species(metrics) if species.exists() else [],
        "epochs": as_records(read_table(metrics / "train" / "epochs.csv")),
    }


def _read_species(metrics: Path) -> list[dict[str, Any]]:
    numbers = {name: [""] for name in ("recall", "precision", "n_images")}
    table = read_table(
        metrics / "classify" / "per_class.csv",
        dtype={**dict.fromkeys(numbers, "float64"), "class_name": "str", "taken_for": "str"},
        keep_default_na=False,
        na_values=numbers,
    )
    return as_records(table)


def read_table(path: Path, **options: Any) -> pd.DataFrame:
    """A CSV that a stage wrote, with pandas' own options.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        table: pd.DataFrame = pd.read_csv(path, encoding="utf-8", **options)
        return table
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    except ValueError as error:
        raise _unreadable(path, str(error)) from None


def read_json(path: Path) -> Any:
    """A JSON file that a stage wrote, with None for what is no number.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        # JSON proper has no NaN: the browser would refuse the whole page.
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    except ValueError as error:
        raise _unreadable(path, str(error)) from None


def _unreadable(path: Path, why: str | None) -> DataError:
    return DataError(
        f"a result to report cannot be read: {why}",
        where=path,
        expected="what the stages of the pipeline write",
        remedy="dvc repro",
    )
