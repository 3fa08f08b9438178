"""How the scores are spread: over the images of a split, and over the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fishseg.plots.style import GREY, SPLIT_COLOURS, house_style, save, save_placeholder

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

_CLASS_METRICS = {"mean_iou": "mean IoU", "boundary_iou": "mean boundary IoU"}
_CLASS_SPLITS = ("val", "test")


def iou_histogram(scores: pd.DataFrame, path: Path) -> None:
    """Draw the IoU of every image as one histogram a split, one below the other.

    A tick on the axis marks each single image, so that the few bad ones show.

    Args:
        scores: a row an image: ``split`` and ``iou``.
        path: the PNG to write.
    """
    splits = [split for split in SPLIT_COLOURS if (scores["split"] == split).any()]
    if not splits:
        save_placeholder(path, "no image was scored")
        return
    # From the tenth below the worst image: most of [0, 1] would be empty.
    lowest = min(np.floor(scores["iou"].min() * 10) / 10, 0.9)
    bins = np.linspace(lowest, 1, 51)
    with house_style():
        figure = Figure(figsize=(8, 1 + 1.8 * len(splits)), layout="constrained")
        panels = figure.subplots(len(splits), 1, sharex=True, squeeze=False)[:, 0]
        for axes, split in zip(panels, splits, strict=True):
            _histogram(axes, split, scores.loc[scores["split"] == split, "iou"].to_numpy(), bins)
        panels[-1].set_xlabel("IoU of an image")
        figure.supylabel("share of the images", fontsize="medium")
        save(figure, path)


def _histogram(axes: Axes, split: str, ious: np.ndarray, bins: np.ndarray) -> None:
    colour = SPLIT_COLOURS[split]
    axes.hist(ious, bins=bins.tolist(), weights=np.full(len(ious), 1 / len(ious)), color=colour)
    # Below the bars, in units of the axes' height.
    axes.plot(
        ious,
        np.full(len(ious), -0.06),
        "|",
        color=colour,
        alpha=0.5,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
    )
    axes.axvline(ious.mean(), color="black", ls="--", lw=1.2)
    images = "1 image" if len(ious) == 1 else f"{len(ious):,} images"
    axes.set_title(f"{split}: {images}, mean {ious.mean():.3f} (dashed)")
    axes.set_xlim(bins[0], bins[-1])
    axes.tick_params(axis="x", pad=10)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))


def per_class_bars(summary: dict[str, Any], path: Path) -> None:
    """Draw mean IoU and mean boundary IoU of each class, in val and in test.

    Args:
        summary: the content of ``metrics/evaluate.json``: for each split its metrics.
        path: the PNG to write.
    """
    per_class = {split: summary.get(split, {}).get("per_class", {}) for split in _CLASS_SPLITS}
    splits = [split for split in _CLASS_SPLITS if per_class[split]]
    classes = sorted({name for split in splits for name in per_class[split]})
    if not classes:
        save_placeholder(path, "no image of val or test was scored")
        return
    with house_style():
        figure = Figure(figsize=(10, 1.6 + 0.25 * len(splits) * len(classes)), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (metric, name) in zip(panels, _CLASS_METRICS.items(), strict=True):
            for offset, split in enumerate(splits):
                values = [per_class[split].get(key, {}).get(metric, np.nan) for key in classes]
                _bars(axes, split, values, shift=offset - (len(splits) - 1) / 2, of=len(splits))
            axes.set_xlabel(name)
            axes.set_xlim(0, 1.15)  # room for the number behind a full bar
            axes.set_xticks(np.linspace(0, 1, 6))
            axes.grid(visible=False, axis="y")
        panels[0].set_yticks(range(len(classes)), [name.replace("_", " ") for name in classes])
        panels[0].invert_yaxis()
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(splits)
        )
        save(figure, path)


def _bars(axes: Axes, split: str, values: list[float], *, shift: float, of: int) -> None:
    """One split's bars; ``shift`` bars below the classes' lines, ``of`` bars to a class."""
    thickness = 0.8 / of
    bars = axes.barh(
        np.arange(len(values)) + shift * thickness,
        np.nan_to_num(values),
        height=thickness,
        color=SPLIT_COLOURS[split],
        label=split,
    )
    numbers = ["no image" if np.isnan(value) else f"{value:.3f}" for value in values]
    axes.bar_label(bars, numbers, padding=3, fontsize=8, color=GREY)
