from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from fishseg.training.live import growing_curves

ROWS = [
    {"epoch": 1, "train_loss": 0.71234567, "val_iou": 0.5},
    {"epoch": 2, "train_loss": 0.4, "val_iou": 0.75},
]


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_epoch_can_be_read_before_the_next(workspace: Path) -> None:
    table = Path("plots/train/epochs.csv")
    with growing_curves(table) as show:
        for number, row in enumerate(ROWS, start=1):
            show(row)
            assert list(pd.read_csv(table)["epoch"]) == list(range(1, number + 1))
            assert json.loads(Path("dvclive/metrics.json").read_text())["step"] == number
    assert table.read_text() == "epoch,train_loss,val_iou\n1,0.712346,0.5\n2,0.4,0.75\n"
    assert (
        Path("dvclive/plots/metrics/val_iou.tsv").read_text() == "step\tval_iou\n1\t0.5\n2\t0.75\n"
    )


def test_a_second_run_leaves_the_same_files_and_nothing_else(workspace: Path) -> None:
    found = []
    for _ in range(2):
        with growing_curves(Path("plots/epochs.csv")) as show:
            for row in ROWS:
                show(row)
        found.append(files(workspace))
    assert found[0] == found[1]
    assert {path.split("/")[0] for path in found[0]} == {"dvclive", "plots"}
