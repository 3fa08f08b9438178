"""One trained model in torch and in onnxruntime, there in int8 too: speed and answers.

On val images of the pipeline, and on more pictures if named::

    python -m benchmarks.inference --out /tmp/benchmarks --pictures ../my-fish/*.png

Measured in alternation: the latency of one image in memory, and what `fishseg predict` makes of
image files (reading, measuring and writing included). Answers are compared with torch in float32.
The int8 model is `onnxruntime.quantization.quantize_dynamic` on the matrix products, per channel.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from benchmarks import timing
from benchmarks.peer import open_session
from benchmarks.timing import Spread, seconds
from fishseg import devices
from fishseg.backbones import load_torch_backbone
from fishseg.cli.inputs import find_pictures
from fishseg.cli.results import Results, Wanted
from fishseg.cli.streaming import outcomes
from fishseg.export.onnx_file import OPSETS, comparison_pictures, export, write
from fishseg.images.decoding import read_image
from fishseg.metrics.masks import iou, overlap_counts
from fishseg.prediction.model import ProbabilityModel
from fishseg.prediction.onnx_model import WHOLE, ModelFacts, OnnxSegmenter
from fishseg.prediction.segmenter import Segmenter
from fishseg.tables import read_inventory, read_manifest
from stages import BACKBONE, DECODER, INVENTORY, MANIFEST

TORCH = "torch float32"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """How the answers of a model differ from torch's in float32, over pictures.

    Attributes:
        max_probability: of any pixel.
        min_iou: of two masks of one picture.
        mean_iou: of them all.
    """

    max_probability: float
    min_iou: float
    mean_iou: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """All that was found, of each model by its name."""

    n_images: int
    latency_s: dict[str, Spread]
    predict_s_per_file: dict[str, Spread]
    difference_on_val: dict[str, Difference]
    difference_on_pictures: dict[str, Difference]
    size_mb: dict[str, float]


def main() -> None:
    """Export, measure and report."""
    options = _options()
    # Torch computes in as many threads as onnxruntime is given.
    n_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = load_models(options.decoder, options.backbone, folder, n_threads)
        paths = val_paths(options.images)
        image = read_image(paths[0])
        latencies = timing.alternate(
            {name: _latency(model, image) for name, model in models.items()}, options.repeats
        )
        predicting = timing.alternate(
            {name: _predict(model, paths, folder) for name, model in models.items()},
            options.repeats,
        )
        pictures = [read_image(path) for path in paths]
        facts = Facts(
            n_images=len(paths),
            latency_s=latencies,
            predict_s_per_file=predicting,
            difference_on_val=compare(models, pictures),
            difference_on_pictures=compare(models, [read_image(p) for p in options.pictures]),
            size_mb={path.stem: path.stat().st_size / 1e6 for path in folder.glob("*.onnx")},
        )
    summarise(facts, options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], metavar="FILE")
    parser.add_argument("--decoder", type=Path, default=DECODER)
    parser.add_argument("--backbone", type=Path, default=BACKBONE)
    return parser.parse_args()


def load_models(
    decoder: Path, backbone: Path, folder: Path, n_threads: int
) -> dict[str, ProbabilityModel]:
    """The model in each of its forms; the exported ones as files in ``folder``."""
    cpu = torch.device("cpu")
    exact = Segmenter.load(decoder, backbone, cpu, torch.float32, load=load_torch_backbone)
    models: dict[str, ProbabilityModel] = {TORCH: exact}
    precision = devices.precision(cpu)
    if precision != torch.float32:
        name = f"torch {str(precision).removeprefix('torch.')}"
        models[name] = Segmenter.load(decoder, backbone, cpu, precision)
    pictures = comparison_pictures(Path())[:1]
    for opset in OPSETS:
        exported = export(exact, part=WHOLE, opset=opset, pictures=pictures)
        write(exported, folder / f"onnx opset {opset}.onnx", model_card="")
    quantize_dynamic(
        folder / f"onnx opset {OPSETS[0]}.onnx",
        folder / "onnx int8.onnx",
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    for path in sorted(folder.glob("*.onnx"), key=lambda path: path.stem, reverse=True):
        models[path.stem] = in_onnxruntime(path, n_threads)
    return models


def in_onnxruntime(path: Path, n_threads: int) -> OnnxSegmenter:
    """An exported model, computed by onnxruntime instead of OpenVINO."""
    session = open_session(path, n_threads=n_threads)
    facts = ModelFacts.of_metadata(session.get_modelmeta().custom_metadata_map, path)

    names = [output.name for output in session.get_outputs()]

    def network(image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        return dict(zip(names, session.run(names, {"image": image}), strict=True))

    return OnnxSegmenter(network=network, facts=facts, threshold=facts.threshold)


def val_paths(n_images: int) -> list[Path]:
    """Files of the first val images of each class in turn."""
    samples = read_manifest(MANIFEST).merge(
        read_inventory(INVENTORY)[["sample_id", "image_path"]], on="sample_id"
    )
    val = samples[samples["split"] == "val"]
    turn = val.groupby("class_name").cumcount()
    return [Path(path) for path in val.loc[turn.sort_values(kind="stable").index, "image_path"]][
        :n_images
    ]


def _latency(model: ProbabilityModel, image: NDArray[np.uint8]) -> Callable[[], float]:
    return lambda: seconds(lambda: model.probability(image))


def _predict(model: ProbabilityModel, paths: Sequence[Path], folder: Path) -> Callable[[], float]:
    """Seconds for an image file by what `fishseg predict` does."""
    runs = itertools.count()

    def run() -> None:
        wanted = Wanted(
            model="benchmark",
            min_share=0.03,
            probability_bits=0,
            coco=False,
            excel=False,
            min_confidence=0,
            scales={},
        )
        pictures = find_pictures([str(path) for path in paths]).pictures
        with Results(folder / f"{id(model)}-{next(runs)}") as results:
            for _ in outcomes(results.named(pictures), model, results, wanted):
                pass

    return lambda: seconds(run) / len(paths)


def compare(
    models: dict[str, ProbabilityModel], pictures: Sequence[NDArray[np.uint8]]
) -> dict[str, Difference]:
    """How each model differs from torch in float32; empty without pictures."""
    if not pictures:
        return {}
    expected = [models[TORCH].probability(picture) for picture in pictures]
    differences = {}
    for name, model in models.items():
        found = [model.probability(picture) for picture in pictures]
        ious = [
            iou(overlap_counts(mine >= model.threshold, theirs >= model.threshold))
            for mine, theirs in zip(found, expected, strict=True)
        ]
        differences[name] = Difference(
            max_probability=max(
                float(np.abs(mine - theirs).max())
                for mine, theirs in zip(found, expected, strict=True)
            ),
            min_iou=min(ious),
            mean_iou=float(np.mean(ious)),
        )
    return differences


def summarise(facts: Facts, folder: Path) -> None:
    """Print and write what was found."""
    head = ["model", "MB", "ms an image", "of torch's time", "s a file in predict"]
    head += [f"IoU with torch, {facts.n_images} val images: mean, min", "largest difference of p"]
    head += ["IoU with torch, other pictures: mean, min"] if facts.difference_on_pictures else []
    rows = []
    for name, latency in facts.latency_s.items():
        found, other = facts.difference_on_val[name], facts.difference_on_pictures.get(name)
        row = [
            name,
            f"{facts.size_mb[name]:.0f}" if name in facts.size_mb else "",
            str(latency * 1000),
            str(latency / facts.latency_s[TORCH]),
            str(facts.predict_s_per_file[name]),
            f"{found.mean_iou:.5f}, {found.min_iou:.5f}",
            f"{found.max_probability:.1e}",
        ]
        rows.append([*row, f"{other.mean_iou:.5f}, {other.min_iou:.5f}"] if other else row)
    timing.report(folder, "inference", head, rows, facts)
    milliseconds = {name: latency * 1000 for name, latency in facts.latency_s.items()}
    timing.bars(folder / "inference.png", "milliseconds an image", milliseconds)


if __name__ == "__main__":
    main()
