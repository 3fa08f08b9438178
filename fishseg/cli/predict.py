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
    add_threshold,
    add_tta,
    check_threshold,
    conclude,
)
from fishseg.errors import FishsegError, ModelError, ParameterError
from fishseg.prediction.model import THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fishseg.cli.inputs import InputFile
    from fishseg.cli.results import Record, Results, Wanted
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
    from fishseg.cli.inputs import find_pictures
    from fishseg.cli.results import Results, Wanted
    from fishseg.cli.tables import scale

    mm_per_px = scale(options.mm_per_px, options.reference_px, options.reference_mm)
    _check_share(options.min_share)
    check_threshold(options.threshold)
    found = find_pictures(options.paths)
    if not found.pictures:
        return conclude(0, [_line(problem) for problem in found.problems], found.remarks)
    model, identity = _load_model(options)
    wanted = Wanted(
        model=identity,
        min_share=options.min_share,
        probability_bits=options.probabilities,
        coco=options.coco,
        mm_per_px=mm_per_px,
    )
    with Results(options.out) as results:
        settled = _Settled()
        try:
            _predict(results.named(found.pictures), model, results, wanted, settled)
        finally:
            # Also of a run that was interrupted: what is finished is in the tables.
            _write_tables(results, wanted)
    log.info("the results are in %s", options.out)
    problems: list[FishsegError] = [*settled.problems, *found.problems]
    return conclude(
        settled.n_used, [_line(problem) for problem in problems], settled.remarks + found.remarks
    )


@dataclasses.dataclass
class _Settled:
    """What has become of the pictures so far."""

    n_used: int = 0
    problems: list[FishsegError] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)


def _predict(
    pictures: list[InputFile],
    model: ProbabilityModel,
    results: Results,
    wanted: Wanted,
    settled: _Settled,
) -> None:
    from tqdm import tqdm

    from fishseg.cli.streaming import outcomes

    found = outcomes(pictures, model, results, wanted)
    for outcome in tqdm(found, total=len(pictures), desc="predict", unit="image"):
        if isinstance(outcome.settled, FishsegError):
            settled.problems.append(outcome.settled)
        else:
            settled.n_used += 1
        if outcome.remark:
            settled.remarks.append(f"{outcome.picture.source}: {outcome.remark}")


def _write_tables(results: Results, wanted: Wanted) -> None:
    """Put the tables together from all records, also those of earlier runs."""
    from fishseg.cli.results import TABLE
    from fishseg.cli.tables import COCO_FILES, table_of, write_coco

    table = table_of(record for _, record in results.records())
    with results.replacing(results.folder / TABLE) as part:
        table.write_csv(part)
    # Once there, they are kept up to date.
    if wanted.coco or all((results.folder / name).exists() for name in COCO_FILES):
        for name, kind in COCO_FILES.items():
            with results.replacing(results.folder / name) as part:
                write_coco(part, lambda: _with_outlines(results), kind)
    table.report()
    n_other = sum(
        record["made_with"] != wanted.made_with(by_hand=record["by_hand"])
        for _, record in results.records()
    )
    if n_other:
        log.warning(
            "%d of %d images were predicted with another model or other options, in an earlier "
            "run: give them again to bring them up to date",
            n_other,
            table.n_images,
        )


def _with_outlines(results: Results) -> Iterator[Record]:
    """The records with the outlines of their fish, made of the masks where they lack."""
    from fishseg.cli.streaming import outlines
    from fishseg.images.masks import read_mask
    from fishseg.measurement.instances import fish_of_mask

    for name, record in results.records():
        if "outlines" not in record:
            mask = read_mask(results.mask(name), (record["height"], record["width"]))
            record["outlines"] = outlines(fish_of_mask(mask, min_share=record["min_share"]), mask)
            results.write_record(name, record)
        yield record


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ParameterError(
            f"the smallest share cannot be {share:g}",
            where="--min-share",
            expected="0 to 1",
            remedy="--min-share 0.03",
        )


def _line(problem: FishsegError) -> str:
    return f"{problem.where}: {problem.what}" + (f" ({problem.remedy})" if problem.remedy else "")


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
