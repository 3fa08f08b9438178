"""What ships beside a decoder, so that it runs without torch: see `fishseg.prediction.light`."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import torch
from safetensors.numpy import load_file

from fishseg.backbones import weightless
from fishseg.backbones.checkpoint import WEIGHTS
from fishseg.backbones.model import load_torch_backbone
from fishseg.backbones.openvino_model import converted_files
from fishseg.backbones.weightless import PLACES, Weightless
from fishseg.errors import BackboneError
from fishseg.export.onnx_file import comparison_pictures, export, write_graph
from fishseg.prediction.light import DECODER_FILE
from fishseg.prediction.onnx_model import DECODER
from fishseg.prediction.segmenter import Segmenter

if TYPE_CHECKING:
    from pathlib import Path

    from fishseg.decoders.files import DecoderCard

log = logging.getLogger(__name__)

OPSET = 18


def write_light(decoder: Path, backbone: Path) -> None:
    """Write ``decoder.onnx`` and the backbone without weights beside a decoder.

    The backbone's files are left as they are where they belong to the decoder already: converting
    again would number the parts of the network anew.

    Args:
        decoder: a folder with ``decoder.safetensors`` and ``decoder.json``.
        backbone: the folder of its backbone.

    Raises:
        ModelError: the decoder cannot be expressed, or does not agree with torch.
        BackboneError: OpenVINO cannot take the backbone, or it is not the decoder's.
    """
    segmenter = Segmenter.load(
        decoder, backbone, torch.device("cpu"), torch.float32, load=load_torch_backbone
    )
    exported = export(segmenter, part=DECODER, opset=OPSET, pictures=comparison_pictures(decoder))
    write_graph(exported, decoder / DECODER_FILE)
    log.info("the decoder differs from torch by %.1e", exported.agreement.max_difference)
    if not _is_there(decoder, segmenter.card):
        _write_backbone(backbone, segmenter, decoder)


def _is_there(folder: Path, card: DecoderCard) -> bool:
    try:
        known = Weightless.read(folder)
    except BackboneError:
        return False
    wanted = (card.backbone["weights_sha256"], tuple(card.layers))
    return (known.weights_sha256, known.layers) == wanted


def _write_backbone(backbone: Path, segmenter: Segmenter, out: Path) -> None:
    layers = tuple(segmenter.card.layers)
    files = converted_files(backbone, layers)
    if files is None:
        raise BackboneError(
            "OpenVINO cannot take this backbone",
            where=backbone,
            remedy="ship an exported model instead: fishseg export",
        )
    facts = {
        "name": segmenter.backbone.name,
        "weights_sha256": segmenter.backbone.weights_sha256,
        "layers": layers,
        "channels": segmenter.backbone.channels,
        "patch_multiple": segmenter.backbone.patch_multiple,
    }
    weightless.write(files, load_file(backbone / WEIGHTS), facts, out)
    log.info("%s: %d tensors", PLACES, len(json.loads((out / PLACES).read_text("utf-8"))["parts"]))
