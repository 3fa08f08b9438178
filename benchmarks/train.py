"""How fast a decoder trains from the cache, against the starting project's loop.

At 448x448, batches of 8, on the images of ``data/inventory.csv``, DINOv3 ViT-S/16 with random
weights::

    python -m benchmarks.train --out /tmp/benchmarks

All in alternation: a pass of `benchmarks.baseline_loop` over a few images; one feature pass over
them; a pass of the ``cnn3`` and of the ``detail`` decoder over the cache, with the baseline's loss
and with the recipe of params.yaml; the same steps on batches that are in memory already; and
reading the shards once. Seconds an image, so that passes over different numbers of images compare.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import timing
from benchmarks.baseline_loop import BATCH_SIZE, BaselineLoop
from benchmarks.features import alone_in, end_to_end
from benchmarks.timing import Spread, seconds
from fishseg import devices, params
from fishseg.backbones import load_backbone
from fishseg.features.loading import Loader
from fishseg.features.shards import Batch, FeatureCache
from fishseg.tables import read_inventory
from fishseg.training import loop
from fishseg.training.losses import LOSSES
from stages import INVENTORY

EPOCHS = 20
# The starting project's loss, and nothing around it.
BASELINE: dict[str, Any] = {
    "loss": "bce",
    "color_jitter": 0.0,
    "feature_noise": 0.0,
    "ema_decay": 0.0,
}


def main() -> None:
    """Measure and report."""
    options = timing.arguments(__doc__, images=128, baseline_images=8)
    device = devices.select()
    with tempfile.TemporaryDirectory() as name, alone_in(Path(name)) as folder:
        weights = timing.random_vits16(folder)
        samples = read_inventory(INVENTORY).head(options.images)
        few = samples.head(options.baseline_images)
        backbone = load_backbone(weights, (-1,), devices.precision(device), device)
        baseline = BaselineLoop(weights, few, device)
        end_to_end(samples, backbone, folder, device)()
        cache = FeatureCache(folder / "features")
        feature_pass = end_to_end(few, backbone, folder / "few", device)
        names = list(samples["sample_id"])
        recipe = params.load(params.TrainParams).model_copy(update={"init_from": ""})
        cnn3, detail, cnn3_recipe, detail_recipe = (
            Trainer(settings.model_copy(update={"decoder": decoder}), cache, names, device)
            for settings in (recipe.model_copy(update=BASELINE), recipe)
            for decoder in ("cnn3", "detail")
        )
        n_images = len(samples)
        measured = timing.alternate(
            {
                "baseline loop": lambda: seconds(baseline.train) / len(few),
                "feature pass": lambda: feature_pass() / len(few),
                "cnn3 from the cache": lambda: seconds(cnn3.train) / n_images,
                "cnn3 on resident tensors": lambda: seconds(cnn3.train_resident) / n_images,
                "detail from the cache": lambda: seconds(detail.train) / n_images,
                "cnn3, default recipe": lambda: seconds(cnn3_recipe.train) / n_images,
                "detail, default recipe": lambda: seconds(detail_recipe.train) / n_images,
                "shards read once": lambda: seconds(cnn3.read) / n_images,
            },
            options.repeats,
        )
    summarise(measured, options.out)


def summarise(measured: dict[str, Spread], folder: Path) -> None:
    """Print and write what was found."""
    baseline, cached = measured["baseline loop"], measured["cnn3 from the cache"]
    ratios = {
        "epoch: baseline loop / cnn3": baseline / cached,
        f"{EPOCHS} epochs: baseline loop / (one feature pass + cnn3)": (baseline * EPOCHS)
        / (measured["feature pass"] + cached * EPOCHS),
        "second experiment: baseline loop / cnn3": baseline / cached,
        "cnn3: resident tensors / cache": measured["cnn3 on resident tensors"] / cached,
        "reading / cnn3": measured["shards read once"] / cached,
        "detail / cnn3": measured["detail from the cache"] / cached,
        "detail / cnn3, default recipe": measured["detail, default recipe"]
        / measured["cnn3, default recipe"],
    }
    rows = [[name, str(value), ""] for name, value in measured.items()]
    rows += [[name, "", str(value)] for name, value in ratios.items()]
    facts = {"seconds_an_image": measured, "ratios": ratios}
    timing.report(folder, "train", ["", "s an image", "ratio"], rows, facts)
    timing.bars(folder / "train.png", "seconds an image", measured)


class Trainer:
    """The steps of the stage ``train``, without validation and checkpoints."""

    def __init__(
        self,
        wanted: params.TrainParams,
        cache: FeatureCache,
        sample_ids: list[str],
        device: torch.device,
    ) -> None:
        loader = Loader(cache, sample_ids, BATCH_SIZE, device)
        self.cache, self.sample_ids, self.device = cache, sample_ids, device
        self.run = loop.Run(
            cache=cache,
            sample_ids={"train": sample_ids, "val": []},
            loaders={"train": loader, "val": Loader(cache, [], BATCH_SIZE, device)},
            params=wanted,
            loss=LOSSES[wanted.loss],
            device=device,
        )
        self.progress = loop._begin(self.run)
        self.progress.decoder.train()
        self.batches = list(loader.batches())

    def train(self) -> None:
        """One pass from the cache."""
        for batch in self.run.loaders["train"].batches(shuffle=True):
            self._step(batch)

    def train_resident(self) -> None:
        """One pass over batches that are in memory."""
        for batch in self.batches:
            self._step(batch)

    def read(self) -> None:
        """Read the shards, and nothing else."""
        for _ in Loader(
            self.cache, self.sample_ids, BATCH_SIZE, self.device, memory_bytes=0
        ).batches():
            pass

    def _step(self, batch: Batch) -> None:
        loop._train_step(self.run, self.progress, batch)


if __name__ == "__main__":
    main()
