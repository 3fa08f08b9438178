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
        params: how large and good the pictures are, how many are embedded and how many shown;
            the numbers are of all images.
        parameters: of the whole run, by section, to be shown.
        folder: where to.

    Raises:
        DataError: a table or a JSON file is missing or damaged, or an image cannot be read.
    """
    scores = read_scores(metrics / "evaluate" / "images.csv")
    scores = scores[scores["split"].isin(SHOWN_SPLITS)].reset_index(drop=True)
    worst_first = scores.sort_values("iou", kind="stable")
    scores = worst_first.head(params.max_images).sort_index()
    left_out = set(worst_first["sample_id"].iloc[params.max_images :])
    samples = predictions.samples
    of_interest = samples["split"].isin(SHOWN_SPLITS) & ~samples["sample_id"].isin(left_out)
    shown = predictions.of(samples[of_interest])
    folder.mkdir(parents=True, exist_ok=True)
    few = len(scores) <= params.max_embedded
    place = embedded if few else beside(folder, PICTURES_NAME)
    threshold = float(predictions.about["threshold"])
    records = add_pictures(scores, shown, threshold, params, place)
    images = list(tqdm(records, total=len(scores), desc="report", unit="image"))
    content = {
        **read_results(metrics),
        "setup": _setup(predictions.about) | _shown(len(scores), len(left_out)),
        "parameters": parameters,
        "class_names": {slug(name): name for name in sorted(set(scores["class_name"]))},
        "figures": figures(plots, params),
        "images": images,
    }
    (folder / PAGE_NAME).write_text(render(content), encoding="utf-8", newline="\n")


def _shown(n_shown: int, n_left_out: int) -> dict[str, str]:
    """A line for the head of the page where not every image is on it."""
    if not n_left_out:
        return {}
    return {"Images shown": f"the {n_shown} of lowest IoU, of {n_shown + n_left_out}"}


def _setup(about: Mapping[str, Any]) -> dict[str, str]:
    """What a decoder was made of, for the head of the page."""
    layers = ", ".join(str(layer) for layer in about["layers"])
    return {
        "Backbone": f"{about['backbone']}, layer{'s' * (len(about['layers']) > 1)} {layers}",
        "Decoder": about["decoder"],
        "Working size": about["working_size"],
        "Threshold": f"{about['threshold']:g}",
    }
