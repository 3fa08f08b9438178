"""The command line ``fishseg``: a module of this package is a command.

A command module has ``add_parser(commands)``, which adds its arguments and names its ``run``, and
``run(options)``, which does the work and returns the exit status. Whatever is slow to import
(torch above all) is imported in ``run``, so that ``fishseg --help`` answers at once and commands
that need no torch run without it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from tqdm.contrib.logging import logging_redirect_tqdm

from fishseg.cli import app, compare, crossvalidate, export, predict, score
from fishseg.errors import FishsegError

COMMANDS = (predict, score, crossvalidate, compare, export, app)


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
        description="Cut fish out of photographs and measure them.",
        epilog="fishseg COMMAND --help explains a command and gives examples.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
