"""``fishseg predict``: masks, overlays and measurements of pictures."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging

from fishseg.cli.arguments import (
    Commands,
    add_command,
    add_fine,
    add_model,
    add_results,
    add_threshold,
    add_tta,
    check_threshold,
    conclude,
    decimal,
    one_line,
    path,
)
from fishseg.errors import ParameterError

log = logging.getLogger("fishseg")

DESCRIPTION = """\
Find the fish in pictures and measure them. In DIR this writes

  masks/NAME.png       8 bit, 0 or 255, of the picture's own size
  overlays/NAME.png    to look at: each fish with the line it was measured along
  measurements.csv     a row a fish: area, length along the body, width, ...

Pictures keep the folders they lie in. A run that is repeated skips what is finished, and one with
other pictures adds to what is there. A mask in masks/ that was corrected by hand is kept, and
measured as it is. What is not used is listed at the end with its reason; the exit status is 1 where
that is a picture."""

EXAMPLES = """\
  fishseg predict photo.jpg --out fish
  fishseg predict photos --out fish --mm-per-px 0.21
  fishseg predict 'trip/**/*.jpg' --out fish --reference-px 812 --reference-mm 300
  fishseg predict photos --out fish --coco --probabilities 16
  fishseg predict photos --out fish --tta 8
  fishseg predict photos --out fish --no-fine            without the closer look
  fishseg predict photos --out fish --model model.onnx
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    predict = add_command(
        commands,
        "predict",
        summary="masks, overlays and measurements of pictures",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    predict.add_argument(
        "paths", nargs="+", metavar="PATH", help="a picture, a folder of pictures, or a pattern"
    )
    add_results(predict)
    predict.add_argument(
        "--probabilities",
        type=int,
        choices=(8, 16),
        nargs="?",
        const=8,
        default=0,
        metavar="BITS",
        help="also write probabilities/NAME.png, of 8 (default) or 16 bits; full white is 1",
    )
    predict.add_argument(
        "--min-confidence",
        type=decimal,
        default=0.0,
        metavar="C",
        help="leave fish of less confidence, 0 to 1, out of the table (default: %(default)s)",
    )
    add_fine(predict)
    add_tta(predict)
    add_threshold(predict, of_model=True)
    add_model(predict)
    predict.add_argument(
        "--model", type=path, metavar="FILE", help="a model.onnx of `fishseg export` instead"
    )
    predict.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Write everything; 1 where a file could not be used."""
    from fishseg.cli.filling import fill, wanted_of
    from fishseg.cli.inputs import find_pictures
    from fishseg.cli.models import load_model

    check_threshold(options.threshold)
    if not 0 <= options.min_confidence <= 1:
        raise ParameterError(
            f"no confidence is {options.min_confidence:g}",
            where="--min-confidence",
            expected="0 to 1",
            remedy="--min-confidence 0.8",
        )
    wanted, scales = wanted_of(options)
    found = find_pictures(options.paths)
    if not found.pictures:
        return conclude(0, [one_line(problem) for problem in found.problems], found.remarks)
    load = functools.partial(load_model, options, tta=options.tta, fine=options.fine)
    loaded = load()
    log.info("%s", loaded.about)
    wanted = dataclasses.replace(
        wanted,
        model=loaded.identity,
        probability_bits=options.probabilities,
        min_confidence=options.min_confidence,
    )
    return fill(options.out, found, loaded.model, wanted, scales, reload=load)
