"""How fast features are extracted, against a plain loop and the machine's own ceiling.

DINOv3 ViT-S/16 with random weights at 448x448, on the images of ``data/inventory.csv``::

    python -m benchmarks.features --out /tmp/benchmarks

Compared in alternation: (a) a plain loop over ``AutoModel`` that reads, computes and keeps one
batch after the other; (b) the backbone alone on pixels in memory; (c) the time its floating-point
operations take at the rate of a large matrix product in the same precision.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import timing
from benchmarks.baseline_loop import BATCH_SIZE, BaselineLoop, read
from benchmarks.timing import SIZE, Spread, seconds
from fishseg import devices, store
from fishseg.backbones import Backbone, load_backbone
from fishseg.features.extraction import LARGEST_BATCH, compute, extract, on_cores
from fishseg.features.masks import read_packed_mask
from fishseg.features.shard_file import write_shard
from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import ZERO_255
from fishseg.images.resizing import resize_image
from fishseg.params import FeaturesParams
from fishseg.tables import read_inventory
from stages import INVENTORY


def main() -> None:
    """Measure and report."""
    options = timing.arguments(__doc__, images=32)
    device = devices.select()
    with tempfile.TemporaryDirectory() as name, alone_in(Path(name)) as folder:
        weights = timing.random_vits16(folder)
        samples = read_inventory(INVENTORY).head(options.images)
        backbone = load_backbone(weights, (-1,), devices.precision(device), device)
        exact = load_backbone(weights, (-1,), device=device)
        pixels = torch.stack([resized(path) for path in samples["image_path"]])
        plain = BaselineLoop(weights, samples, device)
        flops = count_flops(exact, pixels[:1].to(device))
        measured = timing.alternate(
            {
                "matrix product": lambda: timing.seconds_per_flop(backbone.dtype, device),
                "plain loop": lambda: seconds(lambda: run_plain(plain)),
                "backbone alone": lambda: seconds(lambda: run(backbone, pixels, device)),
                "end to end": lambda: end_to_end(samples, backbone, folder, device),
                **phases(samples, pixels, folder),
            },
            options.repeats,
        )
        error = relative_error(backbone, exact, pixels[:4].to(device))
    measured["ceiling"] = measured.pop("matrix product") * (flops * len(samples))
    summarise(
        measured,
        n_images=len(samples),
        flops=flops,
        error=error,
        dtype=backbone.dtype,
        folder=options.out,
    )


def summarise(
    measured: dict[str, Spread],
    *,
    n_images: int,
    flops: float,
    error: float,
    dtype: torch.dtype,
    folder: Path,
) -> None:
    """Print and write what was found."""
    whole = measured["end to end"]
    names = ("ceiling", "backbone alone", "end to end", "plain loop")
    per_image = {name: measured[name] * (1 / n_images) for name in names}
    rows = [
        [name, str(value), str(measured["ceiling"] / measured[name])]
        for name, value in per_image.items()
    ]
    rows += [
        ["end to end against backbone alone", "", str(measured["backbone alone"] / whole)],
        ["plain loop against end to end", "", str(measured["plain loop"] / whole)],
    ]
    shares = {name: value / whole for name, value in measured.items() if name not in names}
    # Done by other threads while the backbone computes: shares of work, not of waiting.
    rows += [[f"phase: {name}", "", str(share)] for name, share in shares.items()]
    rows += [[f"relative error of {dtype}", "", f"{error:.4f}"]]
    facts = {"seconds": measured, "images": n_images, "flops": flops, "error": error}
    timing.report(folder, "features", ["", "s an image", "share or ratio"], rows, facts)
    timing.bars(folder / "features.png", "seconds an image", per_image)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[Path]:
    """A store of its own, so that nothing computed before is reused."""
    before = os.environ.get("FISHSEG_STORE")
    os.environ["FISHSEG_STORE"] = str(folder / "store")
    try:
        yield folder
    finally:
        os.environ.pop("FISHSEG_STORE")
        if before is not None:
            os.environ["FISHSEG_STORE"] = before


def resized(path: str) -> Tensor:
    """Pixels ``(3, 448, 448)`` uint8."""
    image = resize_image(read_image(Path(path)), (SIZE, SIZE))
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def run(backbone: Backbone, pixels: Tensor, device: torch.device) -> None:
    """The backbone over pixels in memory, in the batches and on the cores that extraction uses."""

    def features(batch: Tensor) -> None:
        compute(batch, backbone, device, "float16")

    batches = pixels.split(LARGEST_BATCH[device.type])
    deque(on_cores(features, batches) if device.type == "cpu" else map(features, batches), maxlen=0)


def run_plain(plain: BaselineLoop) -> None:
    """Read a batch, compute it, keep it; then the next."""
    kept = []
    paths = list(plain.samples["image_path"])
    for start in range(0, len(paths), BATCH_SIZE):
        images = [read(path, "RGB") for path in paths[start : start + BATCH_SIZE]]
        kept.append(plain.features(torch.stack(images)).half().cpu())


def end_to_end(
    samples: pd.DataFrame, backbone: Backbone, folder: Path, device: torch.device
) -> float:
    """Seconds of the whole stage, from image files to shards, with an empty store."""
    shutil.rmtree(store.folder("shards"))
    params = FeaturesParams(
        fit="stretch",
        image_size=SIZE,
        megapixels=1,
        layers=(-1,),
        dtype="float16",
        batch_size=0,
        shard_size=64,
    )
    return seconds(lambda: extract(samples, backbone, params, folder / "features", device))


def phases(samples: pd.DataFrame, pixels: Tensor, folder: Path) -> dict[str, timing.Measure]:
    """The work around the backbone, each kind on one thread."""
    paths = [Path(path) for path in samples["image_path"]]
    images = [read_image(path) for path in paths]
    masks = [
        (Path(str(sample.mask_path)), (int(sample.height), int(sample.width)), ZERO_255)  # type: ignore[arg-type]
        for sample in samples.itertuples()
    ]
    features = torch.randn(len(paths), 384, SIZE // 16, SIZE // 16).half()
    shard = {"features": features, "pixels": pixels}
    return {
        "read": lambda: seconds(lambda: [path.read_bytes() for path in paths]),
        "read and decode": lambda: seconds(lambda: [read_image(path) for path in paths]),
        "resize": lambda: seconds(lambda: [resize_image(i, (SIZE, SIZE)) for i in images]),
        "masks": lambda: seconds(
            lambda: [read_packed_mask(*mask, (SIZE, SIZE), with_valid=False) for mask in masks]
        ),
        "write": lambda: seconds(lambda: write_shard(shard, folder / "shard")),
    }


def count_flops(backbone: Backbone, pixels: Tensor) -> float:
    """Floating-point operations of the matrix products of one image."""
    counter = FlopCounterMode(display=False)
    # It knows nothing of the CPU's fused attention, but all of the products it is made of.
    with sdpa_kernel(SDPBackend.MATH), counter:
        backbone(pixels)
    return float(counter.get_total_flops())


def relative_error(backbone: Backbone, exact: Backbone, pixels: Tensor) -> float:
    """Norm of the difference to float32, over the norm."""
    expected = exact(pixels)
    return float((backbone(pixels) - expected).norm() / expected.norm())


if __name__ == "__main__":
    main()
