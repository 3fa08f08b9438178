"""What a model still finds in photographs that are worse than those it has learned from.

Each photograph is tried as it is and in a few of the ways there are to spoil one; the ways go
round, so that together the photographs meet every corruption at every degree. Many photographs
with few corruptions each tell more than few with all: how well a photograph keeps is its own
matter, and the interval over photographs says how far theirs speaks for others.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from fishseg.images.decoding import read_image
from fishseg.images.masks import read_truth
from fishseg.images.resizing import resize_image, resize_mask
from fishseg.metrics.bootstrap import bootstrap_interval
from fishseg.metrics.masks import score_image
from fishseg.robustness.corruptions import CORRUPTIONS, corrupt, moved
from fishseg.store import make_folder
from fishseg.tables import write_csv

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fishseg.params import RobustnessParams
    from fishseg.prediction.model import ProbabilityModel

CLEAN = "clean"
SUMMARY_KEYS = ("mean_iou_retained", "retained_ci_low", "retained_ci_high")
# Just visible, in the middle, hard: what lies between tells little more.
DEGREES = (1, 3, 5)
# Examples are kept this small, so that the photographs may be of any size.
EXAMPLE_HEIGHT = 240


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One image as the model saw it, and what it found.

    Attributes:
        sample_id: which image.
        group_id: of which photograph.
        corruption: a name of `CORRUPTIONS`, or ``clean``.
        severity: one of `DEGREES`; 0 where it is clean.
        image: ``(H, W, 3)`` uint8 RGB, corrupted.
        truth: ``(H, W)`` bool; it has moved with the image.
        prediction: ``(H, W)`` bool.
        scores: what `fishseg.metrics.masks.score_image` gives.
    """

    sample_id: str
    group_id: str
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
        examples: the first trial of each, in the table's order, made small.
        summary: the numbers of ``metrics/robustness.json``.
    """

    table: pd.DataFrame
    examples: list[Trial]
    summary: dict[str, Any]


def measure(
    samples: pd.DataFrame,
    model: ProbabilityModel,
    params: RobustnessParams,
) -> RobustnessResult:
    """Try a model on val photographs, as they are and corrupted.

    Args:
        samples: a row a sample with the inventory's columns that name and size its files, and its
            ``split``.
        model: to be tried.
        params: on how many, and in how many ways.

    Raises:
        DataError: a file that can no longer be read.
    """
    val = samples[(samples["split"] == "val") & (samples["mask_status"] != "rejected")]
    samples = choose_samples(val, params.images, seed=params.seed)
    ways = deal(len(samples), params.corruptions, seed=params.seed)
    n_trials = sum(1 + len(one) for one in ways)
    rows = []
    examples: dict[tuple[str, int], Trial] = {}
    clean: dict[str, float] = {}
    for trial in tqdm(trials(samples, ways, model, params.seed), total=n_trials, desc="robustness"):
        if trial.corruption == CLEAN:
            clean = {f"clean_{key}": trial.scores[key] for key in ("iou", "boundary_iou")}
            continue
        rows.append(
            {
                "group_id": trial.group_id,
                "corruption": trial.corruption,
                "severity": trial.severity,
                **trial.scores,
                **clean,
            }
        )
        cell = (trial.corruption, trial.severity)
        if cell not in examples:
            examples[cell] = _made_small(trial)
    scores = pd.DataFrame(rows)
    table = tabulate(scores)
    cells = zip(table["corruption"], table["severity"], strict=True)
    return RobustnessResult(
        table, [examples[cell] for cell in cells], summarise_trials(scores, table)
    )


def choose_samples(samples: pd.DataFrame, n_images: int, *, seed: int) -> pd.DataFrame:
    """Some samples of different photographs, one of each class before a second of any.

    There may be fewer than asked for: no more than there are photographs.
    """
    shuffled = samples.sort_values("sample_id").sample(frac=1, random_state=seed)
    photos = shuffled.drop_duplicates("group_id")
    turn = photos.groupby("class_name").cumcount()
    chosen = turn.sort_values(kind="stable").index[:n_images]
    return photos.loc[chosen].sort_values("sample_id", ignore_index=True)


def deal(n_photos: int, n_corruptions: int, *, seed: int) -> list[list[tuple[str, int]]]:
    """The corruptions and severities that each photograph is tried with.

    They go round in an order that the seed decides, in which one corruption follows another at
    another degree: a photograph gets different corruptions (of up to as many as there are), and
    each corruption and degree is met as often as any other, or once more.

    Args:
        n_photos: how many photographs there are, at least 1.
        n_corruptions: how many each gets; more where together they would not meet all there are,
            and fewer where there are not so many.
        seed: at least 0.
    """
    names = list(np.random.default_rng(seed).permutation(list(CORRUPTIONS)))
    cells = [
        (str(name), DEGREES[(number + turn) % len(DEGREES)])
        for turn in range(len(DEGREES))
        for number, name in enumerate(names)
    ]
    each = min(max(n_corruptions, math.ceil(len(cells) / n_photos)), len(cells))
    return [
        [cells[(photo * each + number) % len(cells)] for number in range(each)]
        for photo in range(n_photos)
    ]


def trials(
    samples: pd.DataFrame,
    ways: list[list[tuple[str, int]]],
    model: ProbabilityModel,
    seed: int,
) -> Iterator[Trial]:
    """What a model finds in each sample: clean, then in each of its ways.

    The same path as prediction from a file, one image after the other.
    """
    sample: Any
    for sample, own_ways in zip(samples.itertuples(index=False), ways, strict=True):
        image = read_image(Path(sample.image_path))
        size = (sample.height, sample.width)
        truth, valid = read_truth(Path(sample.mask_path), size, sample.mask_rule)
        for name, severity in [(CLEAN, 0), *own_ways]:
            seen, visible, known = image, truth, valid
            if name != CLEAN:
                chance = {"sample_id": sample.sample_id, "seed": seed}
                seen, visible = corrupt(name, severity, image, truth, **chance)
                if valid is not None:
                    known = ~moved(name, severity, truth, ~valid, **chance)
            prediction = model.probability(seen) >= model.threshold
            yield Trial(
                sample_id=sample.sample_id,
                group_id=sample.group_id,
                corruption=name,
                severity=severity,
                image=seen,
                truth=visible,
                prediction=prediction,
                scores=score_image(prediction, visible, known),
            )


def tabulate(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over the trials of each corruption and severity.

    Args:
        scores: a row a trial: ``corruption, severity, iou, boundary_iou`` and ``clean_iou``, that
            of the same photograph as it is.

    Returns:
        A row a corruption and severity, in the order of `CORRUPTIONS`: ``corruption, severity,
        n_images, mean_iou, clean_iou, boundary_iou`` and ``iou_retained``, the mean IoU as a share
        of that of the same photographs as they are (0 where that is 0).
    """
    table = (
        scores.groupby(["corruption", "severity"])
        .agg(
            n_images=("iou", "size"),
            mean_iou=("iou", "mean"),
            clean_iou=("clean_iou", "mean"),
            boundary_iou=("boundary_iou", "mean"),
        )
        .reset_index()
    )
    table["iou_retained"] = (table["mean_iou"] / table["clean_iou"]).where(
        table["clean_iou"] > 0, 0
    )
    order = {name: number for number, name in enumerate(CORRUPTIONS)}
    table = table.sort_values(
        ["corruption", "severity"],
        key=lambda values: values.map(order) if values.name == "corruption" else values,
        ignore_index=True,
    )
    return table.round(6)


def headline(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What ``metrics/robustness_summary.json`` says: what is kept, over all trials.

    Args:
        summary: what ``metrics/robustness.json`` says.
    """
    return {key: summary[key] for key in SUMMARY_KEYS if key in summary}


def summarise_trials(scores: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """What ``metrics/robustness.json`` says, of all trials and of their table.

    Returns:
        ``n_images`` and ``n_trials``; ``mean_iou_retained``, over all trials, with its 95% interval
        over photographs ``retained_ci_low`` and ``retained_ci_high``; ``clean.mean_iou`` and
        ``clean.boundary_iou`` of the photographs as they are; and for each corruption its
        ``iou_retained``, ``ci_low``, ``ci_high``, and ``<severity>.mean_iou`` and
        ``<severity>.iou_retained``.
    """
    retained, low, high = _retained(scores)
    photos = scores.drop_duplicates("group_id")
    return {
        "n_images": len(photos),
        "n_trials": len(scores),
        "mean_iou_retained": retained,
        "retained_ci_low": low,
        "retained_ci_high": high,
        CLEAN: {
            "mean_iou": round(float(photos["clean_iou"].mean()), 6),
            "boundary_iou": round(float(photos["clean_boundary_iou"].mean()), 6),
        },
        **{
            str(name): {
                **dict(
                    zip(
                        ("iou_retained", "ci_low", "ci_high"),
                        _retained(scores[scores["corruption"] == name]),
                        strict=True,
                    )
                ),
                **{
                    str(row["severity"]): {key: row[key] for key in ("mean_iou", "iou_retained")}
                    for row in rows.to_dict("records")
                },
            }
            for name, rows in table.groupby("corruption", sort=False)
        },
    }


def _retained(scores: pd.DataFrame) -> tuple[float, float, float]:
    """The share of the IoU that trials keep, and its interval over photographs."""
    # A photograph in which nothing is found to begin with has nothing to lose.
    scores = scores[scores["clean_iou"] > 0]
    if scores.empty:
        return 0.0, 0.0, 0.0
    share = scores["iou"].sum() / scores["clean_iou"].sum()
    low, high = bootstrap_interval(scores["iou"], scores["group_id"], of=scores["clean_iou"])
    return round(float(share), 6), round(low, 6), round(high, 6)


def write_table(table: pd.DataFrame, folder: Path) -> None:
    """Write ``severity.csv``, which DVC compares between experiments."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(table, folder / "severity.csv")


def write_examples(examples: list[Trial], folder: Path) -> None:
    """Write what a model saw and found, for pictures of it.

    Args:
        examples: small trials.
        folder: gets ``examples.csv``, a row each with its ``corruption``, ``severity`` and ``iou``
            and the names of two files, ``image`` and ``prediction``, and those.
    """
    make_folder(folder)
    rows = []
    for number, trial in enumerate(examples):
        names = {"image": f"{number:02d}.png", "prediction": f"{number:02d}-prediction.png"}
        Image.fromarray(trial.image).save(folder / names["image"])
        Image.fromarray(trial.prediction).save(folder / names["prediction"])
        facts = {"corruption": trial.corruption, "severity": trial.severity}
        rows.append({**facts, "iou": round(trial.scores["iou"], 6), **names})
    write_csv(pd.DataFrame(rows), folder / "examples.csv")


def _made_small(trial: Trial) -> Trial:
    height, width = trial.truth.shape
    size = (EXAMPLE_HEIGHT, max(1, round(EXAMPLE_HEIGHT * width / height)))
    return dataclasses.replace(
        trial,
        image=resize_image(trial.image, size),
        truth=resize_mask(trial.truth, size) >= 128,
        prediction=resize_mask(trial.prediction, size) >= 128,
    )
