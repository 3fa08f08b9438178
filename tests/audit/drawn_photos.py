"""Drawn photographs of fish and their turned copies, small and quick."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from fishseg.audit.matching import File

HEIGHT, WIDTH = 150, 200


def draw_board(seed: int) -> NDArray[np.uint8]:
    """An empty board with stains and scratches, RGB."""
    rng = np.random.default_rng([1, seed])
    board = np.full((HEIGHT, WIDTH, 3), (60, 90, 150), np.uint8)
    for _ in range(25):
        centre = (int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)))
        shade = [int(level) for level in rng.integers(40, 180, 3)]
        cv2.circle(board, centre, int(rng.integers(2, 9)), shade, -1, cv2.LINE_AA)
    noise = rng.normal(0, 3, board.shape)
    noisy: NDArray[np.uint8] = np.clip(board + noise, 0, 255).astype(np.uint8)
    return noisy


def draw_photo(seed: int, board: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A fish on a board: RGB image and mask. Photos of one board differ in the fish only."""
    rng = np.random.default_rng([2, seed])
    image = draw_board(seed if board is None else board)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y = WIDTH // 2 + int(rng.integers(-12, 13)), HEIGHT // 2 + int(rng.integers(-10, 11))
    angle = float(rng.uniform(0, 360))
    cv2.ellipse(mask, (x, y), (60, 19), angle, 0, 360, 255, -1)
    tail = (int(x - 62 * np.cos(np.radians(angle))), int(y - 62 * np.sin(np.radians(angle))))
    cv2.circle(mask, tail, 13, 255, -1)
    skin = np.clip(cv2.GaussianBlur(rng.normal(150, 260, (HEIGHT, WIDTH)), (0, 0), 2.0), 40, 250)
    image[mask > 0] = skin[mask > 0][:, None] * np.array([1.0, 0.9, 0.8])
    return image, mask > 0


def transform(
    flipped: bool, degrees: float, size: tuple[int, int] = (HEIGHT, WIDTH)
) -> NDArray[np.float64]:
    """The map of a copy: mirrored left-right, then turned counter-clockwise about the middle."""
    middle = ((size[1] - 1) / 2, (size[0] - 1) / 2)
    turn = np.vstack([cv2.getRotationMatrix2D(middle, degrees, 1.0), [0, 0, 1]])
    mirror = np.array([[-1, 0, size[1] - 1], [0, 1, 0], [0, 0, 1]], np.float64)
    return turn @ mirror if flipped else turn


def moved(pixels: NDArray[np.generic], affine: NDArray[np.float64]) -> NDArray[np.uint8]:
    """An image or a mask in a frame of the same size, black beyond its edge."""
    if pixels.dtype == np.bool_:
        levels = cv2.warpAffine(pixels.astype(np.uint8) * 255, affine[:2], pixels.shape[1::-1])
        return np.where(levels >= 128, 255, 0).astype(np.uint8)
    copied: NDArray[np.uint8] = cv2.warpAffine(pixels, affine[:2], pixels.shape[1::-1], flags=2)
    return copied


def write(path: Path, pixels: NDArray[np.uint8]) -> File:
    """Write an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return File(path, hashlib.sha256(path.read_bytes()).hexdigest())


class DrawnSet:
    """A data set in the Kaggle layout, with what is known of each copy."""

    def __init__(self, raw: Path) -> None:
        self.raw = raw
        self.truth: dict[str, tuple[str, bool, float]] = {}
        self._counts: dict[str, int] = {}

    def add_photo(self, class_name: str, name: str, image: NDArray[np.uint8]) -> str:
        """Write a photograph; return its path from ``raw``."""
        place = f"NA_Fish_Dataset/{class_name}/{name}"
        write(self.raw / place, image)
        return place

    def add_copy(
        self,
        class_name: str,
        photo: tuple[NDArray[np.uint8], NDArray[np.bool_]],
        *,
        source: str = "",
        flipped: bool = False,
        degrees: float = 0.0,
        mask: NDArray[np.uint8] | None = None,
    ) -> str:
        """Write a copy with its own mask or another; return its ``sample_id``."""
        self._counts[class_name] = number = self._counts.get(class_name, 0) + 1
        affine = transform(flipped, degrees, photo[1].shape)
        folder = self.raw / "Fish_Dataset/Fish_Dataset" / class_name
        write(folder / class_name / f"{number:05d}.png", moved(photo[0], affine))
        own = moved(photo[1], affine)
        write(folder / f"{class_name} GT" / f"{number:05d}.png", own if mask is None else mask)
        sample_id = f"{class_name}/{number:05d}"
        self.truth[sample_id] = (source, flipped, degrees)
        return sample_id

    def check(self, copies: pd.DataFrame) -> None:
        """Fail unless each copy was placed as it was made."""
        for row in copies.to_dict("records"):
            source, flipped, degrees = self.truth[row["sample_id"]]
            assert row["source"] == source, row
            assert bool(row["flipped"]) == flipped, row
            assert abs((row["rotation_degrees"] - degrees + 180) % 360 - 180) < 0.5, row
            assert row["confidence"] > 0.25, row
