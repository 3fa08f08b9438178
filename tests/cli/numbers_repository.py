"""Repositories of git and DVC that hold numbers, for tests of the commands that read them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

# Of each image its photograph and its IoU.
Scores = dict[str, tuple[str, float]]


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def split(mean: float, low: float | None, high: float | None, **classes: float) -> dict[str, Any]:
    return {
        "mean_iou": mean,
        "iou_ci_low": low,
        "iou_ci_high": high,
        "dice": 0.5,
        "n_images": 9,
        "n_groups": 3,
        "per_class": {name: {"mean_iou": value} for name, value in classes.items()},
    }


def scored(**splits: Scores) -> None:
    """Write the table of every image's scores."""
    lines = [
        "sample_id,class_name,group_id,mask_status,split,iou,boundary_iou,dice,precision,recall"
    ]
    for name, images in splits.items():
        for sample_id, (group, iou) in images.items():
            lines.append(f"{sample_id},Trout,{group},ok,{name},{','.join([str(iou)] * 5)}")
    Path("metrics/evaluate").mkdir(parents=True, exist_ok=True)
    Path("metrics/evaluate/images.csv").write_text("\n".join(lines) + "\n")


def changed(images: Scores, *by: float) -> Scores:
    return {
        name: (group, round(iou + step, 4))
        for (name, (group, iou)), step in zip(images.items(), by, strict=True)
    }


def write(**splits: dict[str, Any]) -> None:
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/evaluate.json").write_text(json.dumps(splits))


def commit(**splits: dict[str, Any]) -> None:
    write(**splits)
    git("add", "--all")
    git("commit", "--quiet", "--message", "numbers")


def as_experiment(name: str, first: str) -> None:
    """Make the last commit an experiment of an earlier one, and go back to that."""
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/{name}", "HEAD")
    git("reset", "--quiet", "--hard", first)
