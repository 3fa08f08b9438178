"""``fishseg score``: the metrics of a decoder on a labelled folder."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fishseg.cli.arguments import (
    Commands,
    add_command,
    add_mask_values,
    add_model,
    add_views,
    exit_status,
)

if TYPE_CHECKING:
    import argparse

    from fishseg.datasets.layout import Problem

log = logging.getLogger("fishseg")

EXAMPLES = """\
  fishseg score my-pictures                       how good the decoder is on labelled pictures
  fishseg score my-pictures.zip --galleries look  and pictures of the best and the worst
  fishseg score my-pictures --views 8             how good it is with an average over eight views
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    score = add_command(
        commands,
        "score",
        summary="metrics of the decoder on a labelled folder",
        description="Measure the decoder on pictures with masks and print the metrics as JSON on\n"
        "standard output; progress and log go to standard error.",
        examples=EXAMPLES,
    )
    score.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="images/ and masks/, or the Kaggle layout; or a zip",
    )
    score.add_argument(
        "--galleries",
        type=Path,
        metavar="DIR",
        help="also draw the best, random and worst pictures",
    )
    add_mask_values(score)
    add_views(score)
    add_model(score)
    score.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the metrics; 1 where a file could not be used."""
    from fishseg import devices, params
    from fishseg.audit.inventory import (
        KINDS_KEPT,
        KINDS_REDUNDANT,
        build_inventory,
    )
    from fishseg.datasets.local import opened
    from fishseg.evaluation import files, scoring
    from fishseg.metrics.masks import summarise
    from fishseg.prediction.segmenter import Segmenter

    # This works in any folder, without a params.yaml.
    settings = params.EvaluateParams(
        bootstrap_samples=2000, gallery_best=5, gallery_random=20, gallery_worst=5, seed=42
    )
    segmenter = Segmenter.load(
        options.decoder, options.backbone, devices.select(), n_views=options.views
    )
    with opened(options.folder) as folder:
        # Whatever is broken is left out and listed, but never ends the run.
        inventory = build_inventory(folder, max_broken_share=1, mask_values=options.mask_values)

        def predict(samples: Any) -> Any:
            return scoring.predict_files(samples, segmenter)

        samples = inventory.table
        scores = scoring.score(predict(samples), len(samples))
        summary = summarise(
            scores, bootstrap_samples=settings.bootstrap_samples, seed=settings.seed
        )
        if options.galleries:
            files.draw_galleries(scores, samples, predict, settings, options.galleries)
    print(json.dumps(summary, indent=2))
    unusable = []
    for problem in inventory.problems:
        if problem.kind in KINDS_KEPT + KINDS_REDUNDANT:
            log.info("%s", _line(problem))
        else:
            unusable.append(_line(problem))
    return exit_status(unusable)


def _line(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}"
