"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TypeAlias

from fishseg.prediction.tta import AVERAGED

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


def add_mask_values(command: argparse.ArgumentParser) -> None:
    """``--mask-values``: which values of the masks are fish."""
    command.add_argument(
        "--mask-values",
        default="auto",
        metavar="RULE",
        help="which values of the masks are fish, for example 'fish: 1; ignore: 255', '>127' or "
        "'not 0' (default: %(default)s, which asks where there is more than one meaning)",
    )


def exit_status(problems: list[str]) -> int:
    """0, or 1 after listing the files that could not be used."""
    if not problems:
        return 0
    files = "1 file" if len(problems) == 1 else f"{len(problems)} files"
    log.error("%s could not be used:\n%s", files, "\n".join(problems))
    return 1
