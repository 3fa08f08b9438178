"""Write the tables of docs/species.md: ``python -m benchmarks.species``.

They say what ``metrics/classify.json`` of the run that is checked out does; none is typed by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.results import write_between_marks
from fishseg.tables import slug

METRICS = Path("metrics/classify.json")
PER_CLASS = Path("metrics/classify/per_class.csv")
PAGE = Path("docs/species.md")
KEYS = {"accuracy": "accuracy", "macro_recall": "macro recall", "log_loss": "log loss"}


def main() -> None:
    """Write the tables."""
    metrics = json.loads(METRICS.read_text(encoding="utf-8"))
    write_between_marks("species: python -m benchmarks.species", table(metrics), PAGE)
    write_between_marks("unknown: python -m benchmarks.species", unknown(metrics["unknown"]), PAGE)
    of_class = pd.read_csv(PER_CLASS, keep_default_na=False)
    write_between_marks(
        "classes: python -m benchmarks.species", classes(of_class, metrics["unknown"]), PAGE
    )


def table(metrics: dict[str, Any]) -> list[str]:
    """A row a split and kind of mask."""
    lines = [
        f"| tried on | masks | {' | '.join(KEYS.values())} | calibration error "
        "| images (photographs) |",
        "|---|---|---|---|---|---|---|",
    ]
    crossed = metrics["cross_validation"]
    parts = {
        "val": metrics["val"],
        "test": metrics["test"],
        f"{crossed['folds']} folds of photographs": crossed["grouped"],
        f"{crossed['folds']} folds of images (leaky)": crossed["random"],
    }
    for name, by_mask in parts.items():
        for kind, found in by_mask.items():
            scores = " | ".join(interval(found, key) for key in KEYS)
            lines.append(
                f"| {name} | {kind} | {scores} | {found['ece']:.3f} "
                f"| {found['n_images']} ({found['n_groups']}) |"
            )
    return lines


def unknown(found: dict[str, Any]) -> list[str]:
    """A row a split: the threshold comes from the first, the others are new to it."""
    lines = [
        "| tried on | AUROC | learned species called unknown | left-out species named |",
        "|---|---|---|---|",
    ]
    for split in ("train", "val", "test"):
        one = found[split]
        name = "train (sets the threshold)" if split == "train" else split
        lines.append(
            f"| {name} | {interval(one, 'auroc')} | {one['known_rejected']:.0%} "
            f"| {one['unknown_accepted']:.0%} |"
        )
    return lines


def classes(of_class: pd.DataFrame, found: dict[str, Any]) -> list[str]:
    """A row a species: how many of its images are recognised, and what it is when left out."""
    lines = [
        "| species | recall val | recall test | mistaken for | AUROC if left out, val | test |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in of_class.groupby("class_name"):
        by_split = rows.set_index("split")
        mistaken = sorted(set(by_split["taken_for"]) - {""})
        aurocs = [found[split]["per_class"][slug(str(name))]["auroc"] for split in ("val", "test")]
        recalls = [float(by_split["recall"][split]) for split in ("val", "test")]
        cells = [
            str(name),
            *(f"{value:.2f}" for value in recalls),
            ", ".join(mistaken) or "–",
            *(f"{value:.2f}" for value in aurocs),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def interval(found: dict[str, Any], key: str) -> str:
    """A value with its 95% interval."""
    return f"{found[key]:.3f} [{found[f'{key}_ci_low']:.3f}, {found[f'{key}_ci_high']:.3f}]"


if __name__ == "__main__":
    main()
