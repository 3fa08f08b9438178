"""The command line ``fishseg``: a module of this package is a command.

A command module has ``add_parser(commands)``, which adds its arguments and names its ``run``, and
``run(options)``, which does the work and returns the exit status. Whatever is slow to import
(torch above all) is imported in ``run``, so that ``fishseg --help`` answers at once and commands
that need no torch run without it.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Sequence

from tqdm.contrib.logging import logging_redirect_tqdm

from fishseg import __version__
from fishseg.cli import (
    accept,
    app,
    committed,
    compare,
    crossvalidate,
    export,
    folds,
    measure,
    predict,
    prune,
    score,
    suggest,
)
from fishseg.errors import ModelError, one_message

COMMANDS = (
    predict,
    measure,
    suggest,
    accept,
    score,
    crossvalidate,
    compare,
    committed,
    folds,
    export,
    app,
    prune,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits 1 on a user's error or where a file could not be used."""
    _print_any_name()
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    with one_message("interrupted; what is written so far is kept"), logging_redirect_tqdm():
        try:
            status = options.command(options)
        except ModuleNotFoundError as error:
            raise _explained(error, options.command_name) from None
    sys.exit(status)


def _explained(error: ModuleNotFoundError, command: str) -> Exception:
    """What to say of a package that this installation does without; ours are never missing."""
    if error.name is None or error.name.startswith("fishseg"):
        return error
    return ModelError(
        f"fishseg {command} needs {error.name}, which is not installed",
        expected="an installation that can also train",
        remedy="pip install '.[train]' in a copy of the repository, or make setup there",
    )


def _print_any_name() -> None:
    """Let names in any script, and even such as are no text, be printed wherever this runs.

    To a file or another program they go as UTF-8, whatever the locale.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fishseg",
        description="Cut fish out of photographs and measure them.",
        epilog="fishseg COMMAND --help explains a command and gives examples.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command_name")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
