"""``fishseg crossvalidate``: what a decoder trained on your own pictures would be worth."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.cli.arguments import (
    Commands,
    add_command,
    add_mask_values,
    add_model,
    add_threshold,
    add_tta,
    check_threshold,
    conclude,
)
from fishseg.errors import ParameterError

if TYPE_CHECKING:
    import argparse

    import pandas as pd

log = logging.getLogger("fishseg")

EXAMPLES = """\
  fishseg crossvalidate my-pictures                    from scratch, and from data/decoder
  fishseg crossvalidate my-pictures --folds 10
  fishseg crossvalidate my-pictures --masks theirs     beside masks that something else made
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = add_command(
        commands,
        "crossvalidate",
        summary="how good a decoder trained on a labelled folder would be",
        description="Deal the pictures of a labelled folder to folds, score each fold with a\n"
        "decoder trained on the others, and print one table: trained from scratch, and\n"
        "going on from the decoder in data/decoder, which stays as it is. Parameters are\n"
        "those of params.yaml, so run it where that file lies.",
        examples=EXAMPLES,
    )
    command.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="images/ and masks/, or the Kaggle layout; or a zip",
    )
    command.add_argument(
        "--folds", type=int, default=5, metavar="N", help="how many folds (default: %(default)s)"
    )
    command.add_argument(
        "--masks", type=Path, metavar="DIR", help="also score these masks, one PNG a picture"
    )
    command.add_argument("--out", type=Path, metavar="CSV", help="also write every picture's score")
    add_mask_values(command)
    add_tta(command)
    add_threshold(command)
    add_model(command)
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the table; 1 where a file could not be used."""
    import tempfile

    import pandas as pd

    from fishseg import devices, params, store
    from fishseg.audit.inventory import build_inventory
    from fishseg.backbones import load_backbone
    from fishseg.datasets.local import opened
    from fishseg.decoders.files import CARD_NAME
    from fishseg.evaluation.crossvalidation import cross_validate, score_masks, write_views
    from fishseg.features.extraction import extract
    from fishseg.features.shards import FeatureCache

    if options.folds < 2:
        raise ParameterError(
            f"{options.folds} folds leave nothing to train on",
            where="--folds",
            expected="2 or more",
        )
    check_threshold(options.threshold)
    features_params = params.load(params.FeaturesParams)
    train_params = params.load(params.TrainParams).model_copy(update={"init_from": ""})
    device = devices.select()
    starts = {"from scratch": ""}
    if (options.decoder / CARD_NAME).exists():
        starts[f"from {options.decoder}"] = str(options.decoder)
    measured: dict[str, pd.DataFrame] = {}
    with (
        opened(options.folder) as folder,
        tempfile.TemporaryDirectory(dir=store.folder("crossvalidation")) as features,
        tempfile.TemporaryDirectory() as views_folder,
    ):
        found = build_inventory(folder, max_broken_share=1, mask_values=options.mask_values)
        found.require_fish()
        inventory = found.table
        if options.masks:
            measured[str(options.masks)] = score_masks(inventory, options.masks)
        views = write_views(inventory, Path(views_folder))
        backbone = load_backbone(
            options.backbone, features_params.layers, devices.precision(device), device
        )
        everything = pd.concat([inventory, views], ignore_index=True)
        extract(everything, backbone, features_params, Path(features), device)
        cache = FeatureCache(Path(features))
        for name, start in starts.items():
            wanted = train_params.model_copy(update={"init_from": start})
            measured[name] = cross_validate(
                inventory,
                cache,
                wanted,
                device,
                folds=options.folds,
                views=views,
                threshold=options.threshold,
                tta=options.tta,
            )
    _print_table(measured)
    if options.out:
        tables = [table.assign(decoder=name) for name, table in measured.items()]
        columns = ["decoder", "sample_id", "iou", "boundary_iou"]
        pd.concat(tables)[columns].round(6).to_csv(options.out, index=False, lineterminator="\n")
    return conclude(*found.use())


def _print_table(measured: dict[str, pd.DataFrame]) -> None:
    from fishseg.metrics.bootstrap import bootstrap_interval

    print("| masks | pictures | mean IoU [95% interval] | median | worst | boundary IoU |")
    print("|---|---|---|---|---|---|")
    for name, table in measured.items():
        low, high = bootstrap_interval(table["iou"], table["group_id"])
        print(
            f"| {name} | {len(table)} | **{table['iou'].mean():.3f}** [{low:.3f}, {high:.3f}] "
            f"| {table['iou'].median():.3f} | {table['iou'].min():.3f} "
            f"| {table['boundary_iou'].mean():.3f} |"
        )
