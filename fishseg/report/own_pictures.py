"""The page of `fishseg predict`: the user's own pictures, the doubtful ones first.

It is the report's page with other pictures: the same cards, filters, keys and zoom, and no numbers
that would need a ground truth.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fishseg.images.resizing import resize_image
from fishseg.plots.overlays import overlay
from fishseg.report.document import OWN_PICTURES, render
from fishseg.report.image_files import shrink, size_within, stencil, webp

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

_PICTURE_PX, _THUMBNAIL_PX, _QUALITY = 1400, 320, 80
_PICTURES = ("picture.webp", "thumbnail.webp", "mask.png")


def pictures_of(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> dict[str, bytes]:
    """The files that the page shows of an image ``(H, W, 3)`` and its mask ``(H, W)``."""
    size = size_within(image.shape[:2], _PICTURE_PX)
    small = size_within(image.shape[:2], _THUMBNAIL_PX)
    thumbnail = overlay(resize_image(image, small), shrink(mask, small))
    contents = (
        webp(resize_image(image, size), _QUALITY),
        webp(thumbnail, _QUALITY),
        stencil(shrink(mask, size)),
    )
    return dict(zip(_PICTURES, contents, strict=True))


def checksum_of(record: Mapping[str, Any]) -> str:
    """What tells a picture with its mask from all others: what a decision is made on."""
    # Records of earlier versions know the file alone.
    picture = record.get("pixels_sha256", record["sha256"])
    digest = hashlib.sha256(f"{picture} {record['mask_sha256']}".encode()).hexdigest()
    return f"m{digest[:11]}"  # of digits alone, a spreadsheet would make a number of it


def is_left_out(fish: Mapping[str, Any], min_confidence: float) -> bool:
    """Whether a fish is too unsure for the table; one of a mask that no model made never is."""
    return fish["confidence"] is not None and bool(fish["confidence"] < min_confidence)


def page(
    records: Iterable[tuple[str, Mapping[str, Any]]],
    decisions: Mapping[str, str],
    setup: Mapping[str, str],
    *,
    outdated: Collection[str] = (),
    min_confidence: float = 0,
) -> str:
    """The page's HTML.

    Args:
        records: the name and the record of each picture, as `fishseg.cli.streaming` makes them.
        decisions: ``accepted`` or ``rejected``, by the picture's source.
        setup: names and values for the head of the page.
        outdated: sources of pictures that a decision was made on with another mask.
        min_confidence: fish of less are left out of the table.
    """
    images = [
        {
            **_entry(name, record, min_confidence),
            "decision": decisions.get(record["source"], "open"),
            "outdated": record["source"] in outdated,
        }
        for name, record in records
    ]
    content = {"setup": dict(setup), "images": images}
    return render(content, title="The fish in your pictures", scripts=OWN_PICTURES)


def _entry(name: str, record: Mapping[str, Any], min_confidence: float) -> dict[str, Any]:
    fish = [one for one in record["fish"] if not is_left_out(one, min_confidence)]
    n_left_out = len(record["fish"]) - len(fish)
    scale = record["mm_per_px"]
    sure = [one["confidence"] for one in fish if one["confidence"] is not None]
    length = max((one["length_px"] for one in fish), default=None)
    checks = sorted({reason for one in fish for reason in one["check"].split("; ") if reason})
    checks += [f"{n_left_out} fish below --min-confidence"] if n_left_out else []
    height, width = size_within((record["height"], record["width"]), _PICTURE_PX)
    picture, thumbnail, mask = (quote(f"pictures/{name}/{kind}") for kind in _PICTURES)
    return {
        "sample_id": record["source"],
        "image": picture,
        "thumbnail": thumbnail,
        "masks": mask,
        "width": width,
        "height": height,
        "n_fish": len(fish),
        "confidence": min(sure, default=None),
        "length_px": length,
        "length_mm": None if scale is None or length is None else round(length * scale, 2),
        "check": "; ".join(checks),
        "look": "something odd" if checks or not fish else "nothing odd",
        "mask_from": record["mask_from"],
        "checksum": checksum_of(record),
    }
