"""The stages of the pipeline, one thin script each: ``python -m stages.NAME``."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fishseg.errors import FishsegError

RAW = Path("data/raw")
BACKBONE = Path("data/backbone")
INVENTORY = Path("data/inventory.csv")
AUDIT = Path("data/audit")
MANIFEST = Path("data/manifest.csv")
FEATURES = Path("data/features")
DECODER = Path("data/decoder")
PREDICTIONS = Path("data/predictions")
METRICS = Path("metrics")
PLOTS = Path("plots")
REPORT = Path("data/report")


def run(stage: Callable[[], None]) -> None:
    """Run a stage with its log on standard error; a user's error is one message and exit 1."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        stage()
    except FishsegError as error:
        sys.exit(f"ERROR: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; what is finished is kept, and `dvc repro` goes on from there")


def write_metrics(name: str, metrics: Mapping[str, Any]) -> None:
    """Write ``metrics/NAME.json``."""
    METRICS.mkdir(exist_ok=True)
    text = json.dumps(metrics, indent=2)
    (METRICS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
