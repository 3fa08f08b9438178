"""The stages of the pipeline, one thin script each: ``python -m stages.NAME``."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fishseg.errors import one_message
from fishseg.store import write_whole

RAW = Path("data/raw")
BACKBONE = Path("data/backbone")
INVENTORY = Path("data/inventory.csv")
AUDIT = Path("data/audit")
MANIFEST = Path("data/manifest.csv")
SPLIT = Path("data/split")
FEATURES = Path("data/features")
DECODER = Path("data/decoder")
PREDICTIONS = Path("data/predictions")
POOLED = Path("data/pooled")
CLASSIFIER = Path("data/classifier")
ROBUSTNESS = Path("data/robustness")
METRICS = Path("metrics")
PLOTS = Path("plots")
REPORT = Path("data/report")


def run(stage: Callable[[], None]) -> None:
    """Run a stage with its log on standard error; what a user causes is one message, exit 1."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    with one_message("interrupted; what is finished is kept, and `dvc repro` goes on from there"):
        stage()


def write_metrics(name: str, metrics: Mapping[str, Any]) -> None:
    """Write ``metrics/NAME.json``."""
    METRICS.mkdir(exist_ok=True)
    text = json.dumps(metrics, indent=2)
    with write_whole(METRICS / f"{name}.json") as path:
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
