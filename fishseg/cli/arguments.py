"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from fishseg.cli.scales import number
from fishseg.errors import FishsegError, ParameterError
from fishseg.images.folders import shown, use_listed
from fishseg.images.mask_rule import AUTO, parse_rule
from fishseg.prediction.model import THRESHOLD
from fishseg.prediction.tta import TTA_VIEWS

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger("fishseg")

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands, name: str, *, summary: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """A new command whose help ends in examples, shown as they are written."""
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_model(command: argparse.ArgumentParser) -> None:
    """``--decoder`` and ``--backbone``: see `fishseg.prediction.shipped.locate`."""
    for name, meaning in (
        ("decoder", "a trained decoder (default: data/decoder, else the one that ships)"),
        ("backbone", "the backbone it was trained on (default: data/backbone, else it is fetched)"),
    ):
        command.add_argument(f"--{name}", type=path, metavar="DIR", help=meaning)


class _Renamed(argparse.Action):
    """An option that has another name now, ``const``."""

    def __call__(self, parser: argparse.ArgumentParser, *_given: Any) -> NoReturn:
        parser.error(f"{self.option_strings[0]} is now called {self.const}")


def add_tta(command: argparse.ArgumentParser) -> None:
    """``--tta``: how many flipped and turned views of a picture to average over."""
    command.add_argument("--views", action=_Renamed, const="--tta", help=argparse.SUPPRESS)
    command.add_argument(
        "--tta",
        type=int,
        choices=TTA_VIEWS,
        default=1,
        metavar="N",
        help="test-time augmentation: look at each picture flipped and turned as well, and "
        "average: 2, 4 or 8 times as slow, and more accurate (default: %(default)s)",
    )


def add_fine(command: argparse.ArgumentParser) -> None:
    """``--fine`` and ``--no-fine``: whether to look twice, see `fishseg.prediction.fine`."""
    command.add_argument(
        "--fine",
        action=argparse.BooleanOptionalAction,
        help="look a second time, closer, at each fish that was found: better for small ones; a "
        "picture takes twice as long or longer (default: only the decoder that ships does)",
    )


def add_mask_values(command: argparse.ArgumentParser) -> None:
    """``--mask-values``: which values of the masks are fish."""
    command.add_argument(
        "--mask-values",
        type=_mask_values,
        default=AUTO,
        metavar="RULE",
        help="which values of the masks are fish, for example 'fish: 1; ignore: 255', '>127' or "
        "'not 0' (default: %(default)s, which asks where there is more than one meaning)",
    )


def _mask_values(text: str) -> str:
    """``auto``, or the text of a rule."""
    try:
        if text != AUTO:
            parse_rule(text)
    except ParameterError as error:
        raise argparse.ArgumentTypeError(f"{error.what}; expected {error.expected}") from None
    return text


def add_threshold(command: argparse.ArgumentParser, *, of_model: bool = False) -> None:
    """``--threshold``: the probability from which a pixel is fish.

    Args:
        command: where to add it.
        of_model: leave it None where it is not given, for an exported model knows its own.
    """
    usual = f"{THRESHOLD}, or what a --model says" if of_model else THRESHOLD
    command.add_argument(
        "--threshold",
        type=decimal,
        default=None if of_model else THRESHOLD,
        metavar="P",
        help=f"the probability from which a pixel is fish (default: {usual})",
    )


def check_threshold(threshold: float | None) -> None:
    """Refuse what is no threshold.

    Raises:
        ParameterError: it is not above 0 and below 1.
    """
    if threshold is not None and not 0 < threshold < 1:
        raise ParameterError(
            f"a pixel cannot be fish from a probability of {threshold:g} on",
            where="--threshold",
            expected="above 0 and below 1",
            remedy=f"--threshold {THRESHOLD}",
        )


def add_results(command: argparse.ArgumentParser) -> None:
    """``--out`` and what there is to say of every result: scale, tables, specks."""
    command.add_argument("--out", required=True, type=path, metavar="DIR", help="where to write")
    command.add_argument(
        "--mm-per-px", type=decimal, metavar="MM", help="the scale: millimetres in a pixel"
    )
    command.add_argument(
        "--reference-px", type=decimal, metavar="A", help="the scale: something A pixels long ..."
    )
    command.add_argument(
        "--reference-mm", type=decimal, metavar="B", help="... is B millimetres long"
    )
    command.add_argument(
        "--scales",
        type=path,
        metavar="CSV",
        help="a scale for each picture: a table with the columns image and mm_per_px",
    )
    command.add_argument(
        "--scale",
        choices=("ruler", "none"),
        help="ruler: the scale of each picture that has no other, from the ruler in it where there "
        "is one that leaves no doubt; none: forget the scales that earlier runs gave",
    )
    command.add_argument(
        "--excel", action="store_true", help="also write measurements.xlsx, a sheet for Excel"
    )
    command.add_argument(
        "--coco",
        action="store_true",
        help="also write annotations.json (exact run lengths) and annotations_polygons.json",
    )
    command.add_argument(
        "--min-share",
        type=decimal,
        default=0.03,
        metavar="SHARE",
        help="leave out parts smaller than this share of a picture's largest fish "
        "(default: %(default)s)",
    )


def decimal(text: str) -> float:
    """A number of the command line, with a decimal point or a decimal comma."""
    try:
        return number(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number: write it like 0.21, without marks of thousands"
        ) from None


def path(text: str) -> Path:
    """A path of the command line; an empty one would mean this folder, which nobody typed."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty: write . for this folder")
    return Path(text)


def one_line(problem: FishsegError) -> str:
    """A problem as a line of a list; a file below this folder is named from here."""
    where = problem.where or ""
    if Path(where).is_absolute():
        where = shown(Path(where), Path.cwd())
    remedy = f" ({problem.remedy})" if problem.remedy else ""
    return f"{where}: {problem.what}{remedy}"


def conclude(used: int, unused: Sequence[str], remarks: Sequence[str]) -> int:
    """Say once and together what was used, what was not, and why; 1 where a picture was not.

    Args:
        used: how many pictures.
        unused: a line for each that could not be used.
        remarks: lines on what was passed over and is not missed, and on what else to know.
    """
    log.log(logging.ERROR if unused else logging.INFO, "%s", use_listed(used, unused, remarks))
    return 1 if unused else 0
