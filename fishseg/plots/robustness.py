"""What corruptions cost, as curves and to look at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from fishseg.plots.style import BLUE, DPI, GREY, house_style, save

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from fishseg.robustness.measure import Trial

_PANEL_COLUMNS = 4
_TILE_WIDTH, _GAP, _MARGIN, _LABELS, _HEAD, _HEADINGS = 128, 4, 14, 112, 42, 28
_OUTLINE_RGB = (255, 200, 0)


def severity_curves(table: pd.DataFrame, path: Path) -> None:
    """Draw the IoU against the severity, a panel a corruption.

    Args:
        table: what `fishseg.robustness.measure.tabulate` gives.
        path: the PNG to write.
    """
    clean, corrupted = table[table["severity"] == 0].iloc[0], table[table["severity"] > 0]
    courses = dict(list(corrupted.groupby("corruption", sort=False)))
    means = corrupted.groupby("severity", as_index=False).mean(numeric_only=True)
    courses["mean over all"] = means
    n_rows = math.ceil(len(courses) / _PANEL_COLUMNS)
    with house_style():
        figure = Figure(figsize=(10, 0.7 + 2.1 * n_rows), layout="constrained")
        panels = figure.subplots(
            n_rows, _PANEL_COLUMNS, sharex=True, sharey=True, squeeze=False
        ).ravel()
        for axes, (name, rows) in zip(panels, courses.items(), strict=False):
            _severity_panel(axes, str(name), rows, clean)
        for number in range(len(courses), len(panels)):
            panels[number].set_visible(False)
            panels[number - _PANEL_COLUMNS].tick_params(labelbottom=True)
        panels[0].set_ylim(0, 1)
        panels[0].set_xticks([0, *means["severity"]], ["clean", *means["severity"].map(str)])
        figure.supxlabel("severity", fontsize="medium")
        figure.supylabel("IoU: mean, worst to best image; clean (dashed)", fontsize="medium")
        save(figure, path)


def _severity_panel(axes: Axes, name: str, rows: pd.DataFrame, clean: pd.Series[float]) -> None:
    severity = [0, *rows["severity"]]

    def course(column: str) -> list[float]:
        return [clean[column], *rows[column]]

    worst, best = course("worst_iou"), course("best_iou")
    axes.fill_between(severity, worst, best, color=BLUE, alpha=0.15, lw=0)
    axes.axhline(clean["mean_iou"], color=GREY, ls="--", lw=1)
    axes.plot(severity, course("mean_iou"), "o-", color=BLUE, ms=4)
    retained = rows["iou_retained"].mean()
    axes.set_title(f"{name.replace('_', ' ')}: {retained:.0%} kept", fontsize=10)


def contact_sheet(examples: list[Trial], path: Path) -> None:
    """Draw one image as the model saw it, with the outline it drew: a row a corruption.

    Args:
        examples: the clean trial of an image, then its corrupted ones, by corruption and severity.
        path: the PNG to write.
    """
    clean, *corrupted = examples
    names = list(dict.fromkeys(trial.corruption for trial in corrupted))
    severities = sorted({trial.severity for trial in corrupted})
    tile_height = round(_TILE_WIDTH * clean.truth.shape[0] / clean.truth.shape[1])
    pitch, columns_top = tile_height + _GAP, _HEAD + tile_height + _HEADINGS
    width = _LABELS + len(severities) * (_TILE_WIDTH + _GAP) - _GAP + _MARGIN
    height = columns_top + len(names) * pitch - _GAP + _MARGIN
    canvas = np.full((height, width, 3), 255, np.uint8)
    with house_style():
        figure = Figure(figsize=(width / DPI, height / DPI))

        def write(x: float, y: float, words: str, **style: Any) -> None:
            figure.text(x / width, 1 - y / height, words, parse_math=False, **style)

        for trial in examples:
            left, top = _LABELS, _HEAD
            if trial is not clean:
                left += (trial.severity - 1) * (_TILE_WIDTH + _GAP)
                top = columns_top + names.index(trial.corruption) * pitch
            tile = _outlined(trial, (tile_height, _TILE_WIDTH))
            canvas[top : top + tile_height, left : left + _TILE_WIDTH] = tile
            shadow = [withStroke(linewidth=2, foreground="black")]
            bottom = top + tile_height - 6
            score = f"{trial.scores['iou']:.3f}"
            write(left + 5, bottom, score, fontsize=8, color="white", path_effects=shadow)
        figure.figimage(canvas, origin="upper", zorder=-1)
        write(_MARGIN, 28, f"What the model draws on {clean.sample_id}", fontsize=12)
        write(_MARGIN, _HEAD + tile_height / 2, "clean", fontsize=9, va="center")
        legend = "number: IoU of the outline with\nwhat there is to see of the fish"
        write(_LABELS + _TILE_WIDTH + 12, _HEAD + 12, legend, fontsize=9, color=GREY, va="top")
        for severity in severities:
            middle = _LABELS + (severity - 1) * (_TILE_WIDTH + _GAP) + _TILE_WIDTH / 2
            name = f"severity {severity}"
            write(middle, columns_top - 6, name, fontsize=9, color=GREY, ha="center")
        for line, name in enumerate(names):
            middle = columns_top + line * pitch + tile_height / 2
            write(_MARGIN, middle, name.replace("_", " "), fontsize=9, va="center")
        save(figure, path)


def _outlined(trial: Trial, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image at another size with the prediction's outline on it."""
    picture: NDArray[np.uint8] = cv2.resize(trial.image, size[::-1], interpolation=cv2.INTER_AREA)
    share = cv2.resize(
        trial.prediction.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA
    )
    outlines, _ = cv2.findContours(
        (share >= 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(picture, outlines, -1, _OUTLINE_RGB, 1)
    return picture
