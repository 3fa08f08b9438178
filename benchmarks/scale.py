"""Whether time per image and peak memory stay flat to 50,000 samples.

Each number of samples has a process of its own, which extracts features, trains one epoch and
evaluates, with a tiny random backbone on tiny images, and with nothing kept in memory
(``FISHSEG_MEMORY_GB=0``), as where a set is larger than the memory::

    python -m benchmarks.scale --out /tmp/benchmarks
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from transformers import DINOv3ViTConfig

from benchmarks import timing
from fishseg import evaluation, params, training
from fishseg.backbones import load_backbone
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.params import FeaturesParams

SAMPLES = (200, 2_000, 9_000, 50_000)
N_FILES = 64  # each stands for many samples; what is cached is not shared
SIZE = 32
PHASES = ("features", "train", "evaluate")
CPU = torch.device("cpu")


def main() -> None:
    """Measure each number of samples, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    parser.add_argument("--samples", type=int, nargs="+", default=SAMPLES)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(json.dumps(measure(options.one)))
        return
    found = {str(n_samples): in_a_process(n_samples) for n_samples in options.samples}
    rows = [
        [
            f"{int(n):,}",
            *(f"{1e3 * row[phase] / int(n):.2f}" for phase in PHASES),
            f"{row['mb']:.0f}",
        ]
        for n, row in found.items()
    ]
    head = ["samples", *(f"{phase}, ms an image" for phase in PHASES), "peak memory, MB"]
    timing.report(options.out, "scale", head, rows, found)
    peaks = {f"{int(n):,} samples": timing.Spread((row["mb"],)) for n, row in found.items()}
    timing.bars(options.out / "scale.png", "peak memory, MB", peaks)


def in_a_process(n_samples: int) -> dict[str, float]:
    """The measurements of one number of samples."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FISHSEG_STORE": f"{folder}/store", "FISHSEG_MEMORY_GB": "0"}
        command = [sys.executable, "-m", "benchmarks.scale", "--one", str(n_samples)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(n_samples: int) -> dict[str, float]:
    """Seconds of each phase, and the peak memory in MB, of this process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inventory = draw(n_samples, folder)
        weights = timing.random_backbone(
            DINOv3ViTConfig(
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                patch_size=16,
            ),
            folder,
        )
        times = [time.perf_counter()]
        wanted = FeaturesParams(
            fit="stretch",
            image_size=SIZE,
            layers=(-1,),
            dtype="float16",
            batch_size=32,
            shard_size=64,
        )
        extract(inventory, load_backbone(weights, (-1,)), wanted, folder / "features", CPU)
        times.append(time.perf_counter())
        cache = FeatureCache(folder / "features")
        manifest = inventory[["sample_id", "class_name", "group_id"]].copy()
        manifest["split"] = np.where(np.arange(n_samples) % 5, "train", "val")
        tuned = dataclasses.replace(
            params.load(params.TrainParams), decoder="cnn3", epochs=1, batch_size=32, start_from=""
        )
        result = training.train(cache, manifest, tuned, CPU)
        times.append(time.perf_counter())
        samples = inventory.merge(manifest[["sample_id", "split"]], on="sample_id")
        predictions = evaluation.predict_cached(
            samples, cache, result.decoder.eval(), result.card, CPU
        )
        evaluation.score(predictions, n_samples)
        times.append(time.perf_counter())
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = np.diff(times).tolist()
    return {**dict(zip(PHASES, seconds, strict=True)), "mb": peak_kb / 1024}


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
    masks = [str(folder / f"{number % N_FILES}-mask.png") for number in numbers]
    return pd.DataFrame(
        {
            "sample_id": [f"Square/{number:05d}" for number in numbers],
            "class_name": "Square",
            "group_id": [f"{number // 20}" for number in numbers],
            "image_path": [str(folder / f"{number % N_FILES}.png") for number in numbers],
            "mask_path": masks,
            "raw_mask_path": masks,
            "width": SIZE,
            "height": SIZE,
            "image_sha256": [
                hashlib.sha256(b"image %d" % number).hexdigest() for number in numbers
            ],
            "mask_sha256": [hashlib.sha256(b"mask %d" % number).hexdigest() for number in numbers],
            "mask_status": "ok",
        }
    )


if __name__ == "__main__":
    main()
