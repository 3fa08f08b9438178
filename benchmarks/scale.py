"""Whether time per image and peak memory stay flat to 50,000 samples.

For each number of samples, the stages ``features``, ``train`` (one epoch) and ``evaluate`` run as
`dvc repro` runs them, each in a process of its own, with a tiny random backbone on tiny images, and
with nothing kept in memory (``FISHSEG_MEMORY_GB=0``), as where a set is larger than the memory::

    python -m benchmarks.scale --out /tmp/benchmarks
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from transformers import DINOv3ViTConfig

import stages
from benchmarks import timing
from fishseg import tables
from fishseg.images.mask_rule import ZERO_255
from fishseg.params import DEFAULT_PATH
from fishseg.tables import write_inventory

SAMPLES = (200, 2_000, 9_000, 50_000)
N_FILES = 64  # each stands for many samples; what is cached is not shared
SIZE = 32
STAGES = ("features", "train", "evaluate")
ROOT = Path(__file__).parents[1]
CHANGES = {
    "features": {"fit": "stretch", "image_size": SIZE, "layers": [-1]},
    "train": {"decoder": "cnn3", "epochs": 1, "batch_size": 32},
}


def main() -> None:
    """Measure each number of samples, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    parser.add_argument("--samples", type=int, nargs="+", default=SAMPLES)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        sys.stdout.write(json.dumps(measure(options.stage)))
        return
    found = {n_samples: run_stages(n_samples) for n_samples in options.samples}
    rows = [
        [
            f"{n_samples:,}",
            *(f"{1e3 * run[stage]['seconds'] / n_samples:.2f}" for stage in STAGES),
            *(f"{run[stage]['mb']:.0f}" for stage in STAGES),
        ]
        for n_samples, run in found.items()
    ]
    head = [
        "samples",
        *(f"{stage}, ms an image" for stage in STAGES),
        *(f"{stage}, peak MB" for stage in STAGES),
    ]
    timing.report(options.out, "scale", head, rows, found)
    peaks = {
        f"{stage}, {n_samples:,} samples": timing.Spread((run[stage]["mb"],))
        for stage in STAGES
        for n_samples, run in found.items()
    }
    timing.bars(options.out / "scale.png", "peak memory, MB", peaks)


def run_stages(n_samples: int) -> dict[str, dict[str, float]]:
    """What `measure` says of each stage, run in turn on so many samples."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(n_samples, folder)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "FISHSEG_STORE": str(folder / "store"),
            "FISHSEG_MEMORY_GB": "0",
        }
        found = {}
        for stage in STAGES:
            command = [sys.executable, "-m", "benchmarks.scale", "--stage", stage]
            done = subprocess.run(
                command, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True
            )
            found[stage] = json.loads(done.stdout)
    return found


def measure(stage: str) -> dict[str, float]:
    """Seconds of a stage in the current folder, and the peak memory in MB of this process."""
    work = importlib.import_module(f"stages.{stage}").main
    seconds = timing.seconds(work)
    return {"seconds": seconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def prepare(n_samples: int, folder: Path) -> None:
    """What the stages before leave in ``folder``: parameters, backbone, inventory, manifest."""
    parameters = yaml.safe_load((ROOT / DEFAULT_PATH).read_text(encoding="utf-8"))
    for section, values in CHANGES.items():
        parameters[section].update(values)
    (folder / DEFAULT_PATH).write_text(yaml.safe_dump(parameters), encoding="utf-8")
    (folder / stages.BACKBONE.parent).mkdir()
    config = DINOv3ViTConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=16,
    )
    timing.random_backbone(config, folder).rename(folder / stages.BACKBONE)
    inventory = draw(n_samples, folder)
    write_inventory(inventory, folder / stages.INVENTORY)
    manifest = inventory.assign(split=np.array(tables.SPLITS)[np.arange(n_samples) % 5 % 3])
    manifest[tables.MANIFEST_COLUMNS].to_csv(folder / stages.MANIFEST, index=False)


def draw(n_samples: int, folder: Path) -> pd.DataFrame:
    """An inventory of squares on noise; many samples share a file, and none its name or hash."""
    rng = np.random.default_rng(0)
    for number in range(N_FILES):
        image = rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[8:24, 8:24] = 255
        Image.fromarray(image).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"{number}-mask.png")
    numbers = np.arange(n_samples)
    masks = [f"{number % N_FILES}-mask.png" for number in numbers]
    return pd.DataFrame(
        {
            "sample_id": [f"Square/{number:05d}" for number in numbers],
            "class_name": "Square",
            "group_id": [f"{number // 20}" for number in numbers],
            "image_path": [f"{number % N_FILES}.png" for number in numbers],
            "mask_path": masks,
            "raw_mask_path": masks,
            "mask_rule": ZERO_255,
            "raw_mask_rule": ZERO_255,
            "width": SIZE,
            "height": SIZE,
            "image_sha256": [
                hashlib.sha256(b"image %d" % number).hexdigest() for number in numbers
            ],
            "mask_sha256": [hashlib.sha256(b"mask %d" % number).hexdigest() for number in numbers],
            "foreground_fraction": 0.25,
            "flipped": None,
            "rotation_degrees": None,
            "mask_agreement": None,
            "mask_status": "ok",
        }
    )


if __name__ == "__main__":
    main()
