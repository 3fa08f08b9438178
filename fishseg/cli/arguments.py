"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fishseg.images.folders import use_listed
from fishseg.prediction.tta import AVERAGED

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
    """``--decoder`` and ``--backbone``: the folders that `dvc repro` fills."""
    for name, meaning in (
        ("decoder", "the trained decoder"),
        ("backbone", "the backbone it was trained on"),
    ):
        command.add_argument(
            f"--{name}",
            type=Path,
            default=Path("data") / name,
            metavar="DIR",
            help=f"{meaning} (default: %(default)s)",
        )


def add_views(command: argparse.ArgumentParser) -> None:
    """``--views``: how many flipped and turned views of a picture to average over."""
    command.add_argument(
        "--views",
        type=int,
        choices=AVERAGED,
        default=1,
        help="look at each picture flipped and turned as well, and average: 2, 4 or 8 times as "
        "slow, and more accurate (default: %(default)s)",
    )


def conclude(used: int, unused: Sequence[str], remarks: Sequence[str]) -> int:
    """Say once and together what was used, what was not, and why; 1 where a picture was not.

    Args:
        used: how many pictures.
        unused: a line for each that could not be used.
        remarks: lines on what was passed over and is not missed, and on what else to know.
    """
    log.log(logging.ERROR if unused else logging.INFO, "%s", use_listed(used, unused, remarks))
    return 1 if unused else 0
