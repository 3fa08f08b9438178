"""Photographs with a permissive licence: what is behind fish, and what is no fish.

Each lies in ``photographs/`` as a small JPEG file; ``photographs.yaml`` says who took it and what
its licence is.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter
from ruamel.yaml import YAML

from fishseg.datasets.sample.camera import Picture
from fishseg.datasets.sample.noise import Field

FOLDER = Path(__file__).with_name("photographs")


class Photograph(BaseModel):
    """A photograph and where it comes from.

    Args:
        kind: ``place`` is a panorama, ``thing`` shows things or people, ``texture`` a surface.
        package: the package and version it was taken from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["place", "thing", "texture"]
    title: str
    author: str
    licence: Literal["CC0 1.0", "public domain", "CC BY 2.0", "no known restrictions"]
    package: str


PHOTOGRAPHS = TypeAdapter(dict[str, Photograph]).validate_python(
    YAML(typ="safe").load(Path(__file__).with_name("photographs.yaml"))
)
"""Every photograph by the stem of its file."""


@functools.cache
def load(name: str) -> Picture:
    """A photograph's pixels, RGB ``(H, W, 3)``."""
    code = np.frombuffer((FOLDER / f"{name}.jpg").read_bytes(), np.uint8)
    picture = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(picture[..., ::-1])


def of_kind(*kinds: str) -> list[str]:
    """The names of all photographs of some kinds."""
    return [name for name, photograph in PHOTOGRAPHS.items() if photograph.kind in kinds]


def crop(
    name: str, shape: tuple[int, int], rng: np.random.Generator, *, smallest: float = 0.45
) -> Field:
    """A part of a photograph, turned over or not, as linear light ``(H, W, 3)``.

    Args:
        name: of the photograph.
        shape: height and width of the part asked for.
        rng: draws which part.
        smallest: side of the smallest part as a share of the largest that fits.
    """
    picture = load(name)
    height, width = picture.shape[:2]
    fit = min(height / shape[0], width / shape[1]) * rng.uniform(smallest, 1.0)
    rows, columns = shape[0] * fit, shape[1] * fit
    top, left = rng.uniform(0, height - rows), rng.uniform(0, width - columns)
    to_photograph = np.array([[fit, 0, left], [0, fit, top]])
    if rng.random() < 0.5:
        to_photograph = np.array([[-fit, 0, left + columns - 1], [0, fit, top]])
    part = cv2.warpAffine(
        picture,
        to_photograph,
        shape[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray((part / np.float32(255)) ** np.float32(2.2), np.float32)
