"""``fishseg app``: a local web page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fishseg.cli.arguments import (
    Commands,
    add_command,
    add_model,
    add_threshold,
    check_threshold,
    path,
)

if TYPE_CHECKING:
    import argparse


EXAMPLES = """\
  fishseg app                                     opens in the browser
  fishseg app --model model.onnx --port 8000      an exported model, needs no torch
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    app = add_command(
        commands,
        "app",
        summary="a page to drop photographs on",
        description="Serve a web page on this computer: drop a photograph, see its fish and how\n"
        "long they are, set the scale by two clicks, download mask, overlay and table. Other\n"
        "computers cannot reach it unless --host says so; there is no password then.",
        examples=EXAMPLES,
    )
    app.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    app.add_argument(
        "--port", type=int, default=7860, help="port to listen on (default: %(default)s)"
    )
    app.add_argument("--no-browser", action="store_true", help="do not open a browser")
    add_threshold(app, of_model=True)
    add_model(app)
    app.add_argument(
        "--model", type=path, metavar="FILE", help="a model.onnx of `fishseg export` instead"
    )
    app.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from fishseg.app import serve
    from fishseg.cli.models import load_model

    check_threshold(options.threshold)
    loaded = load_model(options)
    serve(
        loaded.model,
        about=loaded.about,
        host=options.host,
        port=options.port,
        open_browser=not options.no_browser,
    )
    return 0
