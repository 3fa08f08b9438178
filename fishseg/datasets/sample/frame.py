"""The frame of every photograph and copy."""

from __future__ import annotations

import numpy as np

from fishseg.datasets.sample.noise import Field

WIDTH, HEIGHT = 590, 445
"""Size in pixels."""

SHAPE = (HEIGHT, WIDTH)


def pixel_axes() -> tuple[Field, Field]:
    """Pixels right of and below the middle of the frame, both ``(H, W)``."""
    x, y = np.meshgrid(
        np.arange(WIDTH, dtype=np.float32) - (WIDTH - 1) / 2,
        np.arange(HEIGHT, dtype=np.float32) - (HEIGHT - 1) / 2,
    )
    return x, y
