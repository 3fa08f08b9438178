"""The starting project's training loop, written anew as the peer of all that is cached here.

Every step decodes and resizes its images, runs the frozen backbone and trains the decoder: no
workers, no cache, float32, batches of 8 at 448x448, AdamW, BCE::

    python -m benchmarks.baseline_loop --out /tmp/benchmarks
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import DINOv3ViTModel

from benchmarks.timing import SIZE, alternate, arguments, bars, random_vits16, report, seconds
from fishseg import devices
from fishseg.tables import read_inventory
from stages import INVENTORY

BATCH_SIZE = 8
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class BaselineLoop:
    """Backbone, decoder and optimiser of the starting project, and its pass over the images."""

    def __init__(self, backbone: Path, samples: pd.DataFrame, device: torch.device) -> None:
        self.samples, self.device = samples, device
        self.backbone = DINOv3ViTModel.from_pretrained(backbone).eval().to(device)
        self.decoder = nn.Sequential(
            nn.Conv2d(384, 128, 3, padding=1),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, 1, 1),
        ).to(device)
        self.optimizer = torch.optim.AdamW(self.decoder.parameters(), lr=1e-3)

    def train(self) -> None:
        """One pass."""
        for images, masks in self._batches():
            logits = self.decoder(self.features(images))
            logits = interpolate(logits, scale_factor=16, mode="bilinear")
            loss = nn.functional.binary_cross_entropy_with_logits(logits, masks.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()  # it logs the loss of every step

    def features(self, images: Tensor) -> Tensor:
        """Patch features ``(B, 384, 28, 28)`` of images ``(B, 3, 448, 448)`` in [0, 1]."""
        with torch.no_grad():
            normalised = ((images - MEAN) / STD).to(self.device)
            tokens: Tensor = self.backbone(pixel_values=normalised).last_hidden_state[:, 5:]
        maps: Tensor = tokens.transpose(1, 2).unflatten(2, (SIZE // 16, SIZE // 16))
        return maps

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.samples), BATCH_SIZE):
            rows = self.samples.iloc[start : start + BATCH_SIZE]
            images = torch.stack([read(path, "RGB") for path in rows["image_path"]])
            masks = torch.stack([read(path, "L") for path in rows["mask_path"]])
            yield images, (masks[:, None] > 0.5).float()


def read(path: str, mode: str) -> Tensor:
    """An image squashed to 448x448, float32 in [0, 1], channels first."""
    image = Image.open(path).convert(mode).resize((SIZE, SIZE))
    pixels = torch.from_numpy(np.array(image)).float() / 255
    return pixels.movedim(-1, 0) if mode == "RGB" else pixels


def main() -> None:
    """Time a few steps."""
    options = arguments(__doc__, images=16)
    with tempfile.TemporaryDirectory() as folder:
        backbone = random_vits16(Path(folder))
        samples = read_inventory(INVENTORY).head(options.images)
        loop = BaselineLoop(backbone, samples, devices.select())
        measured = alternate({"baseline loop": lambda: seconds(loop.train)}, options.repeats)
    per_image = {name: value * (1 / len(samples)) for name, value in measured.items()}
    rows = [[name, str(value)] for name, value in per_image.items()]
    report(options.out, "baseline_loop", ["", "s an image"], rows, per_image)
    bars(options.out / "baseline_loop.png", "seconds an image", per_image)


if __name__ == "__main__":
    main()
