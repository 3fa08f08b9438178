"""The audit to look at: copies turned back, doubtful masks, and how they are spread."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fishseg.audit.grey_image import Affine, scaling, warp
from fishseg.audit.verdicts import compare, families_of
from fishseg.images.decoding import read_image
from fishseg.images.masks import read_mask
from fishseg.plots.overlays import overlay
from fishseg.plots.style import BLUE, DPI, GREY, VERMILLION, house_style, save, save_placeholder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fishseg.audit.provenance import Audited
    from fishseg.audit.verdicts import Family
    from fishseg.params import AuditParams

_PHOTOS, _COPIES, _WORST = 9, 4, 9
_TILE_WIDTH, _GAP, _MARGIN, _CAPTION, _HEAD = 150, 4, 14, 20, 56
_MAX_TILE_SHAPE = 1.5
_BACKGROUND = 230


@dataclasses.dataclass(frozen=True)
class _Row:
    caption: str
    pictures: list[NDArray[np.uint8]]


def draw_audit(audited: Audited, params: AuditParams, folder: Path) -> None:
    """Write ``photographs.png``, ``masks.png``, ``agreement.png`` and ``group_size.png``.

    Args:
        audited: what to show.
        params: what it was made with.
        folder: the folder to write to, made if needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    families, _ = families_of(audited.samples, audited.traced)
    draw_photographs(families, folder / "photographs.png")
    draw_masks(audited, params, families, folder / "masks.png")
    draw_agreement(audited, params, folder / "agreement.png")
    draw_group_sizes(audited, folder / "group_size.png")


def draw_photographs(families: Sequence[Family], path: Path) -> None:
    """Draw some photographs, each with copies of it turned back into its frame.

    One photograph of each class, then the next of each.
    """
    seen: dict[str, int] = defaultdict(int)
    turns = []
    for family in families:
        if len(family.samples) > 1:
            turns.append((seen[family.source.class_name], family.source.name, family))
            seen[family.source.class_name] += 1
    turns.sort(key=lambda turn: turn[:2])
    rows = [_turned_back(family) for _, _, family in turns[:_PHOTOS]]
    columns = ["photograph", *[f"copy {number}" for number in range(1, _COPIES + 1)]]
    _draw_sheet(rows, columns, "Copies turned back into their photograph's frame", path)


def draw_masks(
    audited: Audited, params: AuditParams, families: Sequence[Family], path: Path
) -> None:
    """Draw the masks that agree least with their siblings, and what came of them."""
    table = audited.table.set_index("sample_id")
    worst = table["mask_agreement"].dropna().sort_values(kind="stable")[:_WORST]
    rows = []
    for sample_id in worst.index:
        family = next(
            found
            for found in families
            if sample_id in [sample.sample_id for sample in found.samples]
        )
        number = [sample.sample_id for sample in family.samples].index(sample_id)
        sample = family.samples[number]
        image = read_image(sample.image.path)
        consensus = compare(
            family,
            min_agreement=params.min_mask_agreement,
            min_masks=params.min_agreeing_masks,
        ).masks[number]
        given = read_mask(sample.mask_path, sample.size, sample.mask_rule)
        pictures = [image, overlay(image, given), overlay(image, consensus)]
        status = str(table.loc[sample_id, "mask_status"])
        if status == "repaired":
            used_path = type(path)(str(table.loc[sample_id, "mask_path"]))
            used = read_mask(used_path, sample.size, str(table.loc[sample_id, "mask_rule"]))
            pictures.append(overlay(image, used))
        elif status != "rejected":
            pictures.append(overlay(image, given))
        rows.append(_Row(f"IoU {worst[sample_id]:.3f}   {status}   {sample_id}", pictures))
    columns = ["image", "given mask", "consensus of the copies", "mask used"]
    _draw_sheet(rows, columns, "The masks that agree least with those of their siblings", path)


def draw_agreement(audited: Audited, params: AuditParams, path: Path) -> None:
    """Draw the agreement of all masks with their siblings' as a histogram."""
    values = audited.table["mask_agreement"].dropna().to_numpy(np.float64)
    if not len(values):
        save_placeholder(path, "no mask has siblings to compare it with")
        return
    with house_style():
        figure = Figure(figsize=(8, 3), layout="constrained")
        axes = figure.subplots()
        axes.hist(values, bins=np.linspace(0, 1, 101).tolist(), color=BLUE)
        axes.axvline(params.min_mask_agreement, color=VERMILLION)
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter("{x:.0f}")
        axes.set_xlabel("IoU of a mask with the consensus of its siblings")
        axes.set_ylabel("masks")
        axes.set_title("Agreement of the masks; left of the line they are wrong")
        save(figure, path)


def draw_group_sizes(audited: Audited, path: Path) -> None:
    """Draw how many copies the photographs have."""
    sizes = audited.table["group_id"].value_counts().to_numpy()
    with house_style():
        figure = Figure(figsize=(8, 3), layout="constrained")
        axes = figure.subplots()
        axes.hist(sizes, bins=(np.arange(sizes.max() + 1) + 0.5).tolist(), color=BLUE)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("copies of a photograph")
        axes.set_ylabel("photographs")
        axes.set_title(f"{len(audited.table)} images of {len(sizes)} photographs")
        save(figure, path)


def _turned_back(family: Family) -> _Row:
    source = read_image(family.source.file.path)
    height, width = source.shape[:2]
    # Seen from the tile's size, so that large photographs are not drawn in full.
    size = (round(height * _TILE_WIDTH / width), _TILE_WIDTH)
    to_source = np.linalg.inv(scaling((height, width), size))
    pictures = [cv2.resize(source, size[::-1], interpolation=cv2.INTER_AREA)]
    for sample, affine in list(zip(family.samples, family.affines, strict=True))[:_COPIES]:
        pictures.append(_seen_from(read_image(sample.image.path), affine @ to_source, size))
    return _Row(f"{family.source.name}   {len(family.samples)} copies", pictures)


def _seen_from(
    image: NDArray[np.uint8], to_image: Affine, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """A picture drawn in another, smaller frame, antialiased."""
    twice = (2 * size[0], 2 * size[1])
    fine = warp(image, to_image @ np.linalg.inv(scaling(size, twice)), twice, cv2.INTER_LINEAR)
    drawn: NDArray[np.uint8] = cv2.resize(
        fine.astype(np.uint8), size[::-1], interpolation=cv2.INTER_AREA
    )
    return drawn


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
