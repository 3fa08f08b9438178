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
    path,
)
from fishseg.errors import ParameterError

if TYPE_CHECKING:
    import argparse

    import pandas as pd

log = logging.getLogger("fishseg")

COLUMNS = ("sample_id", "group_id", "iou", "boundary_iou")  # of --out

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
        description="Deal the photographs of a labelled folder to folds, score each fold with a\n"
        "decoder trained on the others, and print one table: trained from scratch, and\n"
        "going on from the decoder in data/decoder, which stays as it is. Parameters are\n"
        "those of params.yaml, so run it where that file lies.",
        examples=EXAMPLES,
    )
    command.add_argument(
        "folder",
        type=path,
        metavar="FOLDER",
        help="images/ and masks/, or the Kaggle layout; or a zip",
    )
    command.add_argument(
        "--folds", type=int, default=5, metavar="N", help="how many folds (default: %(default)s)"
    )
    command.add_argument(
        "--masks", type=path, metavar="DIR", help="also score these masks, one PNG a picture"
    )
    command.add_argument("--out", type=path, metavar="CSV", help="also write every picture's score")
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
    from fishseg.audit.tracing import group_copies
    from fishseg.backbones import load_backbone
    from fishseg.datasets.local import opened
    from fishseg.decoders.files import CARD_NAME
    from fishseg.evaluation.crossvalidation import cross_validate, score_masks, write_views
    from fishseg.features.extraction import extract
    from fishseg.features.shards import FeatureCache
    from fishseg.prediction.shipped import BACKBONE, DECODER
    from fishseg.tables import write_csv

    if options.folds < 2:
        raise ParameterError(
            f"{options.folds} folds leave nothing to train on",
            where="--folds",
            expected="2 or more",
        )
    check_threshold(options.threshold)
    if options.out:
        # Better now than after all the work.
        options.out.parent.mkdir(parents=True, exist_ok=True)
    features_params = params.load(params.FeaturesParams)
    train_params = params.load(params.TrainParams).model_copy(update={"init_from": ""})
    device = devices.select()
    starts = {"from scratch": ""}
    decoder = options.decoder or DECODER
    if (decoder / CARD_NAME).exists():
        starts[f"from {decoder}"] = str(decoder)
    with (
        opened(options.folder) as folder,
        tempfile.TemporaryDirectory(
            prefix="partial-", dir=store.folder("crossvalidation")
        ) as features,
        tempfile.TemporaryDirectory() as views_folder,
    ):
        found = build_inventory(folder, max_broken_share=1, mask_values=options.mask_values)
        found.require_fish()
        min_likeness = params.load(params.AuditParams).min_likeness
        inventory = group_copies(found.table, folder, min_likeness=min_likeness)
        table = _Table()
        if options.masks:
            table.add(str(options.masks), score_masks(inventory, options.masks))
        views = write_views(inventory, Path(views_folder))
        backbone = load_backbone(
            options.backbone or BACKBONE, features_params.layers, devices.precision(device), device
        )
        everything = pd.concat([inventory, views], ignore_index=True)
        extract(everything, backbone, features_params, Path(features), device)
        cache = FeatureCache(Path(features))
        for name, start in starts.items():
            wanted = train_params.model_copy(update={"init_from": start})
            scores = cross_validate(
                inventory,
                cache,
                wanted,
                device,
                folds=options.folds,
                views=views,
                threshold=options.threshold,
                tta=options.tta,
            )
            table.add(name, scores)
    if options.out:
        write_csv(table.scores()[["decoder", *COLUMNS]].round(6), options.out)
    return conclude(*found.use())


class _Table:
    """The table, printed row by row: what is measured is not lost with what fails later."""

    def __init__(self) -> None:
        self._measured: dict[str, pd.DataFrame] = {}

    def add(self, name: str, scores: pd.DataFrame) -> None:
        """Print the row of some masks."""
        from fishseg.metrics.bootstrap import bootstrap_interval

        if not self._measured:
            columns = "masks | pictures (photographs) | mean IoU [95% interval] | median | worst"
            print(f"| {columns} | boundary IoU |\n|---|---|---|---|---|---|")
        self._measured[name] = scores
        low, high = bootstrap_interval(scores["iou"], scores["group_id"])
        print(
            f"| {name} | {len(scores)} ({scores['group_id'].nunique()}) "
            f"| **{scores['iou'].mean():.3f}** [{low:.3f}, {high:.3f}] "
            f"| {scores['iou'].median():.3f} | {scores['iou'].min():.3f} "
            f"| {scores['boundary_iou'].mean():.3f} |",
            flush=True,
        )

    def scores(self) -> pd.DataFrame:
        """The scores of every picture, with what they are of as ``decoder``."""
        import pandas as pd

        return pd.concat([table.assign(decoder=name) for name, table in self._measured.items()])
