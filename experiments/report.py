"""What the studies say: a table and a plot each, and ``docs/results.md``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.study import Study, load
from fishseg import params
from fishseg.metrics.bootstrap import bootstrap_interval, paired_difference
from fishseg.plots.style import BLUE, VERMILLION, house_style, save

DOCUMENT = Path("docs/results.md")
PICTURES = Path("docs/pictures")
METRICS = {"iou": "mean IoU", "boundary_iou": "boundary IoU"}
COLOURS = {"iou": BLUE, "boundary_iou": VERMILLION}


def write(studies: Sequence[Study]) -> None:
    """Write ``docs/results.md`` and a plot a study from the tables of their runs."""
    parts = [_introduction()]
    for study in studies:
        summary = summarise(study)
        draw(summary, PICTURES / f"study-{study.name}.png")
        parts.append(_section(study, summary))
    DOCUMENT.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def summarise(study: Study) -> pd.DataFrame:
    """A row an arm: its metrics, and its paired difference to the first arm.

    The images of all folds are pooled; an interval resamples photographs. For each metric ``m``:
    ``m``, ``m_low``, ``m_high``, the same of the difference as ``m_gain…``, and ``m_run_std``,
    the deviation of the runs' means.
    """
    settings = params.load(params.EvaluateParams)
    table = load(study)
    names = ["fold", "seed", "sample_id"]
    arms = {arm: table[table["arm"] == arm].set_index(names) for arm in study.arms}
    arms = {arm: rows for arm, rows in arms.items() if len(rows)}
    first = next(iter(arms.values()))
    summary = []
    for arm, rows in arms.items():
        row: dict[str, object] = {
            "arm": arm,
            "n_runs": rows.groupby(level=["fold", "seed"]).ngroups,
            "n_groups": rows["group_id"].nunique(),
        }
        for metric in METRICS:
            low, high = bootstrap_interval(
                rows[metric],
                rows["group_id"],
                samples=settings.bootstrap_samples,
                seed=settings.seed,
            )
            row |= {metric: rows[metric].mean(), f"{metric}_low": low, f"{metric}_high": high}
            gain = paired_difference(
                first[metric],
                rows[metric],
                rows["group_id"],
                samples=settings.bootstrap_samples,
                seed=settings.seed,
            )
            if gain is not None:
                row |= {
                    f"{metric}_gain": gain.mean,
                    f"{metric}_gain_low": gain.low,
                    f"{metric}_gain_high": gain.high,
                }
            row[f"{metric}_run_std"] = rows.groupby(level=["fold", "seed"])[metric].mean().std()
        summary.append(row)
    return pd.DataFrame(summary)


def draw(summary: pd.DataFrame, path: Path) -> None:
    """Each arm's metrics as points with their intervals."""
    with house_style():
        figure = Figure(figsize=(8, 1.2 + 0.42 * len(summary)), layout="constrained")
        panels = figure.subplots(1, len(METRICS), sharey=True)
        places = np.arange(len(summary))
        for axes, (metric, label) in zip(panels, METRICS.items(), strict=True):
            centre = summary[metric].to_numpy(dtype=float)
            ends = summary[[f"{metric}_low", f"{metric}_high"]].to_numpy(dtype=float).T
            axes.errorbar(
                centre,
                places,
                xerr=np.abs(ends - centre),
                fmt="o",
                color=COLOURS[metric],
                capsize=3,
            )
            axes.set_yticks(places, list(summary["arm"]))
            axes.set_xlabel(f"{label}, 95% interval")
        panels[0].invert_yaxis()
        save(figure, path)


def _introduction() -> str:
    return """# What each choice is worth

Written by `python -m experiments` from the runs in `experiments/results/`; what is run stands in
`experiments/studies.yaml`. All on the built-in sample set with its default weights, so take the
order of the arms for more than their numbers.

A run trains one arm on one grouped fold with one seed and scores every val image at its original
resolution; the weights are those of the last epoch, so that val chooses nothing. The folds' images
are pooled. Intervals are 95%, by bootstrap over photographs; a difference is that of the same
images, so its interval is narrower than those of the two arms. It says what other photographs would
change; what other seeds do stands under *Chance*. ± is the deviation of the runs' means."""


def _section(study: Study, summary: pd.DataFrame) -> str:
    lines = [f"## {study.name.replace('_', ' ').capitalize()}", "", study.question, ""]
    lines.append(
        "| arm | runs | photographs | "
        + " | ".join(f"{label} [interval] | difference" for label in METRICS.values())
        + " |"
    )
    lines.append("|---|---|---|" + "---|---|" * len(METRICS))
    for number, row in enumerate(summary.to_dict("records")):
        cells = [row["arm"], str(row["n_runs"]), str(row["n_groups"])]
        for metric in METRICS:
            spread = f" ± {row[f'{metric}_run_std']:.3f}" if row["n_runs"] > 1 else ""
            cells.append(
                f"{row[metric]:.3f} [{row[f'{metric}_low']:.3f}, {row[f'{metric}_high']:.3f}]"
                + spread
            )
            gain = float(row.get(f"{metric}_gain", math.nan))
            cells.append(
                f"{gain:+.3f} [{row[f'{metric}_gain_low']:+.3f}, {row[f'{metric}_gain_high']:+.3f}]"
                if number and math.isfinite(gain)
                else "–"
            )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"![{study.question}](pictures/study-{study.name}.png)", ""]
    copies = f"{study.copies_per_photo} copies of each photograph" if study.copies_per_photo else ""
    lines.append(f"`python -m experiments {study.name}`" + (f"; {copies}." if copies else "."))
    if study.kept:
        lines += ["", study.kept]
    return "\n".join(lines)
