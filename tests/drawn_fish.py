"""Tiny fish for tests that need no more than a bright shape on a board."""

from __future__ import annotations

import cv2
import numpy as np


def draw_fish(seed: int, width: int = 59, height: int = 44) -> tuple[np.ndarray, np.ndarray]:
    """A bright ellipse with a tail on a noisy blue board: image (H, W, 3) and mask (H, W)."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    centre = (width // 2 + int(rng.integers(-4, 5)), height // 2 + int(rng.integers(-3, 4)))
    angle = float(rng.uniform(0, 180))
    cv2.ellipse(mask, centre, (width // 4, height // 6), angle, 0, 360, 255, -1)
    image = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    image[..., 2] += 90
    image[mask > 0] = rng.integers(140, 250, (int((mask > 0).sum()), 3), dtype=np.uint8)
    return image, mask
