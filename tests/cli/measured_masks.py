"""`fishseg measure` on photographs and masks that are drawn for a test."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fishseg import cli


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["measure", *map(str, arguments)])
    return stopped.value.code


def photograph(path: str, size: tuple[int, int] = (90, 60)) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 99, 199)).save(path)


def mask(path: str, *boxes: tuple[int, int, int, int], size: tuple[int, int] = (90, 60)) -> None:
    """A black mask with white boxes ``left, top, width, height``."""
    pixels = np.zeros((size[1], size[0]), np.uint8)
    for left, top, width, height in boxes:
        pixels[top : top + height, left : left + width] = 255
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def table(out: str = "out") -> list[dict[str, str]]:
    with Path(out, "measurements.csv").open(newline="") as file:
        return list(csv.DictReader(file))
