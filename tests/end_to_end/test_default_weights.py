"""The real weights, downloaded as `dvc repro` does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clones import clone_repository, in_clone

pytestmark = pytest.mark.slow


def test_the_default_backbone_learns_fish(tmp_path: Path) -> None:
    """A quarter of the default set at a third of its pixels: the real weights find fish."""
    clone = clone_repository(
        tmp_path / "default",
        {
            "data": {"photos_per_class": 3, "copies_per_photo": 2},
            "features": {"megapixels": 0.09},
            "train": {"epochs": 20},
        },
    )
    in_clone(clone, "dvc", "repro", "evaluate")
    evaluated = json.loads((clone / "metrics/evaluate.json").read_text())
    assert evaluated["val"]["mean_iou"] > 0.8
    assert evaluated["val"]["iou_ci_low"] <= evaluated["val"]["mean_iou"]
