"""What corruptions cost, as curves and to look at."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from fishseg.plots.overlays import OUTLINE_RGB
from fishseg.plots.style import BLUE, DPI, GREY, house_style, save

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray


_PANEL_COLUMNS = 4
_TILE_WIDTH, _GAP, _MARGIN, _LABELS, _HEAD, _HEADINGS = 128, 4, 14, 112, 50, 24
_LEAST_WIDTH, _BACKGROUND = 520, 230


def severity_curves(table: pd.DataFrame, path: Path) -> None:
    """Draw the share of the IoU that is kept against the severity, a panel a corruption.

    Args:
        table: what `fishseg.robustness.measure.tabulate` gives.
        path: the PNG to write.
    """
    courses = dict(list(table.groupby("corruption", sort=False)))
    sums = table.assign(
        kept=table["mean_iou"] * table["n_images"], whole=table["clean_iou"] * table["n_images"]
    )
    means = sums.groupby("severity")[["kept", "whole", "n_images"]].sum().reset_index()
    courses["all together"] = means.assign(iou_retained=means["kept"] / means["whole"])
    n_rows = math.ceil(len(courses) / _PANEL_COLUMNS)
    with house_style():
        figure = Figure(figsize=(10, 0.7 + 2.1 * n_rows), layout="constrained")
        panels = figure.subplots(
            n_rows, _PANEL_COLUMNS, sharex=True, sharey=True, squeeze=False
        ).ravel()
        for axes, (name, rows) in zip(panels, courses.items(), strict=False):
            severity = [0, *rows["severity"]]
            axes.axhline(1, color=GREY, ls="--", lw=1)
            axes.plot(severity, [1, *rows["iou_retained"]], "o-", color=BLUE, ms=4)
            n_images = int(rows["n_images"].sum())
            axes.set_title(f"{str(name).replace('_', ' ')}: {n_images} trials", fontsize=10)
        for number in range(len(courses), len(panels)):
            panels[number].set_visible(False)
            panels[number - _PANEL_COLUMNS].tick_params(labelbottom=True)
        panels[0].set_ylim(0, 1.15)
        panels[0].set_xticks([0, *means["severity"]], ["clean", *means["severity"].map(str)])
        figure.supxlabel("severity", fontsize="medium")
        figure.supylabel("share of the same photographs' clean IoU", fontsize="medium")
        save(figure, path)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spoiled:
    """A corrupted photograph as the model saw it, and what it found.

    Attributes:
        corruption: what was done to it.
        severity: how much of it, from 1 to 5.
        iou: of the outline with what there is to see of the fish.
        image: ``(H, W, 3)`` uint8 RGB.
        prediction: ``(H, W)`` bool.
    """

    corruption: str
    severity: int
    iou: float
    image: NDArray[np.uint8]
    prediction: NDArray[np.bool_]


def contact_sheet(examples: list[Spoiled], path: Path) -> None:
    """Draw photographs as the model saw them, with the outline it drew: a row a corruption.

    Args:
        examples: one of each corruption and severity, by corruption and severity.
        path: the PNG to write.
    """
    names = list(dict.fromkeys(trial.corruption for trial in examples))
    severities = sorted({trial.severity for trial in examples})
    shapes = sorted(trial.image.shape[0] / trial.image.shape[1] for trial in examples)
    tile_height = round(_TILE_WIDTH * min(max(shapes[len(shapes) // 2], 0.1), 2))
    pitch, columns_top = tile_height + _GAP, _HEAD + _HEADINGS
    width = max(_LABELS + len(severities) * (_TILE_WIDTH + _GAP) - _GAP + _MARGIN, _LEAST_WIDTH)
    height = columns_top + len(names) * pitch - _GAP + _MARGIN
    canvas = np.full((height, width, 3), 255, np.uint8)
    with house_style():
        figure = Figure(figsize=(width / DPI, height / DPI))

        def write(x: float, y: float, words: str, **style: Any) -> None:
            figure.text(x / width, 1 - y / height, words, parse_math=False, **style)

        for trial in examples:
            left = _LABELS + severities.index(trial.severity) * (_TILE_WIDTH + _GAP)
            top = columns_top + names.index(trial.corruption) * pitch
            tile = _outlined(trial, (tile_height, _TILE_WIDTH))
            canvas[top : top + tile_height, left : left + _TILE_WIDTH] = tile
            shadow = [withStroke(linewidth=2, foreground="black")]
            score = f"{trial.iou:.3f}"
            bottom = top + tile_height - 6
            write(left + 5, bottom, score, fontsize=8, color="white", path_effects=shadow)
        figure.figimage(canvas, origin="upper", zorder=-1)
        write(_MARGIN, 28, "What the model draws on spoiled photographs", fontsize=12)
        legend = "number: IoU of the outline with what there is to see of the fish"
        write(_MARGIN, 44, legend, fontsize=9, color=GREY)
        for column, severity in enumerate(severities):
            middle = _LABELS + column * (_TILE_WIDTH + _GAP) + _TILE_WIDTH / 2
            name = f"severity {severity}"
            write(middle, columns_top - 6, name, fontsize=9, color=GREY, ha="center")
        for line, name in enumerate(names):
            middle = columns_top + line * pitch + tile_height / 2
            write(_MARGIN, middle, name.replace("_", " "), fontsize=9, va="center")
        save(figure, path)


def _outlined(trial: Spoiled, tile: tuple[int, int]) -> NDArray[np.uint8]:
    """The whole image in the middle of a grey tile ``(h, w)``, with the prediction's outline."""
    height, width = trial.prediction.shape
    scale = min(tile[0] / height, tile[1] / width)
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    picture: NDArray[np.uint8] = cv2.resize(trial.image, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(trial.prediction.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    outlines, _ = cv2.findContours(
        (share >= 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(picture, outlines, -1, OUTLINE_RGB, 1)
    framed = np.full((*tile, 3), _BACKGROUND, np.uint8)
    y, x = (tile[0] - size[1]) // 2, (tile[1] - size[0]) // 2
    framed[y : y + size[1], x : x + size[0]] = picture
    return framed
