"""Fish in COCO's format, which annotation tools and `pycocotools` read.

An annotation has one segmentation. Run lengths hold a mask exactly; polygons can be edited by
hand, but hold no holes. Hence two files. The format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import contourpy
import cv2
import numpy as np

from fishseg.images.masks import of_run_lengths
from fishseg.measurement.size import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Json: TypeAlias = dict[str, Any]
CATEGORY: Json = {"id": 1, "name": "fish", "supercategory": "animal"}
# An outline may leave its exact course by half a pixel, which makes polygons a tenth as long.
_TOLERANCE_PX = 0.5


def run_lengths(mask: Mask, origin: tuple[int, int], size: tuple[int, int]) -> Json:
    """A mask as uncompressed run lengths: column by column, background and fish in turn.

    Args:
        mask: ``(h, w)``, a part of a picture.
        origin: ``(x, y)`` of its top left corner there.
        size: ``(height, width)`` of the picture.
    """
    height, width = size
    x, y = origin
    columns = np.zeros((mask.shape[1], height), np.bool_)
    columns[:, y : y + mask.shape[0]] = mask.T
    changes = np.flatnonzero(np.diff(columns.ravel(), prepend=False, append=False)) + x * height
    counts = np.diff(changes, prepend=0, append=height * width)
    # Fish in the very last pixel leave no background behind them.
    counts = counts[:-1] if counts[-1] == 0 else counts
    return {"counts": counts.tolist(), "size": [height, width]}


def numbered(lengths: Sequence[Json], size: tuple[int, int]) -> NDArray[np.int32]:
    """The fish of a picture of a ``(height, width)`` by number, ``(H, W)``, of their `run_lengths`.

    Numbers begin at 1, in the order given; 0 is what is no fish.
    """
    objects = np.zeros(size, np.int32)
    for number, one in enumerate(lengths, start=1):
        objects[of_run_lengths(one["counts"], size)] = number
    return objects


def polygons(mask: Mask, origin: tuple[int, int]) -> list[list[float]]:
    """The outer outlines of a mask as ``[x, y, x, y, ...]``, to half a pixel.

    Args:
        mask: ``(h, w)``, a part of a picture.
        origin: ``(x, y)`` of its top left corner there.
    """
    generator = contourpy.contour_generator(z=np.pad(mask, 1).astype(np.float64))
    found = []
    for line in generator.lines(0.5):
        outline = np.asarray(line, np.float32)
        # contourpy walks outlines counter-clockwise and holes clockwise.
        if cv2.contourArea(outline, oriented=True) > 0:
            corners = cv2.approxPolyDP(outline, _TOLERANCE_PX, closed=True)[:, 0]
            # A polygon needs three corners; a pixel's outline has four, however it is simplified.
            corners = corners if len(corners) > 2 else outline[:-1]
            # The margin takes away one pixel, and pixels begin half a pixel before their centres.
            found.append((corners - 0.5 + origin).round(2).ravel().tolist())
    return found


def write(
    path: Path, images: Callable[[], Iterable[Json]], annotations: Callable[[], Iterable[Json]]
) -> None:
    """Write a COCO file entry by entry, so that any number of pictures fits into memory.

    Args:
        path: the file to write.
        images: gives the entries of ``images``.
        annotations: gives those of ``annotations``.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {{}}, "licenses": [], "categories": [{json.dumps(CATEGORY)}]')
        for key, entries in (("images", images), ("annotations", annotations)):
            file.write(f', "{key}": [')
            for number, entry in enumerate(entries()):
                file.write((",\n" if number else "\n") + json.dumps(entry, ensure_ascii=False))
            file.write("]")
        file.write("}\n")
