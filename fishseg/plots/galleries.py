"""Images with their masks and what is wrong with them, many to a page.

The page is put together in pixels, so that no tile is resampled twice; matplotlib writes the text.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fishseg.plots.style import DPI, GREY, ORANGE, SKY_BLUE, house_style, save, save_placeholder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_COLUMNS = ("image", "ground truth", "prediction", "errors")
_MISSED, _ADDED, _CORRECT = ORANGE, SKY_BLUE, "#FFFFFF"
_LEGEND = {
    _CORRECT: "fish, found (lightened)",
    _MISSED: "fish, missed",
    _ADDED: "background, taken for fish",
}
_TILE_BACKGROUND = 230
# Twenty images, each shown as a photograph and as errors, make 1.5 MB even if they are pure noise.
_PAGE_AREA_PX = 340_000
_TILE_AREA_PX = (17_000, 48_000)  # 150 x 113 can just be read; more than 252 x 190 is no use


@dataclasses.dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """One image of a gallery: (H, W, 3) uint8 RGB, two (H, W) bool masks, and what to call it."""

    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    iou: float
    class_name: str
    sample_id: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Page:
    """Where things go, in pixels from the top left corner.

    Items fill ``blocks`` columns of strips, downwards first; a strip is four tiles in a row.
    """

    n_items: int
    tile_width: int
    tile_height: int
    blocks: int

    margin: int = 16
    gap: int = 6
    caption: int = 24
    head: int = 84

    @property
    def rows(self) -> int:
        return math.ceil(self.n_items / self.blocks)

    @property
    def strip_width(self) -> int:
        return len(_COLUMNS) * (self.tile_width + self.gap) - self.gap

    @property
    def width(self) -> int:
        return self.blocks * (self.strip_width + 2 * self.margin)

    @property
    def height(self) -> int:
        return self.head + self.rows * (self.caption + self.tile_height) + self.margin

    def strip_at(self, index: int) -> tuple[int, int]:
        """Left and top of an item's tiles; its caption stands in the gap above them."""
        block, row = divmod(index, self.rows)
        left = self.margin + block * (self.strip_width + 2 * self.margin)
        top = self.head + row * (self.caption + self.tile_height) + self.caption
        return left, top


def gallery(items: list[GalleryItem], path: Path, title: str) -> None:
    """Write a page with a row an image: the image, both masks, and the errors in colour.

    Images of any size and shape fit; twenty of them stay below 1.5 MB. Without any, the page
    says so.

    Args:
        items: what to show, in reading order: down the first block, then the next.
        path: the PNG to write.
        title: what the page shows.
    """
    if not items:
        save_placeholder(path, f"{title}: no images")
        return
    page = _page_for(items)
    canvas = np.full((page.height, page.width, 3), 255, np.uint8)
    for index, item in enumerate(items):
        left, top = page.strip_at(index)
        for column, picture in enumerate(_tiles(item)):
            x = left + column * (page.tile_width + page.gap)
            tile = _fit(picture, page.tile_width, page.tile_height)
            canvas[top : top + page.tile_height, x : x + page.tile_width] = tile
    with house_style():
        figure = Figure(figsize=(page.width / DPI, page.height / DPI))
        figure.figimage(canvas, origin="upper")
        _write_text(figure, page, items, title)
        save(figure, path)


def errors_picture(item: GalleryItem) -> NDArray[np.uint8]:
    """The image in grey, missed and added pixels in colour, the fish that was found lightened."""
    picture = np.repeat(cv2.cvtColor(item.image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) * 0.6
    for region, colour, opacity in (
        (item.truth & item.prediction, _CORRECT, 0.45),
        (item.truth & ~item.prediction, _MISSED, 0.85),
        (item.prediction & ~item.truth, _ADDED, 0.85),
    ):
        paint = np.array(to_rgb(colour)) * 255
        picture[region] = (1 - opacity) * picture[region] + opacity * paint
    return picture.astype(np.uint8)


def _page_for(items: list[GalleryItem]) -> _Page:
    """Blocks that make the page about as wide as high, tiles that keep the file small."""
    heights_per_width = [item.image.shape[0] / item.image.shape[1] for item in items]
    # Extreme formats get grey bars rather than squeeze all the others.
    shape = float(np.clip(np.median(heights_per_width), 0.5, 1.5))
    area_px = float(np.clip(_PAGE_AREA_PX / len(items), *_TILE_AREA_PX))
    return _Page(
        n_items=len(items),
        tile_width=round(math.sqrt(area_px / shape)),
        tile_height=round(math.sqrt(area_px * shape)),
        blocks=max(1, round(math.sqrt(len(items) / 5))),
    )


def _tiles(item: GalleryItem) -> tuple[NDArray[np.uint8], ...]:
    truth, prediction = (
        np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
        for mask in (item.truth, item.prediction)
    )
    return item.image, truth, prediction, errors_picture(item)


def _fit(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The whole picture in the middle of a grey tile."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile = np.full((height, width, 3), _TILE_BACKGROUND, np.uint8)
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    tile[y : y + inner[1], x : x + inner[0]] = cv2.resize(picture, inner, interpolation=how)
    return tile


def _write_text(figure: Figure, page: _Page, items: list[GalleryItem], title: str) -> None:
    def write(x: float, y: float, words: str, **style: Any) -> None:
        # A file name may hold a dollar sign, which is no formula.
        figure.text(x / page.width, 1 - y / page.height, words, parse_math=False, **style)

    write(page.margin, 28, title, fontsize=12)
    figure.legend(
        handles=[Patch(fc=colour, ec=GREY, label=name) for colour, name in _LEGEND.items()],
        loc="upper left",
        bbox_to_anchor=(page.margin / page.width, 1 - 38 / page.height),
        borderaxespad=0,
        borderpad=0,
        ncols=len(_LEGEND),
        fontsize=9,
    )
    for index, item in enumerate(items):
        left, top = page.strip_at(index)
        write(left, top - 6, _caption(item, page.strip_width), fontsize=8)
        if index % page.rows == 0:
            for column, name in enumerate(_COLUMNS):
                middle = left + column * (page.tile_width + page.gap) + page.tile_width / 2
                write(middle, top - page.caption, name, fontsize=9, color=GREY, ha="center")


def _caption(item: GalleryItem, width_px: int) -> str:
    name = item.sample_id.removeprefix(f"{item.class_name}/")
    caption = f"IoU {item.iou:.3f}   {item.class_name}   {name}"
    longest = width_px // 8  # a wide letter of this size is 8 px
    return caption if len(caption) <= longest else caption[: longest - 1] + "…"
