"""A fish as a row of the table of measurements: its columns, in pixels and in millimetres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from fishseg.measurement import coco
from fishseg.measurement.checks import n_parts, reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fishseg.measurement.size import Mask, Measurement
    from fishseg.prediction.instances import Instance

Row: TypeAlias = dict[str, Any]

COLUMNS = (
    "area_px", "length_px", "width_px", "orientation_degrees",
    "box_left_px", "box_top_px", "box_width_px", "box_height_px",
    "centroid_x_px", "centroid_y_px", "confidence", "cut_off", "check",
)  # fmt: skip
# Where a scale comes from that was read in the picture.
RULER = "ruler"
MM_COLUMNS = ("area_mm2", "length_mm", "width_mm")
# No fish that this is for is longer or shorter: a scale that makes it so is a slip.
PLAUSIBLE_MM = (2.0, 5000.0)


def rows_of(fish: Sequence[Instance], measured: Sequence[Measurement], mask: Mask) -> list[Row]:
    """The fish of a mask ``(H, W)`` as rows of the table, in pixels.

    What is not known is None. ``check`` holds the `reasons` to look at a fish, or nothing.
    """
    checks = reasons_of(fish, measured, mask)
    return [
        _row(one, its_size, "; ".join(check))
        for one, its_size, check in zip(fish, measured, checks, strict=True)
    ]


def reasons_of(
    fish: Sequence[Instance], measured: Sequence[Measurement], mask: Mask
) -> list[list[str]]:
    """The `reasons` to look at each fish of a mask ``(H, W)``."""
    parts = n_parts(mask)
    size = (mask.shape[0], mask.shape[1])
    return [
        reasons(
            its_size,
            size,
            parts,
            unlike_training=one.unlike_training,
            confidence=one.confidence,
        )
        for one, its_size in zip(fish, measured, strict=True)
    ]


def _row(fish: Instance, measured: Measurement, check: str) -> Row:
    left, top, width, height = measured.box
    x, y = measured.centroid
    confidence = None if fish.confidence is None else round(fish.confidence, 4)
    values = (
        measured.area_px, round(measured.length_px, 2), round(measured.width_px, 2),
        round(measured.orientation_degrees, 1) % 180, left, top, width, height,
        round(x, 2), round(y, 2), confidence, int(fish.cut_off), check,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def outlines_of(fish: Instance, size: tuple[int, int]) -> Row:
    """The segmentations of a fish in a picture of a ``(height, width)``."""
    return {
        "rle": coco.run_lengths(fish.mask, fish.origin, size),
        "polygons": coco.polygons(fish.mask, fish.origin),
    }


def in_millimetres(row: Row, mm_per_px: float) -> Row:
    """The columns in millimetres that belong to a row in pixels."""
    return {
        "area_mm2": round(row["area_px"] * mm_per_px**2, 2),
        "length_mm": round(row["length_px"] * mm_per_px, 2),
        "width_mm": round(row["width_px"] * mm_per_px, 2),
    }


def is_plausible(row: Row, mm_per_px: float) -> bool:
    """Whether a scale gives a fish a length that fish have."""
    shortest, longest = PLAUSIBLE_MM
    return bool(shortest <= row["length_px"] * mm_per_px <= longest)
