"""The command line: ``fishseg predict`` and ``fishseg score``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from fishseg import devices, evaluation, params, plots, report
from fishseg.audit.inventory import KINDS_KEPT, KINDS_REDUNDANT, build_inventory
from fishseg.datasets.images import read_image
from fishseg.datasets.layout import Problem
from fishseg.datasets.local import opened
from fishseg.errors import DataError, FishsegError
from fishseg.metrics import summarise
from fishseg.prediction import Segmenter

log = logging.getLogger("fishseg")

# `score` works in any folder, without a params.yaml.
SCORE = params.EvaluateParams(
    bootstrap_samples=2000, gallery_best=5, gallery_random=20, gallery_worst=5, seed=42
)

EXAMPLES = """\
examples:
  fishseg predict photo.jpg --out fish            masks and overlays of one picture
  fishseg predict photos/*.png --out fish         of many
  fishseg score my-pictures                       how good the decoder is on labelled pictures
  fishseg score my-pictures.zip --galleries look  and pictures of the best and the worst
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits 1 on a user's error or where a file could not be used."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        with logging_redirect_tqdm():
            sys.exit(options.command(options))
    except FishsegError as error:
        sys.exit(f"ERROR: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; what is written so far is kept")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fishseg",
        description="Cut fish out of photographs with the decoder that `dvc repro` has trained.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser(
        "predict",
        help="masks and overlays of pictures",
        description="Write the mask (DIR/masks/NAME.png, 8 bit, 0 or 255, the picture's own size) "
        "and an overlay (DIR/overlays/NAME.png) of each picture. A picture that cannot be read is "
        "listed at the end, and the exit status is then 1.",
    )
    predict.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a picture")
    predict.add_argument("--out", required=True, type=Path, metavar="DIR", help="where to write")
    predict.set_defaults(command=_predict)

    score = commands.add_parser(
        "score",
        help="metrics of the decoder on a labelled folder",
        description="Measure the decoder on pictures with masks and print the metrics as JSON on "
        "standard output; progress and log go to standard error.",
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
    score.set_defaults(command=_score)

    for command in (predict, score):
        command.add_argument(
            "--decoder",
            type=Path,
            default=Path("data/decoder"),
            metavar="DIR",
            help="the trained decoder (default: %(default)s)",
        )
        command.add_argument(
            "--backbone",
            type=Path,
            default=Path("data/backbone"),
            metavar="DIR",
            help="the backbone it was trained on (default: %(default)s)",
        )
    return parser


def _predict(options: argparse.Namespace) -> int:
    segmenter = Segmenter.load(options.decoder, options.backbone, devices.select())
    for name in ("masks", "overlays"):
        _make_folder(options.out / name)
    failed: list[FishsegError] = []
    written: dict[str, Path] = {}
    for file in tqdm(options.files, desc="predict", unit="image"):
        try:
            if file.stem in written:
                raise DataError(
                    f"its mask would overwrite that of {written[file.stem]}",
                    where=file,
                    remedy="give pictures of equal names in two calls with two folders",
                )
            _predict_one(file, segmenter, options.out)
            written[file.stem] = file
        except FishsegError as error:
            log.warning("%s", error)
            failed.append(error)
    log.info("%d masks in %s", len(written), options.out / "masks")
    return _exit_status([f"{error.where}: {error.what}" for error in failed])


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the folder cannot be made: {error.strerror}",
            where=folder,
            remedy="choose another folder with --out",
        ) from None


def _predict_one(file: Path, segmenter: Segmenter, out: Path) -> None:
    image = read_image(file)
    mask = segmenter.mask(image)
    pictures = {"masks": mask.astype("uint8") * 255, "overlays": plots.overlay(image, mask)}
    for name, picture in pictures.items():
        target = out / name / f"{file.stem}.png"
        if target.resolve() == file.resolve():
            raise DataError(
                "the result would overwrite the picture itself",
                where=file,
                remedy="choose another folder with --out",
            )
        try:
            Image.fromarray(picture).save(target)
        except OSError as error:
            raise DataError(
                f"the result cannot be written: {error.strerror or error}",
                where=target,
                remedy="check the permissions and the free disk space",
            ) from None


def _score(options: argparse.Namespace) -> int:
    segmenter = Segmenter.load(options.decoder, options.backbone, devices.select())
    with opened(options.folder) as folder:
        # Whatever is broken is left out and listed, but never ends the run.
        inventory = build_inventory(folder, max_broken_share=1)

        def predict(samples: Any) -> Any:
            return evaluation.predict_files(samples, segmenter)

        samples = inventory.table
        scores = evaluation.score(predict(samples), len(samples))
        summary = summarise(scores, bootstrap_samples=SCORE.bootstrap_samples, seed=SCORE.seed)
        if options.galleries:
            report.draw_galleries(scores, samples, predict, SCORE, options.galleries)
    print(json.dumps(summary, indent=2))
    for problem in inventory.problems:
        if problem.kind in KINDS_KEPT + KINDS_REDUNDANT:
            log.info("%s", _line(problem))
    return _exit_status(
        [
            _line(problem)
            for problem in inventory.problems
            if problem.kind not in KINDS_KEPT + KINDS_REDUNDANT
        ]
    )


def _line(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}"


def _exit_status(problems: list[str]) -> int:
    if not problems:
        return 0
    log.error("%d files could not be used:\n%s", len(problems), "\n".join(problems))
    return 1


if __name__ == "__main__":
    main()
