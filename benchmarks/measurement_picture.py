"""Draw the picture of docs/measurements.md: ``python -m benchmarks.measurement_picture``.

A copy of the sample set with its true mask, and on it everything that a row of
``measurements.csv`` says.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Circle, Rectangle
from numpy.typing import NDArray

from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import ZERO_255
from fishseg.images.masks import read_mask
from fishseg.measurement.size import Measurement, measure
from fishseg.plots.overlays import OUTLINE_RGB, overlay
from fishseg.plots.style import DPI, ORANGE, SKY_BLUE, house_style, save

FOLDER = Path("data/raw/Fish_Dataset/Fish_Dataset/Hourse Mackerel")
SAMPLE = "00003.png"
TARGET = Path("docs/pictures/measurements.png")


def main() -> None:
    """Measure the sample and draw it."""
    image = read_image(FOLDER / FOLDER.name / SAMPLE)
    mask = read_mask(FOLDER / f"{FOLDER.name} GT" / SAMPLE, image.shape[:2], ZERO_255)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    with house_style():
        save(draw(overlay(image, mask), mask, measure(mask)), TARGET)


def draw(picture: NDArray[np.uint8], mask: NDArray[np.bool_], fish: Measurement) -> Figure:
    """The annotated picture."""
    height, width = mask.shape
    figure = Figure(figsize=(width / DPI * 1.6, height / DPI * 1.6), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, extent=(0, width, height, 0))
    axes.axis("off")
    left, top, box_width, box_height = fish.box
    axes.add_patch(
        Rectangle((left, top), box_width, box_height, fill=False, ls=":", lw=1.2, color="white")
    )
    axes.plot(*fish.axis.T, color=SKY_BLUE, lw=2)
    axes.plot(*fish.axis[[0, -1]].T, color="white", lw=0.8, ls="--")
    axes.plot(*fish.centroid, "+", color="white", ms=10)
    axes.add_patch(Circle(widest(mask), fish.width_px / 2, fill=False, lw=1.6, color=ORANGE))
    lower = fish.axis[-fish.axis[[0, -1], 1].argmax()]
    axes.plot([lower[0], lower[0] + 60], [lower[1]] * 2, color="white", lw=0.8)
    axes.add_patch(
        Arc(lower, 80, 80, theta1=-fish.orientation_degrees, theta2=0, color="white", lw=0.8)
    )
    words = (
        (f"length {fish.length_px:.0f} px", "along the body axis", SKY_BLUE),
        (f"width {fish.width_px:.0f} px", "without fins", ORANGE),
        (f"area {fish.area_px:,} px", "within the outline", [level / 255 for level in OUTLINE_RGB]),
        (f"orientation {fish.orientation_degrees:.0f}°", "of the dashed line", "white"),
        ("box", "dotted", "white"),
        ("centroid", "+", "white"),
    )
    for row, (number, meaning, colour) in enumerate(words):
        text = f"{number}\n{meaning}"
        axes.text(0.05, 0.93 - 0.1 * row, text, color=colour, va="top", transform=axes.transAxes)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def widest(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Centre of the largest circle within a mask."""
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float(x) + 0.5, float(y) + 0.5


if __name__ == "__main__":
    main()
