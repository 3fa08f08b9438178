"""How a training run went: six figures, the ones the starting project published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fishseg.plots.style import GREY, SPLIT_COLOURS, house_style, save

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

_QUANTITIES = {"loss": "loss", "iou": "IoU"}
_UNITS = {"loss": "loss (mean over images)", "iou": "IoU (mean over images)"}
_SPLITS = {"train": "training", "val": "validation"}
# Windows of the running mean in a whole run: enough to keep the steep start.
_WINDOWS = 100


def training_curves(steps: pd.DataFrame, epochs: pd.DataFrame, folder: Path) -> None:
    """Write the six figures ``1_train_loss_per_step.png`` to ``6_val_iou_per_step.png``.

    Args:
        steps: a row a batch: ``split`` (train or val), ``step`` (from 1, over all epochs of its
            split), and ``loss`` and ``iou``, means over the batch's images.
        epochs: a row an epoch: ``epoch`` (from 1), ``best`` (1 at the epoch that was kept), the
            means ``train_loss``, ``val_loss``, ``train_iou`` and ``val_iou``, and each with
            ``_std`` after its name, the spread to draw as a band.
        folder: where the figures go; made if it is missing.
    """
    _steps_figure(steps, "train", "loss", folder / "1_train_loss_per_step.png")
    _steps_figure(steps, "train", "iou", folder / "2_train_iou_per_step.png")
    _epochs_figure(epochs, "loss", folder / "3_loss_per_epoch.png")
    _steps_figure(steps, "val", "loss", folder / "4_val_loss_per_step.png")
    _epochs_figure(epochs, "iou", folder / "5_iou_per_epoch.png")
    _steps_figure(steps, "val", "iou", folder / "6_val_iou_per_step.png")


def _steps_figure(steps: pd.DataFrame, split: str, quantity: str, path: Path) -> None:
    """Every batch as a light line, and the running mean that the eye would draw."""
    rows = steps[steps["split"] == split]
    window = max(3, len(rows) // _WINDOWS)
    smooth = rows[quantity].rolling(window, center=True, min_periods=1).mean()
    colour = SPLIT_COLOURS[split]
    with house_style():
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(rows["step"], rows[quantity], color=colour, alpha=0.3, lw=0.8, label="one batch")
        axes.plot(rows["step"], smooth, color=colour, label=f"mean over {window} batches")
        axes.set_title(f"{_SPLITS[split].capitalize()} {_QUANTITIES[quantity]} per step")
        axes.set_xlabel(f"{_SPLITS[split]} step (batch, counted over all epochs)")
        _finish(figure, axes, quantity)
        save(figure, path)


def _epochs_figure(epochs: pd.DataFrame, quantity: str, path: Path) -> None:
    """Both splits' means, a band of one standard deviation, and the epoch that was kept."""
    with house_style():
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for split, name in _SPLITS.items():
            mean, std = epochs[f"{split}_{quantity}"], epochs[f"{split}_{quantity}_std"]
            colour = SPLIT_COLOURS[split]
            axes.fill_between(
                epochs["epoch"], mean - std, mean + std, color=colour, alpha=0.15, lw=0
            )
            axes.plot(epochs["epoch"], mean, "o-", color=colour, ms=4, label=f"{name} (mean ± std)")
        for epoch in epochs.loc[epochs["best"] == 1, "epoch"].tail(1):
            axes.axvline(epoch, color=GREY, ls="--", lw=1.2, label=f"epoch kept: {epoch}")
        axes.set_title(f"Training and validation {_QUANTITIES[quantity]} per epoch")
        axes.set_xlabel("epoch")
        _finish(figure, axes, quantity)
        save(figure, path)


def _finish(figure: Figure, axes: Axes, quantity: str) -> None:
    if quantity == "iou":
        axes.set_ylim(top=1)
    else:
        axes.set_ylim(bottom=0)
    axes.set_ylabel(_UNITS[quantity])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.legend(loc="outside lower center", ncols=3)
