"""What Ray costs on one machine: ``python -m benchmarks.ray_workers --out FOLDER --images 500``.

The whole of extraction, from image files to shards, with DINOv3 ViT-S/16 at 448x448 and random
weights: by this process alone with all cores; by one worker of Ray's that has all cores; and by two
workers on two nodes that have half of them each. Ray runs already, as a cluster does; starting the
workers is part of what is measured, and told apart by runs on a single image.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from benchmarks import timing
from benchmarks.features import alone_in
from benchmarks.timing import STRETCHED, Measure, seconds
from fishseg import cluster, devices, store
from fishseg.backbones import Backbone, load_backbone
from fishseg.features.extraction import extract
from fishseg.parallel import n_cpus
from fishseg.tables import read_inventory
from stages import INVENTORY

ALONE, ONE, TWO = "this process", "one worker", "two workers"


def main() -> None:
    """Measure and report."""
    options = timing.arguments(__doc__, images=500)
    os.environ.update({**cluster._QUIET, **cluster._HERE})
    torch.set_num_threads(n_cpus())
    device = devices.select()
    samples = repeated(read_inventory(INVENTORY), options.images)
    with tempfile.TemporaryDirectory() as name, alone_in(Path(name)) as folder:
        load = partial(
            load_backbone, timing.random_vits16(folder), (-1,), devices.precision(device), device
        )
        run = partial(measure, load=load, folder=folder, device=device)
        measures: dict[str, Measure] = {
            f"{name}, {what}": partial(run, some, nodes=nodes)
            for name, nodes in ((ALONE, 0), (ONE, 1), (TWO, 2))
            for what, some in (("all", samples), ("one image", samples.head(1)))
        }
        found = timing.alternate(measures, options.repeats)
    rows = []
    for name in (ALONE, ONE, TWO):
        whole, start = found[f"{name}, all"], found[f"{name}, one image"]
        more = start + found[f"{ALONE}, one image"] * -1
        rows.append(
            [
                name,
                str(whole * (1 / len(samples))),
                str(start),
                str(whole / found[f"{ALONE}, all"]),
                str((whole + more * -1) / found[f"{ALONE}, all"]),
            ]
        )
    head = ["", "s an image", "s for one image", "of this process", "the same, once started"]
    timing.report(options.out, "ray", head, rows, {"seconds": found, "images": len(samples)})


def repeated(inventory: pd.DataFrame, n_images: int) -> pd.DataFrame:
    """As many samples as asked for; where there are fewer files, some are there more than once.

    Each counts as another file, for the store computes what it holds already for nobody.
    """
    times = -(-n_images // len(inventory))
    table = pd.concat([inventory] * times, ignore_index=True).head(n_images)
    sample_ids = [f"{number:06d}" for number in range(len(table))]
    checksums = {
        column: [
            hashlib.sha256(f"{sample_id} {checksum}".encode()).hexdigest()
            for sample_id, checksum in zip(sample_ids, table[column], strict=True)
        ]
        for column in ("image_sha256", "mask_sha256")
    }
    return table.assign(sample_id=sample_ids, **checksums)


def measure(
    samples: pd.DataFrame,
    *,
    load: partial[Backbone],
    folder: Path,
    device: torch.device,
    nodes: int,
) -> float:
    """Seconds of an extraction with an empty store, by as many nodes; 0 for this process alone."""
    shutil.rmtree(store.folder("shards"))
    backbone = load()
    with joined(nodes) if nodes else contextlib.nullcontext():
        return seconds(
            lambda: extract(samples, backbone, STRETCHED, folder / "features", device, reload=load)
        )


@contextlib.contextmanager
def joined(n_nodes: int) -> Iterator[None]:
    """A cluster of nodes on this machine that share its cores, for as long as the block lasts."""
    ray = importlib.import_module("ray")
    nodes = importlib.import_module("ray.cluster_utils").Cluster()
    try:
        for _ in range(n_nodes):
            nodes.add_node(
                num_cpus=n_cpus() // n_nodes,
                node_ip_address="127.0.0.1",
                include_dashboard=False,
                object_store_memory=100 * 2**20,
            )
        os.environ[cluster.VARIABLE] = nodes.address
        cluster._connected.cache_clear()
        yield
    finally:
        os.environ.pop(cluster.VARIABLE, None)
        ray.shutdown()
        nodes.shutdown()


if __name__ == "__main__":
    main()
