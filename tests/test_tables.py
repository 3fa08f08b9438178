"""Tables that are too long for git."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from fishseg import tables
from fishseg.errors import DataError, StorageError
from fishseg.report.results import read_scores


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    monkeypatch.setattr(tables, "MOST_CSV_ROWS", 3)


def inventory(n: int) -> pd.DataFrame:
    """Of classes whose names are no names to pandas."""
    table = pd.DataFrame({
        name: ["x" if kind == "str" else 1] * n for name, kind in tables.COLUMNS.items()
    })  # fmt: skip
    table["sample_id"] = [f"00{k}" for k in range(n)]
    table["class_name"] = ["NA" if k % 2 else "001" for k in range(n)]
    table["flipped"] = [None if k == 1 else 1 for k in range(n)]
    table["mask_status"] = "ok"
    return table.astype(tables.COLUMNS)[list(tables.COLUMNS)]


@pytest.mark.parametrize("n", [3, 4])
def test_a_long_inventory_is_parquet_and_reads_alike(n: int) -> None:
    path, whole = Path("data/inventory.csv"), Path("data/audit/inventory.parquet")
    tables.write_inventory(inventory(n), path, whole)
    assert whole.exists() == (n > 3)
    read = tables.read_inventory(path)
    pd.testing.assert_frame_equal(read, inventory(n))
    if n > 3:
        summary = pd.read_csv(path, keep_default_na=False, dtype=str)
        assert list(summary["class_name"]) == ["001", "NA"]
        assert list(summary["n"]) == ["2", "2"]
        assert set(summary["table"]) == {"audit/inventory.parquet"}


def test_a_shorter_one_takes_the_long_one_away() -> None:
    tables.write_inventory(inventory(4), Path("inventory.csv"))
    assert Path("inventory.parquet").exists()
    tables.write_inventory(inventory(3), Path("inventory.csv"))
    assert not Path("inventory.parquet").exists()
    assert len(tables.read_inventory(Path("inventory.csv"))) == 3


def test_a_long_manifest_reads_alike() -> None:
    manifest = inventory(5)[["sample_id", "class_name", "group_id"]].assign(split="val")
    path = Path("manifest.csv")
    tables.write_manifest(manifest, path, Path("split/manifest.parquet"))
    pd.testing.assert_frame_equal(tables.read_manifest(path), manifest)
    content = path.read_bytes()
    tables.write_manifest(manifest, path, Path("split/manifest.parquet"))
    assert path.read_bytes() == content


def test_scores_of_many_images_are_their_means_in_git() -> None:
    scores = pd.DataFrame({
        "sample_id": ["a", "b", "c", "d"], "class_name": ["NA", "NA", "x", "x"], "group_id": "1",
        "mask_status": "ok", "split": "val", "iou": [0.5, 1.0, 0.25, 0.25],
        **dict.fromkeys(["boundary_iou", "dice", "precision", "recall", "raw_iou"], 0.5),
    })  # fmt: skip
    tables.write_table(
        scores, Path("images.csv"), by=["class_name", "split"], means=["iou", "boundary_iou"]
    )
    summary = pd.read_csv("images.csv", keep_default_na=False)
    assert list(summary["iou"]) == [0.75, 0.25]
    read = read_scores(Path("images.csv"))
    assert list(read["sample_id"]) == ["a", "b", "c", "d"]
    assert list(read["iou"]) == [0.5, 1.0, 0.25, 0.25]


def test_another_or_a_missing_table_is_said() -> None:
    path, whole = Path("inventory.csv"), Path("inventory.parquet")
    tables.write_inventory(inventory(4), path)
    whole.write_bytes(whole.read_bytes() + b" ")
    with pytest.raises(DataError, match="not the one of its summary"):
        tables.read_inventory(path)
    whole.unlink()
    with pytest.raises(DataError, match="dvc pull"):
        tables.read_inventory(path)


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    tables.write_inventory(inventory(4), Path("inventory.csv"))
    # As where it is not installed.
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for engine in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(StorageError, match=r"\[parquet\]"):
        tables.write_inventory(inventory(4), Path("other.csv"))
    assert not Path("other.csv").exists()
    with pytest.raises(DataError, match=r"\[parquet\]"):
        tables.read_inventory(Path("inventory.csv"))
