"""``fishseg predict``: masks, overlays and measurements of pictures."""

from __future__ import annotations

import argparse
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.cli.arguments import (
    Commands,
    add_command,
    add_model,
    add_threshold,
    add_tta,
    check_threshold,
    exit_status,
)
from fishseg.errors import FishsegError, ModelError, ParameterError
from fishseg.prediction.model import THRESHOLD

if TYPE_CHECKING:
    from fishseg.cli.inputs import InputFile
    from fishseg.prediction.model import ProbabilityModel

log = logging.getLogger("fishseg")

DESCRIPTION = """\
Find the fish in pictures and measure them. In DIR this writes

  masks/NAME.png       8 bit, 0 or 255, of the picture's own size
  overlays/NAME.png    to look at: each fish with the line it was measured along
  measurements.csv     a row a fish: area, length along the body, width, ...

Pictures keep the folders they lie in. A run that is repeated skips what is finished. A picture
that cannot be used is listed at the end, and the exit status is then 1."""

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
    predict.add_argument("--out", required=True, type=Path, metavar="DIR", help="where to write")
    predict.add_argument(
        "--mm-per-px", type=float, metavar="MM", help="the scale: millimetres in a pixel"
    )
    predict.add_argument(
        "--reference-px", type=float, metavar="A", help="the scale: something A pixels long ..."
    )
    predict.add_argument(
        "--reference-mm", type=float, metavar="B", help="... is B millimetres long"
    )
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
        "--coco",
        action="store_true",
        help="also write annotations.json (exact run lengths) and annotations_polygons.json",
    )
    predict.add_argument(
        "--min-share",
        type=float,
        default=0.03,
        metavar="SHARE",
        help="leave out parts smaller than this share of a picture's largest fish "
        "(default: %(default)s)",
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
    from tqdm import tqdm

    from fishseg.cli.inputs import find_pictures
    from fishseg.cli.results import TABLE, Results, Wanted, writing
    from fishseg.cli.streaming import outcomes
    from fishseg.cli.tables import Table, scale, write_coco

    mm_per_px = scale(options.mm_per_px, options.reference_px, options.reference_mm)
    _check_share(options.min_share)
    check_threshold(options.threshold)
    results = Results(options.out)
    pictures, nowhere = find_pictures(options.paths, left_out=results.picture_folders)
    problems: list[FishsegError] = list(nowhere)
    if not pictures:
        return _exit_status(problems)
    model, identity = _load_model(options)
    wanted = Wanted(
        model=identity,
        min_share=options.min_share,
        probability_bits=options.probabilities,
        coco=options.coco,
    )
    finished: list[InputFile] = []
    path = options.out / TABLE
    with writing(path), path.open("w", encoding="utf-8", newline="") as file:
        table = Table(file, mm_per_px)
        found = outcomes(pictures, model, results, wanted)
        for picture, outcome in tqdm(found, total=len(pictures), desc="predict", unit="image"):
            if isinstance(outcome, FishsegError):
                problems.append(outcome)
            else:
                table.add(picture.source, outcome["fish"])
                finished.append(picture)
    if options.coco:
        with writing(options.out):
            write_coco(options.out, lambda: results.records(finished))
    table.report()
    log.info("the results are in %s", options.out)
    return _exit_status(problems)


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ParameterError(
            f"the smallest share cannot be {share:g}",
            where="--min-share",
            expected="0 to 1",
            remedy="--min-share 0.03",
        )


def _exit_status(problems: list[FishsegError]) -> int:
    """0, or 1 after saying once and together what could not be used and what to do about it."""
    return exit_status(
        [
            f"{problem.where}: {problem.what}" + (f" ({problem.remedy})" if problem.remedy else "")
            for problem in problems
        ]
    )


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
