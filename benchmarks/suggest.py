"""Do the pictures that `fishseg suggest` chooses teach more than others: ``benchmarks.suggest``.

A set of real pictures that the decoder never saw (``real-catfish`` of ``FISHSEG_REAL``,
``../shared`` unless it is set), one copy of each photograph. For each of five seeds a third of the
photographs is kept apart to measure on. Of the others, the first n of `suggest`'s order and the
first n of a random one fine-tune the decoder that suggests, the one that ships, as
docs/labelling.md types it; mean IoU at the working size, of one look, on what was kept apart.
Features are computed once.

The table is written between the marks of docs/labelling.md: mean over seeds with its 95% interval
by bootstrap over seeds, the paired difference, and the labels that 0.94 takes on average.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from benchmarks.real_sets import find_sets
from benchmarks.results import write_between_marks
from fishseg import devices, params
from fishseg.audit.inventory import build_inventory
from fishseg.backbones import load_backbone
from fishseg.cli.inputs import InputFile
from fishseg.cli.suggest import Candidate, choose, look
from fishseg.decoders.files import DecoderCard, load_decoder
from fishseg.errors import DataError, FishsegError
from fishseg.evaluation.predicting import predict_cached
from fishseg.evaluation.scoring import score
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.prediction.segmenter import Segmenter
from fishseg.prediction.shipped import locate
from fishseg.training import loop

PAGE = Path("docs/labelling.md")
SET = "real-catfish"
SEEDS = range(5)
LABELS = (2, 4, 8, 16)
FINE_TUNING = {"learning_rate": 0.0005, "wise_ft_alpha": 0.5}  # as docs/labelling.md types it
HELD_OUT = 1 / 3
GOAL_IOU = 0.94
ARMS = ("suggested", "random")
BOOTSTRAP_SAMPLES = 2000


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--decoder", type=Path, metavar="FOLDER", help="that suggests")
    parser.add_argument("--backbone", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        curve = measure(options)
    except FishsegError as error:
        raise SystemExit(f"ERROR: {error}") from None
    lines = table(curve)
    print("\n".join(lines))
    write_between_marks("suggest: python -m benchmarks.suggest", lines, PAGE)


def measure(options: argparse.Namespace) -> pd.DataFrame:
    """``seed, n, arm, iou``; 0 labels are the decoder as it was."""
    inventory = one_copy_each(Path(os.environ.get("FISHSEG_REAL", "../shared")))
    device = devices.select()
    folders = locate(options.decoder, options.backbone)
    segmenter = Segmenter.load(*folders, device)
    candidates = {
        str(name): look(_picture(Path(str(path))), segmenter)
        for name, path in tqdm(
            list(zip(inventory["sample_id"], inventory["image_path"], strict=True)),
            desc="look",
            unit="image",
        )
    }
    tree = yaml.safe_load(params.DEFAULT_PATH.read_text(encoding="utf-8"))
    tree["train"] |= {**FINE_TUNING, "init_from": str(folders[0])}
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        parameters = Path(scratch) / "params.yaml"
        parameters.write_text(yaml.safe_dump(tree), encoding="utf-8")
        wanted = params.load(params.FeaturesParams, parameters)
        backbone = load_backbone(folders[1], wanted.layers, devices.precision(device), device)
        extract(inventory, backbone, wanted, Path(scratch) / "features", device)
        cache = FeatureCache(Path(scratch) / "features")
        how = params.load(params.TrainParams, parameters)
        for seed in SEEDS:
            held_out, orders = deal(candidates, seed)
            before, card = load_decoder(folders[0], device)
            untouched = mean_iou(split(inventory, [], held_out), cache, before, card)
            for arm, order in orders.items():
                rows.append({"seed": seed, "n": 0, "arm": arm, "iou": untouched})
                for n in LABELS:
                    manifest = split(inventory, order[:n], held_out)
                    result = loop.train(cache, manifest, how, device)
                    iou = mean_iou(manifest, cache, result.decoder, result.card)
                    rows.append({"seed": seed, "n": n, "arm": arm, "iou": iou})
    return pd.DataFrame(rows)


def mean_iou(
    manifest: pd.DataFrame, cache: FeatureCache, decoder: nn.Module, card: DecoderCard
) -> float:
    """Of what was kept apart."""
    measured = manifest[manifest["split"] == "val"]
    said = predict_cached(measured, cache, decoder.eval(), card, devices.select())
    return float(score(said, len(measured), threshold=0.5).table["iou"].mean())


def one_copy_each(folder: Path) -> pd.DataFrame:
    """The inventory of the set with the first copy of every photograph."""
    found = {real_set.name: real_set for real_set in find_sets(folder)}
    if SET not in found:
        raise DataError(f"there is no set {SET}", where=folder, remedy="FISHSEG_REAL=FOLDER")
    pictures = pd.DataFrame(
        [(str(one.image_path), one.photograph) for one in found[SET].pictures],
        columns=["image_path", "photograph"],
    ).drop_duplicates("photograph")
    inventory = build_inventory(folder / SET, max_broken_share=0).table
    inventory["image_path"] = inventory["image_path"].astype(str)
    return inventory.merge(pictures, on="image_path", validate="1:1")


def _picture(path: Path) -> InputFile:
    return InputFile(name=path.stem, source=path.name, path=path)


def deal(candidates: dict[str, Candidate], seed: int) -> tuple[list[str], dict[str, list[str]]]:
    """What is kept apart, and the others in the order of each arm."""
    shuffled = np.random.default_rng(seed).permutation(sorted(candidates)).tolist()
    n_held_out = round(HELD_OUT * len(shuffled))
    held_out, pool = shuffled[:n_held_out], shuffled[n_held_out:]
    chosen = choose([candidates[name] for name in pool], len(pool))
    name_of = {id(candidates[name]): name for name in pool}
    suggested = [name_of[id(candidate)] for candidate, _ in chosen]
    return held_out, dict(zip(ARMS, (suggested, pool), strict=True))


def split(
    inventory: pd.DataFrame, labelled: Sequence[str], held_out: Sequence[str]
) -> pd.DataFrame:
    """A manifest that trains on what is labelled, and measures on what was kept apart."""
    part_of = {**dict.fromkeys(labelled, "train"), **dict.fromkeys(held_out, "val")}
    members = inventory[inventory["sample_id"].isin(part_of)]
    return members.assign(split=members["sample_id"].map(part_of))


def table(curve: pd.DataFrame) -> list[str]:
    """Lines of Markdown."""
    lines = ["| labels | suggested | random | difference |", "|--:|---|---|---|"]
    by_arm = curve.pivot_table(index=["n", "seed"], columns="arm", values="iou")
    for n, group in by_arm.groupby(level="n"):
        values = [group[arm].to_numpy() for arm in ARMS]
        cells = [_with_interval(values[0]), _with_interval(values[1])]
        cells.append(_with_interval(values[0] - values[1], "+.3f"))
        lines.append(f"| {n} | {' | '.join(cells)} |")
    reached = [
        curve[(curve["arm"] == arm) & (curve["iou"] >= GOAL_IOU)].groupby("seed")["n"].min()
        for arm in ARMS
    ]
    said = [
        f"{arm} reached it in {len(first)} of {curve['seed'].nunique()} seeds"
        + (f", with {first.mean():.1f} labels on average" if len(first) else "")
        for arm, first in zip(ARMS, reached, strict=True)
    ]
    return [*lines, "", f"Mean IoU of {GOAL_IOU}: {'; '.join(said)}."]


def _with_interval(values: NDArray[np.float64], form: str = ".3f") -> str:
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(BOOTSTRAP_SAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"**{values.mean():{form}}** [{low:{form}}, {high:{form}}]"


if __name__ == "__main__":
    main()
