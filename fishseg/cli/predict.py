"""``fishseg predict``: masks, overlays and measurements of pictures."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.cli.arguments import (
    Commands,
    add_command,
    add_model,
    add_results,
    add_threshold,
    add_tta,
    check_threshold,
    conclude,
    one_line,
)
from fishseg.errors import ModelError
from fishseg.prediction.model import THRESHOLD

if TYPE_CHECKING:
    from fishseg.prediction.model import ProbabilityModel

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
    add_tta(predict)
    add_threshold(predict, of_model=True)
    add_model(predict)
    predict.add_argument(
        "--model", type=Path, metavar="FILE", help="a model.onnx of `fishseg export` instead"
    )
    predict.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Write everything; 1 where a file could not be used."""
    from fishseg.cli.filling import fill, wanted_of
    from fishseg.cli.inputs import find_pictures

    check_threshold(options.threshold)
    wanted, scales = wanted_of(options)
    found = find_pictures(options.paths)
    if not found.pictures:
        return conclude(0, [one_line(problem) for problem in found.problems], found.remarks)
    model, identity = _load_model(options)
    wanted = dataclasses.replace(wanted, model=identity, probability_bits=options.probabilities)
    return fill(options.out, found, model, wanted, scales)


def _load_model(options: argparse.Namespace) -> tuple[ProbabilityModel, str]:
    """The model, and what tells it apart from others."""
    if options.model is not None:
        from fishseg.prediction.onnx_model import OnnxSegmenter

        model = OnnxSegmenter.load(options.model, tta=options.tta, threshold=options.threshold)
        return model, f"{_hash([options.model])} {options.tta} {model.threshold}"
    try:
        from fishseg import devices
        from fishseg.prediction.segmenter import Segmenter
    except ModuleNotFoundError as error:
        raise ModelError(
            f"a trained decoder needs {error.name}, which is not installed",
            where=options.decoder,
            remedy="pip install fishseg with its dependencies, or give an exported model: "
            "--model model.onnx",
        ) from None
    segmenter = Segmenter.load(
        options.decoder,
        options.backbone,
        devices.select(),
        tta=options.tta,
        threshold=THRESHOLD if options.threshold is None else options.threshold,
    )
    # The decoder's card holds the hash of the backbone's weights, which loading has checked.
    identity = f"{_hash(sorted(options.decoder.iterdir()))} {options.tta} {segmenter.threshold}"
    return segmenter, identity


def _hash(files: list[Path]) -> str:
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]
    return " ".join(digests)
