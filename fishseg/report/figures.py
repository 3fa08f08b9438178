"""Every picture under ``plots/``, from the tables and predictions that the stages left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fishseg import plots
from fishseg.images.decoding import read_image
from fishseg.images.masks import read_mask
from fishseg.plots import audit as audit_plots
from fishseg.report.results import read_json, read_scores, read_table

if TYPE_CHECKING:
    from fishseg.params import ReportParams
    from fishseg.prediction.stored import Predictions

_COPY_TEXTS = ("sample_id", "source", "mask_status")
_PLACEMENT = ("flipped", "rotation_degrees", "scale", "shift_x", "shift_y")
_OF_SAMPLE = [
    "sample_id",
    "class_name",
    "group_id",
    "image_path",
    "raw_mask_path",
    "raw_mask_rule",
    "mask_path",
    "mask_rule",
    "width",
    "height",
]


def draw_figures(
    predictions: Predictions,
    *,
    metrics: Path,
    audit: Path,
    raw: Path,
    robustness: Path,
    params: ReportParams,
    folder: Path,
) -> None:
    """Draw what there is to see of audit, training, evaluation and robustness.

    Args:
        predictions: what the decoder said.
        metrics: the folder of the stages' numbers.
        audit: the folder of the audit's tables.
        raw: the folder of the data as they came.
        robustness: the folder of what the decoder saw and found of corrupted photographs.
        params: how many pictures the galleries show.
        folder: gets ``audit/``, ``train/``, ``evaluate/`` and ``robustness/``.

    Raises:
        DataError: a table is missing or damaged, or an image cannot be read.
    """
    places = {name: folder / name for name in ("audit", "train", "evaluate", "robustness")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    draw_audit(read_copies(audit / "copies.csv", predictions.samples), raw, places["audit"])
    steps, epochs = (read_table(metrics / "train" / f"{name}.csv") for name in ("steps", "epochs"))
    plots.training_curves(steps, epochs, places["train"])
    draw_evaluation(predictions, metrics, params, places["evaluate"])
    draw_robustness(metrics / "robustness", robustness, places["robustness"])


def read_copies(path: Path, samples: pd.DataFrame) -> pd.DataFrame:
    """What the audit says of each sample, with its class, group and files.

    Raises:
        DataError: the table is missing or damaged.
    """
    copies = read_table(
        path,
        dtype=dict.fromkeys(_COPY_TEXTS, "str"),
        keep_default_na=False,
        na_values={name: [""] for name in (*_PLACEMENT, "likeness", "mask_agreement")},
    )
    return copies.merge(samples[_OF_SAMPLE], on="sample_id", validate="1:1")


def draw_audit(copies: pd.DataFrame, raw: Path, folder: Path) -> None:
    """Write ``photographs.png``, ``masks.png``, ``agreement.png`` and ``group_size.png``."""
    audit_plots.photographs(copies, raw, folder / "photographs.png")
    audit_plots.masks(copies, folder / "masks.png")
    audit_plots.mask_agreement(copies, folder / "agreement.png")
    audit_plots.group_sizes(copies, folder / "group_size.png")


def draw_evaluation(
    predictions: Predictions, metrics: Path, params: ReportParams, folder: Path
) -> None:
    """Write histogram, bars a class, what confidence is worth, and the galleries of val."""
    tables = metrics / "evaluate"
    scores = read_scores(tables / "images.csv")
    kept = scores[scores["mask_status"] != "rejected"]
    plots.iou_histogram(kept, folder / "iou_histogram.png")
    plots.per_class_bars(read_json(metrics / "evaluate.json"), folder / "per_class.png")
    plots.reliability(read_table(tables / "reliability.csv"), folder / "reliability.png")
    plots.risk_coverage(read_table(tables / "risk_coverage.csv"), folder / "risk_coverage.png")
    draw_galleries(
        kept[kept["split"] == "val"],
        predictions,
        folder,
        best=params.gallery_best,
        random=params.gallery_random,
        worst=params.gallery_worst,
        seed=params.seed,
    )


def draw_robustness(tables: Path, examples: Path, folder: Path) -> None:
    """Write ``severity.png`` and ``contact_sheet.png``."""
    plots.severity_curves(read_table(tables / "severity.csv"), folder / "severity.png")
    row: Any
    spoiled = []
    for row in read_table(examples / "examples.csv").itertuples(index=False):
        image = read_image(examples / row.image)
        spoiled.append(
            plots.Spoiled(
                corruption=row.corruption,
                severity=row.severity,
                iou=row.iou,
                image=image,
                prediction=read_image(examples / row.prediction)[..., 0] > 0,
            )
        )
    plots.contact_sheet(spoiled, folder / "contact_sheet.png")


def draw_galleries(
    scores: pd.DataFrame,
    predictions: Predictions,
    folder: Path,
    *,
    best: int,
    random: int,
    worst: int,
    seed: int,
) -> None:
    """Write ``gallery_best.png``, ``gallery_random.png`` and ``gallery_worst.png``.

    Args:
        scores: a row a sample with ``sample_id`` and ``iou``.
        predictions: what the decoder said of them.
        folder: where to, made if needed.
        best: images in the gallery of the best.
        random: images in the random gallery.
        worst: images in the gallery of the worst.
        seed: seed of the random gallery.
    """
    folder.mkdir(parents=True, exist_ok=True)
    threshold = float(predictions.about["threshold"])
    ranked = scores.sort_values(["iou", "sample_id"], ascending=[False, True])
    chosen = {
        "best": ranked.head(best),
        "random": scores.sample(min(random, len(scores)), random_state=seed).sort_values(
            "sample_id"
        ),
        "worst": ranked.iloc[::-1].head(worst),
    }
    by_id = predictions.samples.set_index("sample_id", drop=False)
    for name, picked in chosen.items():
        rows = by_id.loc[list(picked["sample_id"])]
        items = []
        for predicted, iou in zip(predictions.of(rows), picked["iou"], strict=True):
            sample, mask = predicted.sample, predicted.mask(threshold)
            items.append(
                plots.GalleryItem(
                    image=read_image(Path(sample.image_path)),
                    truth=read_mask(Path(sample.mask_path), mask.shape, sample.mask_rule),
                    prediction=mask,
                    iou=iou,
                    class_name=sample.class_name,
                    sample_id=sample.sample_id,
                )
            )
        plots.gallery(items, folder / f"gallery_{name}.png", title=f"{len(items)} {name} images")
