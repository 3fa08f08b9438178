"""Pictures for the page: small enough to embed, or files beside it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fishseg.errors import DataError
from fishseg.images.decoding import read_image
from fishseg.images.masks import read_mask
from fishseg.images.resizing import resize_image, resize_mask
from fishseg.parallel import ordered_map
from fishseg.plots.overlays import overlay

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from fishseg.params import ReportParams
    from fishseg.prediction.stored import Predicted

# From a file's name and content to the address that the page knows it by.
Place = Callable[[str, bytes], str]

_MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp"}
# The stages' own pictures, by the section of the page that shows them.
_FIGURES = {
    "audit": {
        "audit/masks.png": "The masks that agree least with those of their siblings, "
        "and what was used instead",
        "audit/photographs.png": "Copies, turned back into the frame of their photograph",
    },
    "calibration": {
        "evaluate/reliability.png": "How often a pixel is fish, against the probability "
        "that it was given",
        "evaluate/risk_coverage.png": "What is gained by keeping only the most confident "
        "predictions",
    },
    "robustness": {
        "robustness/contact_sheet.png": "Every corruption at the severities tried, "
        "with the outline that was predicted",
    },
}


def embedded(name: str, content: bytes) -> str:
    """A ``data:`` address, which holds the file itself."""
    encoded = base64.b64encode(content).decode("ascii")
    return f"data:{_MEDIA_TYPES[Path(name).suffix]};base64,{encoded}"


def beside(folder: Path, name: str) -> Place:
    """Put files into ``folder/name``, addressed from a page in ``folder``."""
    (folder / name).mkdir(exist_ok=True)

    def place(file_name: str, content: bytes) -> str:
        (folder / name / file_name).write_bytes(content)
        return f"{name}/{file_name}"

    return place


def add_pictures(
    scores: pd.DataFrame,
    predictions: Iterable[Predicted],
    threshold: float,
    params: ReportParams,
    place: Place,
) -> Iterator[dict[str, Any]]:
    """Each prediction's scores with the addresses of its pictures, in the predictions' order.

    Beside the columns of ``scores`` a record holds ``width`` and ``height`` in pixels and the
    addresses ``image``, ``thumbnail`` and ``masks`` (see `stacked_masks`).

    Raises:
        DataError: a file cannot be read, or a sample has no scores.
    """
    rows = {row["sample_id"]: row for row in as_records(scores)}

    def record(numbered: tuple[int, Predicted]) -> dict[str, Any]:
        number, predicted = numbered
        sample = predicted.sample
        if sample.sample_id not in rows:
            raise DataError(
                f"the sample {sample.sample_id} has no scores", remedy="dvc repro -f evaluate"
            )
        image = read_image(Path(sample.image_path))
        truth = read_mask(Path(sample.mask_path), image.shape[:2], sample.mask_rule)
        prediction = predicted.mask(threshold)
        size = size_within(image.shape[:2], params.picture_px)
        small = size_within(image.shape[:2], params.thumbnail_px)
        thumbnail = overlay(resize_image(image, small), shrink(prediction, small))
        masks = stacked_masks(shrink(truth, size), shrink(prediction, size))
        # Numbered: a sample's name need not be fit for a file or an address.
        return {
            **rows[sample.sample_id],
            "width": size[1],
            "height": size[0],
            "image": place(f"{number:05d}.webp", webp(resize_image(image, size), params.quality)),
            "thumbnail": place(f"{number:05d}-thumbnail.webp", webp(thumbnail, params.quality)),
            "masks": place(f"{number:05d}-masks.png", masks),
        }

    return ordered_map(record, enumerate(predictions))


def figures(plots: Path, params: ReportParams) -> dict[str, list[dict[str, Any]]]:
    """The stages' own pictures that there are, by section: ``caption, image, width, height``."""
    found: dict[str, list[dict[str, Any]]] = {section: [] for section in _FIGURES}
    for section, captions in _FIGURES.items():
        for name, caption in captions.items():
            if (plots / name).exists():
                picture = read_image(plots / name)
                found[section].append(
                    {
                        "caption": caption,
                        "image": embedded("figure.webp", webp(picture, params.quality)),
                        "width": picture.shape[1],
                        "height": picture.shape[0],
                    }
                )
    return found


def stacked_masks(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> bytes:
    """Two masks ``(H, W)`` as one `stencil`: truth above, prediction below."""
    return stencil(np.concatenate([truth, prediction]))


def stencil(mask: NDArray[np.bool_]) -> bytes:
    """A mask ``(H, W)`` as a PNG of one bit a pixel.

    Foreground is white, background transparent: a browser can colour it and cut with it without
    reading pixels, which it refuses for files beside a page that was opened from the disk.
    """
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG", optimize=True, transparency=0)
    return file.getvalue()


def webp(image: NDArray[np.uint8], quality: int) -> bytes:
    """An image ``(H, W, 3)`` as a small file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=quality)
    return file.getvalue()


def size_within(size: tuple[int, ...], longest_px: int) -> tuple[int, int]:
    """The ``(height, width)`` of a picture whose longer side is at most ``longest_px``."""
    height, width = size
    scale = min(1.0, longest_px / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def shrink(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask at a smaller ``(height, width)``."""
    if mask.shape == size:
        return mask
    shrunk: NDArray[np.bool_] = resize_mask(mask, size) >= 128
    return shrunk


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as a list of rows, with None where there is no number."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return rows
