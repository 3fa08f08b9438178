"""The training curves while they grow, for editors and DVC Studio."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from dvclive.live import Live

FOLDER = Path("dvclive")  # ignored by git: the tables of metrics/train hold the same numbers


@contextlib.contextmanager
def growing_curves(table: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Gives a function that takes the row of each epoch and shows it to whoever looks on.

    ``table`` is the file that ``dvc.yaml`` plots; it is written anew with every row. DVCLive tells
    DVC's extension for VS Code that there is more to draw, and sends the numbers to DVC Studio if
    the user has logged in there (``dvc studio login``).

    Args:
        table: the CSV file to write.
    """
    table.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Mapping[str, Any]] = []
    # As it comes, Live rewrites dvc.yaml and commits an experiment of its own.
    with Live(str(FOLDER), dvcyaml=None, save_dvc_exp=False) as live:

        def show(row: Mapping[str, Any]) -> None:
            rows.append(row)
            pd.DataFrame(rows).round(6).to_csv(table, index=False, lineterminator="\n")
            live.step = row["epoch"]
            for name, value in row.items():
                if name != "epoch":
                    live.log_metric(name, value)
            live.next_step()

        yield show
