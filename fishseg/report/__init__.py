"""The report: one HTML page with all numbers, curves and pictures, to open from the disk.

The page needs no server and no network. Few images are embedded in it; many lie beside it in a
folder, and the browser loads those that are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tqdm import tqdm

from fishseg.datasets.layout import slug
from fishseg.report.document import render
from fishseg.report.image_files import add_pictures, beside, embedded, figures
from fishseg.report.results import SHOWN_SPLITS, read_results, read_scores

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fishseg.decoders.files import DecoderCard
    from fishseg.evaluation.scoring import Predicted
    from fishseg.params import ReportParams

__all__ = ["PAGE_NAME", "SHOWN_SPLITS", "describe", "write_report"]

PAGE_NAME = "index.html"
PICTURES_NAME = "pictures"


def write_report(
    *,
    metrics: Path,
    plots: Path,
    setup: dict[str, str],
    predictions: Iterable[Predicted],
    params: ReportParams,
    folder: Path,
) -> None:
    """Write ``index.html``, and ``pictures/`` where the images are too many to embed.

    Args:
        metrics: the folder of the stages' JSON files.
        plots: the folder of the stages' tables and pictures.
        setup: what was measured, as names and values of the page's head.
        predictions: the decoder's answers to the samples to show, in any order.
        params: how large, how good and how many the embedded pictures may be.
        folder: where to.

    Raises:
        DataError: a table or a JSON file is missing or damaged, or an image cannot be read.
    """
    scores = read_scores(plots / "evaluate" / "images.csv")
    results = read_results(metrics, plots)
    folder.mkdir(parents=True, exist_ok=True)
    few = len(scores) <= params.max_embedded
    place = embedded if few else beside(folder, PICTURES_NAME)
    shown = add_pictures(scores, predictions, params, place)
    images = list(tqdm(shown, total=len(scores), desc="report", unit="image"))
    content = {
        **results,
        "setup": setup,
        "class_names": {slug(name): name for name in sorted(set(scores["class_name"]))},
        "figures": figures(plots, params),
        "images": images,
    }
    (folder / PAGE_NAME).write_text(render(content), encoding="utf-8")


def describe(card: DecoderCard) -> dict[str, str]:
    """What a decoder was made of, for the head of the page."""
    layers = ", ".join(str(layer) for layer in card.layers)
    size = f"{card.megapixels:g} MP" if card.fit == "aspect" else f"{card.image_size} px square"
    return {
        "Backbone": f"{card.backbone['name']}, layer{'s' * (len(card.layers) > 1)} {layers}",
        "Decoder": card.decoder,
        "Working size": size,
        "Threshold": f"{card.threshold:g}",
    }
