"""The report: one HTML page with all numbers, curves and pictures, to open from the disk.

The page needs no server and no network. Few images are embedded in it; many lie beside it in a
folder, and the browser loads those that are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tqdm import tqdm

from fishseg.report.document import render
from fishseg.report.image_files import add_pictures, beside, embedded, figures
from fishseg.report.results import SHOWN_SPLITS, read_results, read_scores
from fishseg.tables import slug

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from fishseg.params import ReportParams
    from fishseg.prediction.stored import Predictions

PAGE_NAME = "index.html"
PICTURES_NAME = "pictures"


def write_page(
    predictions: Predictions,
    *,
    metrics: Path,
    plots: Path,
    params: ReportParams,
    parameters: Mapping[str, Mapping[str, Any]],
    folder: Path,
) -> None:
    """Write ``index.html``, and ``pictures/`` where the images are too many to embed.

    Args:
        predictions: what the decoder said.
        metrics: the folder of the stages' numbers.
        plots: the folder of the pictures drawn of them.
        params: how large, how good and how many the embedded pictures may be.
        parameters: of the whole run, by section, to be shown.
        folder: where to.

    Raises:
        DataError: a table or a JSON file is missing or damaged, or an image cannot be read.
    """
    scores = read_scores(metrics / "evaluate" / "images.csv")
    scores = scores[scores["split"].isin(SHOWN_SPLITS)].reset_index(drop=True)
    samples = predictions.samples
    shown = predictions.of(samples[samples["split"].isin(SHOWN_SPLITS)])
    folder.mkdir(parents=True, exist_ok=True)
    few = len(scores) <= params.max_embedded
    place = embedded if few else beside(folder, PICTURES_NAME)
    threshold = float(predictions.about["threshold"])
    records = add_pictures(scores, shown, threshold, params, place)
    images = list(tqdm(records, total=len(scores), desc="report", unit="image"))
    content = {
        **read_results(metrics),
        "setup": _setup(predictions.about),
        "parameters": parameters,
        "class_names": {slug(name): name for name in sorted(set(scores["class_name"]))},
        "figures": figures(plots, params),
        "images": images,
    }
    (folder / PAGE_NAME).write_text(render(content), encoding="utf-8", newline="\n")


def _setup(about: Mapping[str, Any]) -> dict[str, str]:
    """What a decoder was made of, for the head of the page."""
    layers = ", ".join(str(layer) for layer in about["layers"])
    return {
        "Backbone": f"{about['backbone']}, layer{'s' * (len(about['layers']) > 1)} {layers}",
        "Decoder": about["decoder"],
        "Working size": about["working_size"],
        "Threshold": f"{about['threshold']:g}",
    }
