"""Fish that touch: told apart by the decoder's second map, against connected parts of the mask.

Draws two sets of the scene ``shoal`` of different seeds, trains a decoder on the one for each way
to tell fish apart, from the weights of the one that ships, and scores it on the other, of which it
has seen nothing::

    python -m benchmarks.touching

Prints a Markdown table and writes it between the marks of ``docs/measurements.md``. Drawn pictures
stay in ``tmp/touching/``, features in the store.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import pandas as pd
import torch

from benchmarks.results import write_between_marks
from fishseg import devices, params
from fishseg.audit.inventory import build_inventory
from fishseg.backbones import load_backbone
from fishseg.datasets.sample.anywhere import draw_set
from fishseg.decoders import BOUNDARY, DISTANCE, NONE
from fishseg.evaluation.counting import CONNECTED, SPLIT
from fishseg.evaluation.predicting import predict_cached
from fishseg.evaluation.scoring import score
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.metrics.panoptic import summarise_instances
from fishseg.prediction.shipped import PRETRAINED, locate
from fishseg.training import loop

OUT = Path("tmp/touching")
PAGE = Path("docs/measurements.md")
WAYS = (NONE, BOUNDARY, DISTANCE)
SEEDS = {"train": 11, "test": 12}
COLUMNS = {
    "panoptic_quality": "panoptic quality",
    "segmentation_quality": "of those found, IoU",
    "recognition_quality": "found (F1)",
    "count_error": "count off by",
    "count_exact": "count right",
    "ap50": "AP 0.5",
    "ap75": "AP 0.75",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--pictures", type=int, default=22, help="to train on, of each place")
    parser.add_argument("--test-pictures", type=int, default=6, help="to score, of each place")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--megapixels", type=float, default=0.13)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--backbone", type=Path, default=None, metavar="DIR")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    device = devices.select()
    numbers = {"train": options.pictures, "test": options.test_pictures}
    sets = {name: inventory_of(name, number) for name, number in numbers.items()}
    caches = {
        name: features_of(name, table, options.megapixels, options.backbone, device)
        for name, table in sets.items()
    }
    rows = []
    for way in options.ways:
        recipe = params.load(params.TrainParams).model_copy(
            update={"instances": way, "epochs": options.epochs, "init_from": str(PRETRAINED)}
        )
        result = loop.train(caches["train"], manifest_of(sets["train"]), recipe, device)
        decoder = result.decoder.eval()
        said = predict_cached(sets["test"], caches["test"], decoder, result.card, device)
        scores = score(said, len(sets["test"]), threshold=0.5)
        found = scores.instances[""]
        iou = float(scores.table["iou"].mean())
        rows.append(row(way, "connected parts", summarise_instances(found[CONNECTED]), iou))
        if SPLIT in found:
            rows.append(row(way, "watershed", summarise_instances(found[SPLIT]), iou))
        print(*rows[-2:], sep="\n", flush=True)
    heads = ["`train.instances`", "a fish is", *COLUMNS.values(), "mask IoU"]
    lines = [
        f"{numbers['train'] * len(set(sets['train']['class_name']))} drawn pictures to learn from, "
        f"{len(sets['test'])} others to score, of 2 to 12 fish each, at {options.megapixels:g} MP:",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *rows,
    ]
    print("\n".join(lines))
    write_between_marks("touching: python -m benchmarks.touching", lines, PAGE)


def inventory_of(name: str, pictures_per_place: int) -> pd.DataFrame:
    """The samples of a drawn set, drawn where it is missing."""
    folder = OUT / f"{name}-{pictures_per_place}"
    if not folder.exists():
        draw_set(SEEDS[name], pictures_per_place, folder, "shoal")
    return build_inventory(folder, max_broken_share=0, mask_values="numbered").table


def features_of(
    name: str,
    inventory: pd.DataFrame,
    megapixels: float,
    backbone_folder: Path | None,
    device: torch.device,
) -> FeatureCache:
    """The features of a drawn set, from the backbone of the decoder that ships."""
    _, folder = locate(PRETRAINED, backbone_folder)
    wanted = params.load(params.FeaturesParams).model_copy(update={"megapixels": megapixels})
    backbone = load_backbone(folder, wanted.layers, devices.precision(device), device)
    extract(inventory, backbone, wanted, OUT / f"{name}-features", device)
    return FeatureCache(OUT / f"{name}-features")


def manifest_of(inventory: pd.DataFrame) -> pd.DataFrame:
    """One picture of ten is val; each is a scene of its own."""
    split = ["val" if number % 10 == 9 else "train" for number in range(len(inventory))]
    return inventory[["sample_id", "class_name", "group_id"]].assign(split=split)


def row(way: str, fish: str, scores: dict[str, float], iou: float) -> str:
    """A line of the table."""
    values = [f"{scores[name]:.3f}" for name in COLUMNS]
    return f"| `{way}` | {fish} | {' | '.join([*values, f'{iou:.3f}'])} |"


if __name__ == "__main__":
    main()
