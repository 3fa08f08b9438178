"""``fishseg score``: the metrics of a decoder on a labelled folder."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.cli.arguments import (
    Commands,
    add_command,
    add_fine,
    add_mask_values,
    add_model,
    add_threshold,
    add_tta,
    check_threshold,
    conclude,
    path,
)

if TYPE_CHECKING:
    import argparse


# This works in any folder, without a params.yaml.
BOOTSTRAP_SAMPLES = 2000
SEED = 42
MIN_LIKENESS = 0.4  # as params.yaml has it: audit.min_likeness
GALLERIES = {"best": 5, "random": 20, "worst": 5}

EXAMPLES = """\
  fishseg score my-pictures                       how good the decoder is on labelled pictures
  fishseg score my-pictures.zip --galleries look  and pictures of the best and the worst
  fishseg score my-pictures --tta 8               how good it is with an average over eight views
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    score = add_command(
        commands,
        "score",
        summary="metrics of the decoder on a labelled folder",
        description="Measure the decoder on pictures with masks and print the metrics as JSON on\n"
        "standard output; progress and log go to standard error. Copies of one photograph are\n"
        "found, and intervals are over photographs.",
        examples=EXAMPLES,
    )
    score.add_argument(
        "folder",
        type=path,
        metavar="FOLDER",
        help="images/ and masks/, or the Kaggle layout; or a zip",
    )
    score.add_argument(
        "--galleries",
        type=path,
        metavar="DIR",
        help="also draw the best, random and worst pictures",
    )
    add_mask_values(score)
    add_fine(score)
    add_tta(score)
    add_threshold(score)
    add_model(score)
    score.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the metrics; 1 where a file could not be used."""
    from fishseg import devices
    from fishseg.audit.inventory import build_inventory
    from fishseg.audit.tracing import group_copies
    from fishseg.datasets.local import opened
    from fishseg.evaluation.files import describe
    from fishseg.evaluation.predicting import predict_files
    from fishseg.evaluation.scoring import score
    from fishseg.images.folders import mark_results
    from fishseg.metrics.masks import summarise
    from fishseg.prediction.segmenter import Segmenter
    from fishseg.prediction.shipped import as_used, locate
    from fishseg.prediction.stored import Predictions, write_predictions
    from fishseg.report.figures import draw_galleries

    check_threshold(options.threshold)
    if options.galleries:
        # Better now than after all the work.
        options.galleries.mkdir(parents=True, exist_ok=True)
    folders = locate(options.decoder, options.backbone)
    segmenter = Segmenter.load(
        *folders, devices.select(), tta=options.tta, threshold=options.threshold
    )
    threshold = segmenter.threshold
    model = as_used(segmenter, folders[0], fine=options.fine)
    with opened(options.folder) as folder, tempfile.TemporaryDirectory() as kept:
        told = Path(kept) / "predictions"
        # Whatever is broken is left out and listed, but never ends the run.
        inventory = build_inventory(folder, max_broken_share=1, mask_values=options.mask_values)
        samples = group_copies(
            inventory.table, folder, min_likeness=MIN_LIKENESS, kept_in=Path(kept)
        )
        write_predictions(predict_files(samples, model), told, describe(segmenter.card, threshold))
        predictions = Predictions(told)
        scores = score(predictions, len(samples), threshold=threshold).table
        summary = summarise(scores, bootstrap_samples=BOOTSTRAP_SAMPLES, seed=SEED)
        print(json.dumps(summary, indent=2), flush=True)
        if options.galleries:
            draw_galleries(scores, predictions, options.galleries, seed=SEED, **GALLERIES)
            # A later `fishseg predict` must not take them for photographs.
            drawn = [file.name for file in options.galleries.glob("gallery_*.png")]
            mark_results(options.galleries, drawn)
    return conclude(*inventory.use())
