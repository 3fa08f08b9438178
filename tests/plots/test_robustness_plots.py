from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fishseg import plots
from fishseg.plots import Spoiled
from fishseg.plots.overlays import OUTLINE_RGB

if TYPE_CHECKING:
    from pathlib import Path


def course(names: list[str], drop: float = 0.1) -> pd.DataFrame:
    rows = [(name, level, 0.9 - drop * level) for name in names for level in (1, 3, 5)]
    table = pd.DataFrame(rows, columns=["corruption", "severity", "mean_iou"])
    return table.assign(n_images=2, clean_iou=0.9, iou_retained=table["mean_iou"] / 0.9)


def examples(shape: tuple[int, int]) -> list[Spoiled]:
    mask = np.zeros(shape, np.bool_)
    mask[shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = True
    return [
        Spoiled(
            corruption="$noise$",
            severity=severity,
            iou=1 - severity / 10,
            image=np.full((*shape, 3), 40 * severity, np.uint8),
            prediction=mask if severity < 5 else ~mask | mask,
        )
        for severity in (1, 3, 5)
    ]


@pytest.mark.parametrize("n_corruptions", [1, 3, 4, 11])
def test_a_panel_each_whatever_their_number(tmp_path: Path, n_corruptions: int) -> None:
    table = course([f"corruption_{number}" for number in range(n_corruptions)])
    plots.severity_curves(table, tmp_path / "curves.png")
    rows = -(-(n_corruptions + 1) // 4)
    assert Image.open(tmp_path / "curves.png").height == pytest.approx(77 + 231 * rows, abs=1)


def test_the_curves_show_the_numbers(tmp_path: Path) -> None:
    for name, drop in (("first", 0.1), ("second", 0.1), ("other", 0.05)):
        plots.severity_curves(course(["noise", "jpeg"], drop), tmp_path / f"{name}.png")
    first, second, other = (
        (tmp_path / f"{name}.png").read_bytes() for name in ("first", "second", "other")
    )
    assert first == second
    assert first != other


def test_photographs_of_several_shapes_keep_theirs(tmp_path: Path) -> None:
    lying, standing = examples((60, 120)), examples((120, 60))
    plots.contact_sheet([lying[0], standing[1], lying[2]], tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    there = (sheet[74:138, 244:372] == 120).all(axis=2)
    assert np.median(there.sum(axis=1)) == pytest.approx(32, abs=2)  # wide; 64 high


@pytest.mark.parametrize("shape", [(90, 120), (120, 60), (30, 300)])
def test_the_sheet_holds_every_tile(tmp_path: Path, shape: tuple[int, int]) -> None:
    plots.contact_sheet(examples(shape), tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    # The greys of tiles is there, and the outline's colour.
    for level in (1, 3):
        assert (sheet == 40 * level).all(axis=2).sum() > 200
    assert (sheet == OUTLINE_RGB).all(axis=2).any()
