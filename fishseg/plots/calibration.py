"""Whether probabilities and confidences keep what they promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fishseg.plots.style import GREY, SPLIT_COLOURS, house_style, save, save_placeholder

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

_SMALLEST_SHARE = 1e-5


def reliability(table: pd.DataFrame, path: Path) -> None:
    """Draw how many pixels of each probability are fish, a column a split; below, how many pixels.

    Args:
        table: what `fishseg.metrics.calibration.reliability` gives, with ``split``.
        path: the PNG to write.
    """
    splits = list(table.loc[table["n_pixels"] > 0, "split"].unique())
    if not splits:
        save_placeholder(path, "no pixel was counted")
        return
    with house_style():
        figure = Figure(figsize=(4.2 * len(splits) + 0.6, 5.6), layout="constrained")
        panels = figure.subplots(
            2, len(splits), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1)
        )
        for column, split in enumerate(splits):
            rows = table[table["split"] == split]
            _diagram(panels[0, column], split, rows)
            panels[1, column].bar(
                rows["low"],
                rows["n_pixels"] / rows["n_pixels"].sum(),
                width=rows["high"] - rows["low"],
                align="edge",
                color=SPLIT_COLOURS[split],
                edgecolor="white",
            )
        panels[1, 0].set_yscale("log")
        panels[1, 0].set_ylim(_SMALLEST_SHARE, 1)
        panels[1, 0].yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        panels[0, 0].set_ylabel("share that is fish")
        panels[1, 0].set_ylabel("share of the pixels")
        figure.supxlabel("probability of fish", fontsize="medium")
        save(figure, path)


def _diagram(axes: Axes, split: str, rows: pd.DataFrame) -> None:
    """What was kept of each promise; on the diagonal, all of it."""
    curve = rows[rows["n_pixels"] > 0]
    gap = (curve["probability"] - curve["fish_fraction"]).abs() * curve["n_pixels"]
    ece = gap.sum() / curve["n_pixels"].sum()
    axes.plot([0, 1], [0, 1], color="black", ls="--", lw=1)
    axes.plot(
        curve["probability"],
        curve["fish_fraction"],
        "o-",
        color=SPLIT_COLOURS[split],
        ms=4,
        label=f"ECE {ece:.4f}",
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_title(split)
    axes.legend(loc="upper left", fontsize=9)


def risk_coverage(table: pd.DataFrame, path: Path) -> None:
    """Draw the error that remains where only the most confident images are kept.

    Args:
        table: a row an image in the order of confidence: ``split``, ``coverage``, ``risk`` and
            ``optimal_risk``.
        path: the PNG to write.
    """
    splits = list(table["split"].unique())
    if not splits:
        save_placeholder(path, "no image was scored")
        return
    with house_style():
        figure = Figure(figsize=(4.2 * len(splits) + 0.6, 3.6), layout="constrained")
        panels = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
        for axes, split in zip(panels, splits, strict=True):
            rows = table[table["split"] == split]
            everything = rows["risk"].iloc[-1]
            axes.axhline(everything, color="black", ls="--", lw=1, label="in a random order")
            axes.plot(
                rows["coverage"],
                rows["risk"],
                color=SPLIT_COLOURS[split],
                label="by confidence",
            )
            axes.plot(
                rows["coverage"], rows["optimal_risk"], color=GREY, ls=":", label="by true IoU"
            )
            axes.set_xlim(0, 1)
            axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
            axes.set_title(f"{split}: {len(rows):,} images")
            axes.legend(loc="lower right", fontsize=9)
        panels[0].set_ylim(bottom=0)
        panels[0].set_ylabel("mean 1 − IoU of those kept")
        figure.supxlabel("images kept, the most confident first", fontsize="medium")
        save(figure, path)
