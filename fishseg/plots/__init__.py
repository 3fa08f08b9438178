"""Pictures of training and of results, as PNG files.

The same numbers give the same bytes: no figure depends on the user's matplotlib settings, and no
file holds a date or a version. What is drawn onto photographs (`overlays`, `measured`) needs no
matplotlib.
"""

from typing import TYPE_CHECKING

from fishseg import lazy

if TYPE_CHECKING:
    from fishseg.plots.calibration import reliability, risk_coverage
    from fishseg.plots.curves import training_curves
    from fishseg.plots.galleries import GalleryItem, gallery
    from fishseg.plots.overlays import overlay
    from fishseg.plots.robustness import Spoiled, contact_sheet, severity_curves
    from fishseg.plots.scores import iou_histogram, per_class_bars

__all__ = [
    "GalleryItem",
    "Spoiled",
    "contact_sheet",
    "gallery",
    "iou_histogram",
    "overlay",
    "per_class_bars",
    "reliability",
    "risk_coverage",
    "severity_curves",
    "training_curves",
]

__getattr__ = lazy.names_of(
    __name__,
    {
        "GalleryItem": "galleries",
        "Spoiled": "robustness",
        "contact_sheet": "robustness",
        "gallery": "galleries",
        "iou_histogram": "scores",
        "overlay": "overlays",
        "per_class_bars": "scores",
        "reliability": "calibration",
        "risk_coverage": "calibration",
        "severity_curves": "robustness",
        "training_curves": "curves",
    },
)
