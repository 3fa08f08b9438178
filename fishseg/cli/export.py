"""``fishseg export``: the trained model as one file for other programs."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from fishseg.cli.arguments import (
    Commands,
    add_command,
    add_model,
    add_threshold,
    check_threshold,
    path,
)
from fishseg.errors import ModelError

if TYPE_CHECKING:
    import argparse

log = logging.getLogger("fishseg")

EXAMPLES = """\
  fishseg export --out model.onnx                 backbone and decoder, and model.md beside it
  fishseg export --out model.onnx --opset 23      faster where the runtime is new
  fishseg export --part decoder --out head.onnx   the decoder alone, for cached features
  fishseg predict photo.jpg --model model.onnx --out fish    needs no torch
"""


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    export = add_command(
        commands,
        "export",
        summary="the trained model as an ONNX file",
        description="Write backbone and decoder as one ONNX file, from an RGB image as uint8 to\n"
        "the probability of fish at each pixel, and a model card (NAME.md) beside it. The file is\n"
        "compared with the model it comes from on pictures first, one look each, and not written\n"
        "if they disagree.",
        examples=EXAMPLES,
    )
    export.add_argument(
        "--out", required=True, type=path, metavar="FILE", help="the file to write: NAME.onnx"
    )
    export.add_argument(
        "--format", default="onnx", choices=["onnx"], help="of the file (default: %(default)s)"
    )
    export.add_argument(
        "--part",
        default="whole",
        choices=["whole", "decoder"],
        help="backbone and decoder, or the decoder alone (default: %(default)s)",
    )
    export.add_argument(
        "--opset",
        type=int,
        default=18,
        choices=[18, 23],
        help="of ONNX: 18 runs nearly everywhere, 23 is faster in onnxruntime from 1.23 on "
        "(default: %(default)s)",
    )
    export.add_argument(
        "--run",
        type=path,
        default=Path(),
        metavar="DIR",
        help="where params.yaml, metrics/ and data/ of the run lie that trained the decoder, for "
        "the model card and the comparison (default: here)",
    )
    add_threshold(export)
    add_model(export)
    export.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Export, compare and write."""
    import torch

    from fishseg.backbones import load_backbone, load_torch_backbone
    from fishseg.export.model_card import agreement_lines, check_run, model_card
    from fishseg.export.onnx_file import comparison_pictures, export, write
    from fishseg.prediction.segmenter import Segmenter
    from fishseg.prediction.shipped import locate
    from fishseg.prediction.species import classifier_beside

    check_threshold(options.threshold)
    if options.out.suffix != ".onnx":
        raise ModelError(
            "the name of the file does not tell what it holds",
            where=options.out,
            expected="a name that ends in .onnx",
            remedy=f"--out {options.out.with_suffix('.onnx')}",
        )
    folders = locate(options.decoder, options.backbone)
    exact, in_bf16 = (
        Segmenter.load(
            *folders,
            torch.device("cpu"),
            dtype,
            load=load,
            threshold=options.threshold,
        )
        for dtype, load in (
            (torch.float32, load_torch_backbone),
            (torch.bfloat16, load_backbone),
        )
    )
    card = dataclasses.asdict(exact.card)
    check_run(options.run, card)  # better known before the work
    classifier = classifier_beside(folders[0], card)
    exact, in_bf16 = (
        dataclasses.replace(segmenter, classifier=classifier) for segmenter in (exact, in_bf16)
    )
    exported = export(
        exact,
        part=options.part,
        opset=options.opset,
        pictures=comparison_pictures(options.run),
        in_bf16=in_bf16,
    )
    write(exported, options.out, model_card=model_card(exported, options.run))
    log.info("%s is written; compared with what `fishseg predict` says of pictures:", options.out)
    for line in agreement_lines(exported):
        log.info("%s", line)
    return 0
