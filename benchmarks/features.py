"""How fast features are extracted, against a plain loop and what the libraries give at best.

DINOv3 ViT-S/16 with random weights at 448x448, on the images of ``data/inventory.csv``::

    python -m benchmarks.features --out /tmp/benchmarks

Compared in alternation: a plain loop over ``AutoModel`` that reads, computes and keeps one batch
after the other, in float32; and in each precision, torch alone on pixels in memory, on a CPU
OpenVINO alone on pixels in memory with a queue of its own, and the whole of extraction, from image
files to shards.
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

from benchmarks import timing
from benchmarks.baseline_loop import BATCH_SIZE, BaselineLoop, read
from benchmarks.timing import SIZE, STRETCHED, Measure, Spread, seconds
from fishseg import devices, store
from fishseg.backbones import Backbone, OpenVinoBackbone, load_backbone, load_torch_backbone
from fishseg.backbones.openvino_model import PRECISIONS
from fishseg.backbones.runtime import compile_model, openvino
from fishseg.features.compute import LARGEST_BATCH, compute
from fishseg.features.extraction import extract
from fishseg.features.masks import read_packed_mask
from fishseg.features.shard_file import write_shard
from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import ZERO_255
from fishseg.images.resizing import resize_image
from fishseg.tables import read_inventory
from stages import INVENTORY


def main() -> None:
    """Measure and report."""
    options = timing.arguments(__doc__, images=32)
    device = devices.select()
    with tempfile.TemporaryDirectory() as name, alone_in(Path(name)) as folder:
        weights = timing.random_vits16(folder)
        samples = read_inventory(INVENTORY).head(options.images)
        pixels = torch.stack([resized(path) for path in samples["image_path"]])
        plain = BaselineLoop(weights, samples, device)
        measures: dict[str, Measure] = {"plain loop": lambda: seconds(lambda: run_plain(plain))}
        errors = {}
        exact = load_torch_backbone(weights, (-1,), device=device)(pixels[:4].to(device)).cpu()
        for dtype in dict.fromkeys([torch.float32, devices.precision(device)]):
            kind = str(dtype).removeprefix("torch.")
            backbone = load_backbone(weights, (-1,), dtype, device)
            torch_alone = load_torch_backbone(weights, (-1,), dtype, device)
            measures[f"torch alone, {kind}"] = torch_on_pixels(torch_alone, pixels, device)
            if isinstance(backbone, OpenVinoBackbone):
                measures[f"OpenVINO alone, {kind}"] = openvino_on_pixels(backbone, pixels)
            measures[f"end to end, {kind}"] = end_to_end(samples, backbone, folder, device)
            found = backbone(pixels[:4].to(device)).cpu()
            errors[kind] = float((found - exact).norm() / exact.norm())
        names = list(measures)
        measured = timing.alternate(
            {**measures, **phases(samples, pixels, folder)}, options.repeats
        )
    summarise(measured, names, errors, n_images=len(samples), folder=options.out)


def summarise(
    measured: dict[str, Spread],
    names: list[str],
    errors: dict[str, float],
    *,
    n_images: int,
    folder: Path,
) -> None:
    """Print and write what was found."""
    per_image = {name: measured[name] * (1 / n_images) for name in names}
    rows = [
        [name, str(value), str(measured["plain loop"] / measured[name])]
        for name, value in per_image.items()
    ]
    for kind, error in errors.items():
        whole = measured[f"end to end, {kind}"]
        for library in ("torch", "OpenVINO"):
            alone = measured.get(f"{library} alone, {kind}")
            if alone is not None:
                rows.append([f"{library} alone / end to end, {kind}", "", str(alone / whole)])
        rows.append([f"relative error, {kind}", "", f"{error:.2g}"])
    # Done by other threads while the backbone computes: shares of work, not of waiting.
    kind = list(errors)[-1]
    rows += [
        [f"phase: {name}, of end to end, {kind}", "", str(value / measured[f"end to end, {kind}"])]
        for name, value in measured.items()
        if name not in names
    ]
    facts = {"seconds": measured, "images": n_images, "errors": errors}
    head = ["", "s an image", "plain loop / this, or ratio"]
    timing.report(folder, "features", head, rows, facts)
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


def torch_on_pixels(backbone: Backbone, pixels: Tensor, device: torch.device) -> Measure:
    """In the batches that extraction without OpenVINO uses."""
    batches = pixels.split(LARGEST_BATCH[device.type])
    return lambda: seconds(
        lambda: deque((compute(b, backbone, device, "float16") for b in batches), maxlen=0)
    )


def openvino_on_pixels(backbone: OpenVinoBackbone, pixels: Tensor) -> Measure:
    """A stream a thread, fed by the library's own queue; nothing is kept."""
    n_streams = torch.get_num_threads()
    compiled = compile_model(backbone.model, PRECISIONS[backbone.dtype], n_streams, n_streams)
    queue = openvino().AsyncInferQueue(compiled, n_streams)
    images = [image.numpy() for image in pixels.split(1)]

    def run() -> None:
        for image in images:
            queue.start_async({0: image}, share_inputs=True)
        queue.wait_all()

    return lambda: seconds(run)


def run_plain(plain: BaselineLoop) -> None:
    """Read a batch, compute it, keep it; then the next."""
    kept = []
    paths = list(plain.samples["image_path"])
    for start in range(0, len(paths), BATCH_SIZE):
        images = [read(path, "RGB") for path in paths[start : start + BATCH_SIZE]]
        kept.append(plain.features(torch.stack(images)).half().cpu())


def end_to_end(
    samples: pd.DataFrame, backbone: Backbone, folder: Path, device: torch.device
) -> Measure:
    """The whole stage, from image files to shards, with an empty store."""

    def run() -> float:
        shutil.rmtree(store.folder("shards"))
        return seconds(lambda: extract(samples, backbone, STRETCHED, folder / "features", device))

    return run


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


if __name__ == "__main__":
    main()
