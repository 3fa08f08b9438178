"""What a model still finds in photographs that are worse than those it has learned from."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from fishseg.images.decoding import read_image
from fishseg.images.masks import read_truth
from fishseg.images.resizing import resize_image, resize_mask
from fishseg.metrics.masks import score_image
from fishseg.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from fishseg.tables import write_csv

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fishseg.params import RobustnessParams
    from fishseg.prediction.model import ProbabilityModel

CLEAN = "clean"
# Examples are kept this small, so that the photographs may be of any size.
EXAMPLE_HEIGHT = 240


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One image as the model saw it, and what it found.

    Attributes:
        sample_id: which image.
        corruption: a name of `CORRUPTIONS`, or ``clean``.
        severity: from 1 to 5; 0 where it is clean.
        image: ``(H, W, 3)`` uint8 RGB, corrupted.
        truth: ``(H, W)`` bool; it has moved with the image.
        prediction: ``(H, W)`` bool.
        scores: what `fishseg.metrics.masks.score_image` gives.
    """

    sample_id: str
    corruption: str
    severity: int
    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    scores: dict[str, float]


@dataclasses.dataclass(frozen=True)
class RobustnessResult:
    """What is left of a model's quality.

    Attributes:
        table: a row a corruption and severity (see `tabulate`).
        examples: all trials of one image, made small.
        summary: the numbers of ``metrics/robustness.json``.
    """

    table: pd.DataFrame
    examples: list[Trial]
    summary: dict[str, Any]


def measure(
    inventory: pd.DataFrame,
    manifest: pd.DataFrame,
    model: ProbabilityModel,
    params: RobustnessParams,
) -> RobustnessResult:
    """Try a model on some val images, as they are and corrupted.

    Raises:
        DataError: a file that can no longer be read.
    """
    val = manifest.loc[manifest["split"] == "val", "sample_id"]
    samples = choose_samples(
        inventory[inventory["sample_id"].isin(val)], params.images, seed=params.seed
    )
    n_trials = len(samples) * (1 + len(CORRUPTIONS) * len(SEVERITIES))
    rows, examples = [], []
    for trial in tqdm(trials(samples, model, params.seed), total=n_trials, desc="robustness"):
        rows.append({"corruption": trial.corruption, "severity": trial.severity, **trial.scores})
        if trial.sample_id == samples["sample_id"].iloc[0]:
            examples.append(_made_small(trial))
    table = tabulate(pd.DataFrame(rows))
    return RobustnessResult(table, examples, summarise(table, len(samples)))


def choose_samples(samples: pd.DataFrame, n_images: int, *, seed: int) -> pd.DataFrame:
    """Some samples of different photographs, one of each class before a second of any.

    There may be fewer than asked for: no more than there are photographs.
    """
    shuffled = samples.sort_values("sample_id").sample(frac=1, random_state=seed)
    photos = shuffled.drop_duplicates("group_id")
    turn = photos.groupby("class_name").cumcount()
    chosen = turn.sort_values(kind="stable").index[:n_images]
    return photos.loc[chosen].sort_values("sample_id", ignore_index=True)


def trials(samples: pd.DataFrame, model: ProbabilityModel, seed: int) -> Iterator[Trial]:
    """What a model finds in each sample: clean, then by corruption and severity.

    The same path as prediction from a file, one image after the other.
    """
    attempts = [(CLEAN, 0), *itertools.product(CORRUPTIONS, SEVERITIES)]
    sample: Any
    for sample in samples.itertuples(index=False):
        image = read_image(Path(sample.image_path))
        size = (sample.height, sample.width)
        truth, valid = read_truth(Path(sample.mask_path), size, sample.mask_rule)
        for name, severity in attempts:
            seen, visible = image, truth
            if name != CLEAN:
                seen, visible = corrupt(
                    name, severity, image, truth, sample_id=sample.sample_id, seed=seed
                )
            prediction = model.probability(seen) >= model.threshold
            yield Trial(
                sample_id=sample.sample_id,
                corruption=name,
                severity=severity,
                image=seen,
                truth=visible,
                prediction=prediction,
                scores=score_image(prediction, visible, valid),
            )


def tabulate(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over the images.

    Args:
        scores: a row a trial: ``corruption, severity, iou, boundary_iou``.

    Returns:
        A row a corruption and severity, ``clean`` first and then in the order of `CORRUPTIONS`:
        ``corruption, severity, mean_iou, worst_iou, best_iou, boundary_iou`` and ``iou_retained``,
        the mean IoU as a share of that of the clean images (0 where that is 0).
    """
    table = (
        scores.groupby(["corruption", "severity"], sort=False)
        .agg(
            mean_iou=("iou", "mean"),
            worst_iou=("iou", "min"),
            best_iou=("iou", "max"),
            boundary_iou=("boundary_iou", "mean"),
        )
        .reset_index()
    )
    clean_iou = table.loc[table["corruption"] == CLEAN, "mean_iou"].iloc[0]
    table["iou_retained"] = table["mean_iou"] / clean_iou if clean_iou else 0.0
    return table.round(6)


def summarise(table: pd.DataFrame, n_images: int) -> dict[str, Any]:
    """What ``metrics/robustness.json`` says, of the table that `tabulate` gives.

    Returns:
        ``n_images``; ``mean_iou_retained``, over all corruptions and severities;
        ``clean.mean_iou``, ``clean.boundary_iou``; and for each corruption ``<severity>.mean_iou``
        and ``<severity>.iou_retained``.
    """
    clean = table[table["corruption"] == CLEAN].iloc[0]
    corrupted = table[table["corruption"] != CLEAN]
    return {
        "n_images": n_images,
        "mean_iou_retained": round(float(corrupted["iou_retained"].mean()), 6),
        CLEAN: {key: float(clean[key]) for key in ("mean_iou", "boundary_iou")},
        **{
            str(name): {
                str(severity): {"mean_iou": float(mean_iou), "iou_retained": float(retained)}
                for severity, mean_iou, retained in zip(
                    rows["severity"], rows["mean_iou"], rows["iou_retained"], strict=True
                )
            }
            for name, rows in corrupted.groupby("corruption", sort=False)
        },
    }


def write_table(table: pd.DataFrame, folder: Path) -> None:
    """Write ``severity.csv``, which DVC compares between experiments; the corrupted rows alone."""
    folder.mkdir(parents=True, exist_ok=True)
    corrupted = table[table["corruption"] != CLEAN]
    write_csv(corrupted, folder / "severity.csv")


def _made_small(trial: Trial) -> Trial:
    height, width = trial.truth.shape
    size = (EXAMPLE_HEIGHT, max(1, round(EXAMPLE_HEIGHT * width / height)))
    return dataclasses.replace(
        trial,
        image=resize_image(trial.image, size),
        truth=resize_mask(trial.truth, size) >= 128,
        prediction=resize_mask(trial.prediction, size) >= 128,
    )
