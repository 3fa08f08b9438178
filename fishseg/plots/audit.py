"""The audit to look at: copies turned back, doubtful masks, and how they are spread.

Drawn from what the audit writes: ``copies.csv`` says where each sample comes from.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fishseg.images.decoding import read_image
from fishseg.images.masks import read_mask
from fishseg.plots.overlays import overlay
from fishseg.plots.style import BLUE, DPI, GREY, VERMILLION, house_style, save, save_placeholder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

_PHOTOS, _COPIES, _WORST = 9, 4, 9
_TILE_WIDTH, _GAP, _MARGIN, _CAPTION, _HEAD = 150, 4, 14, 20, 56
_MAX_TILE_SHAPE = 1.5
_BACKGROUND = 230


@dataclasses.dataclass(frozen=True)
class _Row:
    caption: str
    pictures: list[NDArray[np.uint8]]


def photographs(copies: pd.DataFrame, raw: Path, path: Path) -> None:
    """Draw some photographs, each with copies of it turned back into its frame.

    One photograph of each class, then the next of each.

    Args:
        copies: a row a sample: what ``data/audit/copies.csv`` says, with ``class_name,
            image_path, width, height``.
        raw: the folder that photographs are named from.
        path: the PNG to write.
    """
    placed = copies[copies["source"] != ""]
    sources = placed.groupby("source", sort=True).agg(
        class_name=("class_name", "first"), n_copies=("sample_id", "size")
    )
    sources = sources[sources["n_copies"] > 1]
    turn = sources.groupby("class_name").cumcount()
    chosen = sources.assign(turn=turn).sort_values(["turn", "class_name"], kind="stable")
    image_of = copies.set_index("sample_id")["image_path"]
    rows = []
    for source in chosen.index[:_PHOTOS]:
        # A photograph is named by its path, a copy that stands for one by its sample.
        file = Path(image_of[source]) if source in image_of.index else raw / source
        members = placed[placed["source"] == source]
        rows.append(_turned_back(source, read_image(file), members))
    columns = ["photograph", *[f"copy {number}" for number in range(1, _COPIES + 1)]]
    _draw_sheet(rows, columns, "Copies turned back into their photograph's frame", path)


def masks(copies: pd.DataFrame, path: Path) -> None:
    """Draw the masks that agree least with their siblings, and what came of them.

    Args:
        copies: a row a sample: ``sample_id, mask_agreement, mask_status, image_path,
            raw_mask_path, raw_mask_rule, mask_path, mask_rule, width, height``.
        path: the PNG to write.
    """
    known = copies.dropna(subset="mask_agreement")
    rows = []
    sample: Any
    for sample in known.sort_values("mask_agreement", kind="stable")[:_WORST].itertuples():
        size = (sample.height, sample.width)
        image = read_image(Path(sample.image_path))
        given = read_mask(Path(sample.raw_mask_path), size, sample.raw_mask_rule)
        pictures = [image, overlay(image, given)]
        if sample.mask_status != "rejected":
            used = read_mask(Path(sample.mask_path), size, sample.mask_rule)
            pictures.append(overlay(image, used))
        caption = f"IoU {sample.mask_agreement:.3f}   {sample.mask_status}   {sample.sample_id}"
        rows.append(_Row(caption, pictures))
    columns = ["image", "given mask", "mask used"]
    _draw_sheet(rows, columns, "The masks that agree least with their siblings", path)


def mask_agreement(copies: pd.DataFrame, path: Path) -> None:
    """Draw the agreement of all masks with their siblings' as a histogram.

    Args:
        copies: a row a sample: ``mask_agreement`` and ``mask_status``.
        path: the PNG to write.
    """
    known = copies.dropna(subset="mask_agreement")
    if known.empty:
        save_placeholder(path, "no mask has siblings to compare it with")
        return
    fits = known["mask_status"] == "ok"
    with house_style():
        figure = Figure(figsize=(8, 3), layout="constrained")
        axes = figure.subplots()
        axes.hist(
            [known.loc[fits, "mask_agreement"], known.loc[~fits, "mask_agreement"]],
            bins=np.linspace(0, 1, 101).tolist(),
            color=[BLUE, VERMILLION],
            label=["right", "wrong or in doubt"],
            stacked=True,
        )
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter("{x:.0f}")
        axes.set_xlabel("IoU of a mask with the consensus of its siblings")
        axes.set_ylabel("masks")
        axes.set_title("Agreement of the masks")
        axes.legend(loc="upper left")
        save(figure, path)


def group_sizes(copies: pd.DataFrame, path: Path) -> None:
    """Draw how many copies the photographs have.

    Args:
        copies: a row a sample: ``group_id``.
        path: the PNG to write.
    """
    sizes = copies["group_id"].value_counts().to_numpy()
    with house_style():
        figure = Figure(figsize=(8, 3), layout="constrained")
        axes = figure.subplots()
        axes.hist(sizes, bins=(np.arange(sizes.max() + 1) + 0.5).tolist(), color=BLUE)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("copies of a photograph")
        axes.set_ylabel("photographs")
        axes.set_title(f"{len(copies)} images of {len(sizes)} photographs")
        save(figure, path)


def _turned_back(name: str, photograph: NDArray[np.uint8], copies: pd.DataFrame) -> _Row:
    height, width = photograph.shape[:2]
    # Seen from the tile's size, so that large photographs are not drawn in full.
    tile = (_TILE_WIDTH, round(height * _TILE_WIDTH / width))
    to_tile = np.diag([tile[0] / width, tile[1] / height, 1])
    pictures = [cv2.resize(photograph, tile, interpolation=cv2.INTER_AREA)]
    copy: Any
    for copy in copies.head(_COPIES).itertuples():
        image = read_image(Path(copy.image_path))
        back = to_tile @ np.linalg.inv(_placement(copy, (height, width)))
        # As large as the tile before it is turned, so that nothing is sampled too coarsely.
        scale = min(1.0, 2 * _TILE_WIDTH / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        back = back @ np.diag([1 / scale, 1 / scale, 1])
        pictures.append(cv2.warpAffine(small, back[:2], tile, flags=cv2.INTER_LINEAR))
    return _Row(f"{name}   {len(copies)} copies", pictures)


def _placement(copy: Any, photograph_size: tuple[int, int]) -> NDArray[np.float64]:
    """The map from a photograph's pixels to its copy's ``(3, 3)``.

    Mirrored, turned, scaled and shifted as `fishseg.audit.registration.Pose` says.
    """
    angle = math.radians(copy.rotation_degrees)
    turned = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    linear = copy.scale * turned @ np.diag([-1.0 if copy.flipped else 1.0, 1.0])
    height, width = photograph_size
    photograph_middle = np.array([(width - 1) / 2, (height - 1) / 2])
    copy_middle = np.array([(copy.width - 1) / 2, (copy.height - 1) / 2])
    placement = np.eye(3)
    placement[:2, :2] = linear
    shift = np.array([copy.shift_x, copy.shift_y])
    placement[:2, 2] = copy_middle + shift - linear @ photograph_middle
    return placement


def _draw_sheet(rows: Sequence[_Row], columns: Sequence[str], title: str, path: Path) -> None:
    """Write pictures in rows and columns, with words above each row and column."""
    if not rows:
        save_placeholder(path, f"{title}: there are none")
        return
    shapes = [picture.shape[0] / picture.shape[1] for row in rows for picture in row.pictures]
    tile_height = round(_TILE_WIDTH * min(float(np.median(shapes)), _MAX_TILE_SHAPE))
    pitch = tile_height + _CAPTION + _GAP
    width = 2 * _MARGIN + len(columns) * (_TILE_WIDTH + _GAP) - _GAP
    height = _HEAD + len(rows) * pitch + _MARGIN
    canvas = np.full((height, width, 3), 255, np.uint8)
    for line, row in enumerate(rows):
        top = _HEAD + line * pitch + _CAPTION
        for column, picture in enumerate(row.pictures):
            left = _MARGIN + column * (_TILE_WIDTH + _GAP)
            tile = _fit(picture, tile_height)
            canvas[top : top + tile_height, left : left + _TILE_WIDTH] = tile
    with house_style():
        figure = Figure(figsize=(width / DPI, height / DPI))
        figure.figimage(canvas, origin="upper")
        figure.text(_MARGIN / width, 1 - 24 / height, title, fontsize=12)
        for column, name in enumerate(columns):
            x = _MARGIN + column * (_TILE_WIDTH + _GAP) + _TILE_WIDTH / 2
            y = 1 - (_HEAD - 6) / height
            figure.text(x / width, y, name, fontsize=9, color=GREY, ha="center")
        for line, row in enumerate(rows):
            y = 1 - (_HEAD + line * pitch + _CAPTION - 5) / height
            # A file name may hold a dollar sign, which is no formula.
            figure.text(_MARGIN / width, y, row.caption, fontsize=8, parse_math=False)
        save(figure, path)


def _fit(picture: NDArray[np.uint8], tile_height: int) -> NDArray[np.uint8]:
    """The whole picture in the middle of a grey tile."""
    scale = min(_TILE_WIDTH / picture.shape[1], tile_height / picture.shape[0])
    inner = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    tile = np.full((tile_height, _TILE_WIDTH, 3), _BACKGROUND, np.uint8)
    x, y = (_TILE_WIDTH - inner[0]) // 2, (tile_height - inner[1]) // 2
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile[y : y + inner[1], x : x + inner[0]] = cv2.resize(picture, inner, interpolation=how)
    return tile
