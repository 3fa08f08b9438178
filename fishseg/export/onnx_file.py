"""A trained decoder and its backbone as one ONNX file, checked against torch before it is kept.

Shapes: ``B`` images of working size ``(H, W)``; ``C`` feature channels on a grid ``(h, w)``. All
of them are free in the exported graph; ``H`` and ``W`` are multiples of the patch size.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from tqdm import tqdm

from fishseg.backbones import TorchBackbone
from fishseg.datasets.sample import SPECIES
from fishseg.datasets.sample.photo import render_photo
from fishseg.decoders import NONE
from fishseg.decoders.inference import calibrated
from fishseg.errors import ModelError
from fishseg.features.compute import features_of
from fishseg.features.quantisation import rounded
from fishseg.images.decoding import read_image
from fishseg.images.resizing import at_size, to_pixels, working_size
from fishseg.metrics.masks import iou, overlap_counts
from fishseg.prediction.model import from_levels, to_levels
from fishseg.prediction.onnx_model import DECODER, INSTALL, WHOLE, ModelFacts, open_session
from fishseg.tables import read_inventory, read_manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fishseg.prediction.segmenter import Segmenter

CPU = torch.device("cpu")
OPSETS = (18, 23)
MAX_BYTES = 2**31  # of one protobuf message, and so of one ONNX file
# By what features are rounded to: where sums in another order take one to another step.
MAX_DIFFERENCE = {"float16": 1e-3, "int8": 3e-2}
MIN_IOU = 0.999
N_PICTURES = 4
OUTPUTS = ["probability", "interior"]  # of the second, see `fishseg.training.interior`


class WholeModel(nn.Module):
    """From RGB images to probabilities of fish: all that a user of the file needs."""

    def __init__(self, backbone: nn.Module, head: Head, dtype: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """What `Head` gives, of images ``(B, H, W, 3)`` uint8."""
        pixels = image.permute(0, 3, 1, 2)
        # The decoder has learned from features that were rounded in the cache.
        features = self.backbone(pixels).float()
        features = rounded(features) if self.dtype == "int8" else features.half().float()
        maps: Tensor | tuple[Tensor, Tensor] = self.head(features, pixels)
        return maps


class Head(nn.Module):
    """The decoder and what follows it, down to what the file gives."""

    def __init__(self, decoder: nn.Module, temperature: float) -> None:
        super().__init__()
        self.decoder = decoder
        self.temperature = temperature

    def forward(self, features: Tensor, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Probabilities ``(B, H, W)`` float32; of a decoder with a second map, that map besides.

        Args:
            features: ``(B, C, h, w)`` float32.
            pixels: ``(B, 3, H, W)`` uint8, RGB.
        """
        logits: Tensor = self.decoder(features, pixels)
        maps = calibrated(logits, self.temperature).sigmoid()
        return maps[:, 0] if maps.shape[1] == 1 else (maps[:, 0], maps[:, 1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How an exported model differs from what `fishseg predict` does with the one it came from.

    Attributes:
        n_pictures: pictures that both were run on.
        max_difference: of two values of one pixel at the working size.
        min_iou: of two masks of one picture at its own size.
    """

    n_pictures: int
    max_difference: float
    min_iou: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """A model that has passed the comparison with torch.

    Attributes:
        graph: the model, without metadata yet.
        facts: what its metadata will say.
        opset: of ONNX.
        agreement: with the segmenter in float32 on the CPU.
        in_bf16: with the segmenter whose backbone computes in bfloat16, as it does where the
            processor is faster at that; None where there is none, as for the decoder alone.
    """

    graph: onnx.ModelProto
    facts: ModelFacts
    opset: int
    agreement: Agreement
    in_bf16: Agreement | None = None


def export(
    segmenter: Segmenter,
    *,
    part: str,
    opset: int,
    pictures: Sequence[NDArray[np.uint8]],
    in_bf16: Segmenter | None = None,
) -> Exported:
    """The model as ONNX, compared with what the segmenter says of pictures.

    Args:
        segmenter: in float32 on the CPU, its backbone one of torch.
        part: ``whole``: ``image (B, H, W, 3)`` uint8 to ``probability (B, H, W)``; ``decoder``:
            ``features (B, C, h, w)`` float32 and ``pixels (B, 3, H, W)`` uint8 to the same. A
            decoder that tells fish apart gives ``interior (B, H, W)`` besides.
        opset: of ONNX. 18 is widely known; 23 has attention as one node, which is faster where
            it is known.
        pictures: RGB ``(H0, W0, 3)`` of any size, to compare on; several shapes are a good idea.
        in_bf16: the same segmenter in bfloat16, whose difference is told and decides nothing: it is
            bfloat16's own.

    Raises:
        ModelError: the model cannot be expressed, is too large for one file, or does not agree.
    """
    _require("onnxscript", "onnxruntime")
    if not isinstance(segmenter.backbone, TorchBackbone):
        raise TypeError("only torch can export: load the backbone with load_torch_backbone")
    head = Head(segmenter.decoder, segmenter.card.temperature)
    model = (
        WholeModel(segmenter.backbone, head, segmenter.card.dtype).eval()
        if part == WHOLE
        else head.eval()
    )
    n_bytes = sum(weight.numel() * weight.element_size() for weight in model.state_dict().values())
    if n_bytes >= MAX_BYTES:
        raise ModelError(
            f"the weights are {n_bytes / 1e9:.1f} GB, and an ONNX file holds 2.1 GB at most",
            where=segmenter.backbone.name,
            remedy=f"export --part {DECODER}, or a model with a smaller backbone",
        )
    facts = _facts(segmenter, part)
    graph = _trace(model, segmenter, facts, opset)
    agreement = _compare(graph, segmenter, facts, pictures)
    allowed = MAX_DIFFERENCE[segmenter.card.dtype]
    if agreement.max_difference > allowed or agreement.min_iou < MIN_IOU:
        raise ModelError(
            f"the exported model does not agree with torch: probabilities differ by up to "
            f"{agreement.max_difference:.2g}, masks have an IoU of {agreement.min_iou:.4f} or more",
            where=f"decoder {segmenter.card.decoder}, opset {opset}",
            expected=f"a difference of {allowed:g} at most, an IoU of {MIN_IOU:g} at least",
            remedy="try the other --opset; no file was written",
        )
    other = None
    if in_bf16 is not None and part == WHOLE:
        other = _compare(graph, in_bf16, facts, pictures)
    return Exported(graph=graph, facts=facts, opset=opset, agreement=agreement, in_bf16=other)


def comparison_pictures(root: Path) -> list[NDArray[np.uint8]]:
    """Pictures ``(H0, W0, 3)`` to compare on, in different shapes.

    Val images of the pipeline in ``root``, of a class each, where it has run; else photographs of
    the sample set's renderer.
    """
    pictures = _val_images(root) or [
        render_photo(species, np.random.default_rng(number)).picture
        for number, species in enumerate(SPECIES[:N_PICTURES])
    ]
    first = pictures[0]
    height, width = first.shape[:2]
    tall, wide = first[:, : (width + 1) // 2], first[: (height + 1) // 2]
    return [*pictures, tall, wide]


def _val_images(root: Path) -> list[NDArray[np.uint8]]:
    manifest, inventory = root / "data/manifest.csv", root / "data/inventory.csv"
    if not (manifest.exists() and inventory.exists()):
        return []
    paths = read_inventory(inventory)[["sample_id", "image_path"]]
    samples = read_manifest(manifest).merge(paths, on="sample_id")
    chosen = samples[samples["split"] == "val"].drop_duplicates("class_name")[:N_PICTURES]
    return [read_image(root / path) for path in chosen["image_path"]]


def write(exported: Exported, path: Path, *, model_card: str) -> None:
    """Write the model, whole or not at all, and its card beside it and among its metadata.

    Raises:
        ModelError: the disk is full or not writable.
    """
    metadata = {**exported.facts.to_metadata(), "model_card": model_card}
    onnx.helper.set_model_props(exported.graph, metadata)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(exported.graph.SerializeToString(deterministic=True))
        partial.replace(path)
        path.with_suffix(".md").write_text(model_card, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ModelError(
            f"the model cannot be written: {error.strerror}",
            where=path,
            remedy="check the permissions and the free disk space, or choose another --out",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"{' and '.join(missing)} is not installed", remedy=INSTALL)


def _facts(segmenter: Segmenter, part: str) -> ModelFacts:
    card = segmenter.card
    return ModelFacts(
        part=part,
        fit=card.fit,
        image_size=card.image_size,
        megapixels=card.megapixels,
        patch_multiple=segmenter.backbone.patch_multiple,
        threshold=segmenter.threshold,
        card=dataclasses.asdict(card),
    )


def _trace(
    model: nn.Module, segmenter: Segmenter, facts: ModelFacts, opset: int
) -> onnx.ModelProto:
    """The graph, with batch, height and width free."""
    multiple = facts.patch_multiple
    # No two equal, none 1 and none the size the backbone was trained at: nothing looks fixed.
    images = torch.zeros(2, 5 * multiple, 7 * multiple, 3, dtype=torch.uint8)
    inputs = _inputs(segmenter, facts.part, images)
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))

    def free(tensor: Tensor, row_axis: int) -> dict[int, Any]:
        per_row = tensor.shape[row_axis] // 5
        sides = (rows, columns) if per_row == 1 else (per_row * rows, per_row * columns)
        return {0: batch, row_axis: sides[0], row_axis + 1: sides[1]}

    shapes = tuple(free(tensor, 1 if name == "image" else 2) for name, tensor in inputs.items())
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                tuple(inputs.values()),
                dynamic_shapes=shapes,
                input_names=list(inputs),
                output_names=OUTPUTS[: 1 if segmenter.card.instances == NONE else 2],
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ModelError(
            f"the model cannot be expressed in ONNX: {reason}",
            where=f"decoder {segmenter.card.decoder}, opset {opset}",
            expected="operations that torch.onnx knows, at sizes taken from the inputs",
            remedy="write the decoder with other operations",
        ) from error
    graph: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]
    _forget_origin(graph)
    return graph


def _inputs(segmenter: Segmenter, part: str, images: Tensor) -> dict[str, Tensor]:
    """What the exported part takes, of images ``(B, H, W, 3)`` uint8."""
    if part == WHOLE:
        return {"image": images}
    pixels = images.permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        features = features_of(pixels, segmenter.backbone, CPU, segmenter.card.dtype).float()
    return {"features": features, "pixels": pixels}


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes on each node: they hold paths of the machine it ran on."""
    graph = model.graph
    items = (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for item in (graph, *items):
        del item.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about packages that are not needed, and its deprecations."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _compare(
    graph: onnx.ModelProto,
    segmenter: Segmenter,
    facts: ModelFacts,
    pictures: Sequence[NDArray[np.uint8]],
) -> Agreement:
    """Let both work on the pictures: the graph on those of one size as a batch, as it may be used.

    The segmenter takes one after the other, as `fishseg predict` does.
    """
    session = open_session(graph.SerializeToString())
    by_size: dict[tuple[int, int], list[NDArray[np.uint8]]] = {}
    for picture in pictures:
        size = working_size(
            (picture.shape[0], picture.shape[1]),
            fit=facts.fit,
            image_size=facts.image_size,
            megapixels=facts.megapixels,
            patch_multiple=facts.patch_multiple,
        )
        by_size.setdefault(size, []).append(picture)
    differences, ious = [0.0], [1.0]
    for size, members in tqdm(by_size.items(), desc="compare", unit="batch"):
        images = np.stack([to_pixels(picture, size).transpose(1, 2, 0) for picture in members])
        inputs = _inputs(segmenter, facts.part, torch.from_numpy(images))
        found = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        for picture, maps in zip(members, np.stack(found, axis=1), strict=True):
            expected = segmenter.working_maps(picture)
            differences.append(float(np.abs(maps - expected).max()))
            kept = from_levels(to_levels(maps[0]))
            mask = at_size(kept, picture.shape[:2]) >= facts.threshold
            ious.append(iou(overlap_counts(mask, segmenter.mask(picture))))
    return Agreement(n_pictures=len(pictures), max_difference=max(differences), min_iou=min(ious))
