"""How every figure of the project looks, and how it becomes a file."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import matplotlib.style
from matplotlib.figure import Figure
from PIL import Image

from fishseg.store import write_whole

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

log = logging.getLogger(__name__)

# Okabe and Ito, "Color Universal Design", 2008: told apart with any kind of colour vision.
BLUE, SKY_BLUE, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILLION, GREY = "#E69F00", "#D55E00", "#6E6E6E"
SPLIT_COLOURS = {"train": BLUE, "val": VERMILLION, "test": GREEN}

DPI = 110
_HOUSE_STYLE = {
    "figure.dpi": DPI,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    # Agg gives up on a noisy line of tens of thousands of points unless it is drawn in pieces.
    "agg.path.chunksize": 10_000,
}


def house_style() -> AbstractContextManager[None]:
    """Matplotlib's own defaults and the project's settings, whatever the user's matplotlibrc."""
    return matplotlib.style.context(["default", _HOUSE_STYLE])


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG without metadata; matplotlib's own would hold its version.

    Pillow takes a third off matplotlib's file, by dropping the opaque alpha channel and trying
    harder.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as new:
        Image.open(drawn).convert("RGB").save(new, optimize=True)


def save_placeholder(path: Path, message: str) -> None:
    """Write a small picture with a sentence on it, where there is nothing to show."""
    log.warning("%s: %s", path.name, message)
    with house_style():
        figure = Figure(figsize=(8, 1))
        figure.text(0.5, 0.5, message, ha="center", va="center", color=GREY)
        save(figure, path)
