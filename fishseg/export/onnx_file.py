"""A trained decoder and its backbone as one ONNX file, checked against torch before it is kept.

Shapes: ``B`` images of working size ``(H, W)``; ``C`` feature channels on a grid ``(h, w)``. All
of them are free in the exported graph; ``H`` and ``W`` are multiples of the patch size.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
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
from scipy.special import expit, logit
from torch import Tensor, nn
from tqdm import tqdm

from fishseg import __version__
from fishseg.backbones.model import TorchBackbone
from fishseg.backbones.runtime import read_model
from fishseg.datasets.sample import SPECIES
from fishseg.datasets.sample.photo import render_photo
from fishseg.decoders import NONE
from fishseg.decoders.inference import to_maps
from fishseg.errors import ModelError
from fishseg.features.compute import features_of
from fishseg.features.quantisation import rounded
from fishseg.images.decoding import read_image
from fishseg.images.resizing import at_size, to_pixels, working_size
from fishseg.metrics.masks import iou, overlap_counts
from fishseg.prediction.base import certain_levels
from fishseg.prediction.model import from_levels
from fishseg.prediction.onnx_model import (
    CHECKSUM_KEY,
    DECODER,
    FEATURES,
    MAPS,
    NO_CHECKSUM,
    SPECIES_KEY,
    WHOLE,
    ModelFacts,
    compiled,
)
from fishseg.prediction.species import pool
from fishseg.tables import read_inventory, read_manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fishseg.decoders.files import DecoderCard
    from fishseg.prediction.segmenter import Segmenter
    from fishseg.prediction.species import SpeciesClassifier

CPU = torch.device("cpu")
OPSETS = (18, 23)
MAX_BYTES = 2**31  # of one protobuf message, and so of one ONNX file
# By what features are rounded to: where sums in another order take one to another step.
MAX_DIFFERENCE = {"float16": 1e-3, "int8": 3e-2}
MIN_IOU = 0.999
N_PICTURES = 4
_SUREST = 1e-5  # nearer to 0 and 1, float32 does not tell logits apart


class WholeModel(nn.Module):
    """From RGB images to probabilities of fish: all that a user of the file needs."""

    def __init__(self, backbone: nn.Module, head: Head, dtype: str, *, with_features: bool) -> None:
        super().__init__()
        self.with_features = with_features
        self.backbone = backbone
        self.head = head
        self.dtype = dtype

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """What `Head` gives, of images ``(B, H, W, 3)`` uint8.

        And their features ``(B, C, h, w)`` float32, where species are named by them.
        """
        pixels = image.permute(0, 3, 1, 2)
        # The decoder has learned from features that were rounded in the cache.
        features = self.backbone(pixels).float()
        features = rounded(features) if self.dtype == "int8" else features.half().float()
        maps: tuple[Tensor, ...] = self.head(features, pixels)
        return (*maps, features) if self.with_features else maps


class Head(nn.Module):
    """The decoder and what follows it, down to what the file gives."""

    def __init__(self, decoder: nn.Module, card: DecoderCard) -> None:
        super().__init__()
        self.decoder = decoder
        self.card = card

    def forward(self, features: Tensor, pixels: Tensor) -> tuple[Tensor, ...]:
        """Probabilities ``(B, H, W)`` float32; of a decoder with a second map, that map besides.

        Args:
            features: ``(B, C, h, w)`` float32.
            pixels: ``(B, 3, H, W)`` uint8, RGB.
        """
        logits: Tensor = self.decoder(features, pixels)
        maps = to_maps(logits, pixels, self.card)
        return tuple(maps[:, number] for number in range(maps.shape[1]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How an exported model differs from the one it came from, which `fishseg predict` uses.

    Attributes:
        n_pictures: pictures that both were run on.
        max_difference: of two values of one pixel at the working size, before the temperature.
        max_species_difference: of two probabilities of a species; 0 where none are named.
        min_iou: of two masks of one picture at its own size.
    """

    n_pictures: int
    max_difference: float
    min_iou: float
    max_species_difference: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """A model that has passed the comparison with torch.

    Attributes:
        graph: the model, without metadata yet.
        facts: what its metadata will say.
        classifier: of species, which they will hold, too; None where there is none.
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
    classifier: SpeciesClassifier | None = None


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
            decoder that tells fish apart gives ``interior (B, H, W)`` besides, and a whole model
            that names species ``features (B, C, h, w)``.
        opset: of ONNX. 18 is widely known; 23 has attention as one node, which is faster where
            it is known.
        pictures: RGB ``(H0, W0, 3)`` of any size, to compare on; several shapes are a good idea.
        in_bf16: the same segmenter in bfloat16, whose difference is told and decides nothing: it is
            bfloat16's own.

    Raises:
        ModelError: the model cannot be expressed, is too large for one file, or does not agree.
    """
    _require("onnxscript")
    if not isinstance(segmenter.backbone, TorchBackbone):
        raise TypeError("only torch can export: load the backbone with load_torch_backbone")
    head = Head(segmenter.decoder, segmenter.card)
    model = (
        WholeModel(
            segmenter.backbone,
            head,
            segmenter.card.dtype,
            with_features=segmenter.classifier is not None,
        ).eval()
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
    off = max(agreement.max_difference, agreement.max_species_difference)
    if off > allowed or agreement.min_iou < MIN_IOU:
        raise ModelError(
            f"the exported model does not agree with torch: probabilities differ by up to "
            f"{off:.2g}, masks have an IoU of {agreement.min_iou:.4f} or more",
            where=f"decoder {segmenter.card.decoder}, opset {opset}",
            expected=f"a difference of {allowed:g} at most, an IoU of {MIN_IOU:g} at least",
            remedy="try the other --opset; no file was written",
        )
    other = None
    if in_bf16 is not None and part == WHOLE:
        other = _compare(graph, in_bf16, facts, pictures)
    return Exported(
        graph=graph,
        facts=facts,
        opset=opset,
        agreement=agreement,
        in_bf16=other,
        classifier=segmenter.classifier if part == WHOLE else None,
    )


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
    write_graph(exported, path, model_card=model_card)
    try:
        path.with_suffix(".md").write_text(model_card, encoding="utf-8", newline="\n")
    except OSError as error:
        raise _unwritable(path, error) from None


def write_graph(exported: Exported, path: Path, **metadata: str) -> None:
    """Write the model alone, whole or not at all, with its facts and more metadata.

    Raises:
        ModelError: the disk is full or not writable.
    """
    exported.graph.producer_name, exported.graph.producer_version = "fishseg", __version__
    if exported.classifier is not None:
        metadata[SPECIES_KEY] = exported.classifier.to_metadata()
    metadata = {**exported.facts.to_metadata(), **metadata, CHECKSUM_KEY: NO_CHECKSUM}
    onnx.helper.set_model_props(exported.graph, metadata)
    content = exported.graph.SerializeToString(deterministic=True)
    checksum = hashlib.sha256(content).hexdigest()
    content = content.replace(NO_CHECKSUM.encode(), checksum.encode(), 1)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f"the model cannot be written: {error.strerror}",
        where=path,
        remedy="check the permissions and the free disk space, or choose another --out",
    )


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"{' and '.join(missing)} is not installed",
            remedy="pip install '.[train]' in a copy of the repository",
        )


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


def _outputs(segmenter: Segmenter, facts: ModelFacts) -> list[str]:
    """The names of what the exported part gives."""
    maps = MAPS[:1] if segmenter.card.instances == NONE else MAPS
    names_species = facts.part == WHOLE and segmenter.classifier is not None
    return [*maps, FEATURES] if names_species else [*maps]


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
                output_names=_outputs(segmenter, facts),
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


def _before_temperature(maps: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """The same with the first map as before the temperature, which may enlarge any difference."""
    before = maps.astype(np.float64)
    before[0] = expit(temperature * logit(before[0].clip(_SUREST, 1 - _SUREST)))
    return before


def _compare(
    graph: onnx.ModelProto,
    segmenter: Segmenter,
    facts: ModelFacts,
    pictures: Sequence[NDArray[np.uint8]],
) -> Agreement:
    """Let both work on the pictures: the graph on those of one size as a batch, as it may be used.

    The segmenter takes one after the other, as `fishseg predict` does.
    """
    network = compiled(read_model(graph.SerializeToString()), "the exported model")
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
    differences, ious, in_species = [0.0], [1.0], [0.0]
    for size, members in tqdm(by_size.items(), desc="compare", unit="batch"):
        images = np.stack([to_pixels(picture, size).transpose(1, 2, 0) for picture in members])
        inputs = _inputs(segmenter, facts.part, torch.from_numpy(images))
        found = network.named(*(tensor.numpy() for tensor in inputs.values()))
        for number, picture in enumerate(members):
            maps = np.stack([found[name][number] for name in MAPS if name in found])
            both_maps = [
                _before_temperature(one, segmenter.card.temperature)
                for one in (maps, segmenter.working_maps(picture))
            ]
            differences.append(float(np.abs(both_maps[0] - both_maps[1]).max()))
            kept = from_levels(certain_levels(maps, facts.certainty, facts.threshold)[0])
            mask = at_size(kept, picture.shape[:2]) >= facts.threshold
            said = segmenter.answer(picture)
            theirs = said.probability >= segmenter.threshold
            ious.append(iou(overlap_counts(mask, theirs)))
            if segmenter.classifier is not None and said.features is not None and FEATURES in found:
                features = (said.features, found[FEATURES][number])
                pooled = np.stack([pool(one, theirs) for one in features])
                both = segmenter.classifier.regression.probabilities(pooled)
                in_species.append(float(np.nan_to_num(np.ptp(both, axis=0)).max()))
    return Agreement(
        n_pictures=len(pictures),
        max_difference=max(differences),
        min_iou=min(ious),
        max_species_difference=max(in_species),
    )
