"""What the speed benchmarks share: measuring in alternation, ratios with spread, reports."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from fishseg.backbones import materialise
from fishseg.parallel import n_cpus
from fishseg.params import BackboneParams, FeaturesParams

mpl.use("Agg")
from matplotlib import pyplot as plt

Measure = Callable[[], float]
SIZE = 448  # the baseline's: pixels, square
# The baseline's features.
STRETCHED = FeaturesParams(
    fit="stretch",
    image_size=SIZE,
    megapixels=1,
    layers=(-1,),
    dtype="float16",
    batch_size=0,
    shard_size=64,
)


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median of repeated measurements, and their range."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __truediv__(self, other: Spread) -> Spread:
        """The ratio in each repetition: what slows the machine slows both."""
        pairs = zip(self.values, other.values, strict=True)
        return Spread(tuple(mine / theirs for mine, theirs in pairs))

    def __add__(self, other: Spread) -> Spread:
        """The sum in each repetition."""
        return Spread(tuple(a + b for a, b in zip(self.values, other.values, strict=True)))

    def __mul__(self, factor: float) -> Spread:
        """Each value times a number."""
        return Spread(tuple(factor * value for value in self.values))

    def __str__(self) -> str:
        low, high = min(self.values), max(self.values)
        return f"{self.median:.3g} [{low:.3g}, {high:.3g}]"


def alternate(measures: dict[str, Measure], repeats: int) -> dict[str, Spread]:
    """Measure all things in turn, ``repeats`` times, after one round to warm up."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for repetition in range(repeats + 1):
        for name, measure in measures.items():
            value = measure()
            if repetition:
                found[name].append(value)
    return {name: Spread(tuple(values)) for name, values in found.items()}


def seconds(work: Callable[[], object]) -> float:
    """How long something takes, the GPU's part included."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def random_vits16(folder: Path) -> Path:
    """A DINOv3 ViT-S/16 of full size with random weights, as the stage ``backbone`` leaves one."""
    config = DINOv3ViTConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=12,
        num_attention_heads=6,
        num_register_tokens=4,
        patch_size=16,
    )
    return random_backbone(config, folder)


def random_backbone(config: DINOv3ViTConfig, folder: Path) -> Path:
    """A network of some configuration with random weights in ``folder/backbone``."""
    torch.manual_seed(0)
    DINOv3ViTModel(config).save_pretrained(folder / "hub")
    materialised = folder / "backbone"
    materialised.mkdir()
    materialise(BackboneParams(name=str(folder / "hub"), revision=""), materialised)
    return materialised


def arguments(description: str | None, **options: int) -> argparse.Namespace:
    """The command line: ``--out``, ``--repeats``, and whole numbers with defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--repeats", type=int, default=5)
    for name, default in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    # What `devices.select` asks of MKL makes torch's float32 products take 1.5 times as long. A
    # loop that is compared with must not bear that.
    os.environ.setdefault("MKL_CBWR", "AUTO")
    return parser.parse_args()


def report(
    folder: Path, name: str, head: Sequence[str], rows: Sequence[Sequence[str]], facts: object
) -> None:
    """Print a Markdown table; write it with all values and the machine's description."""
    table = [
        f"| {' | '.join(head)} |",
        "|---" + "|--:" * (len(head) - 1) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    print("\n".join(table))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    tree = {"machine": machine(), "results": facts}
    text = json.dumps(tree, indent=1, default=dataclasses.asdict)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def bars(path: Path, label: str, values: dict[str, Spread]) -> None:
    """Horizontal bars of medians, with the range of the repetitions."""
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(values) + 1), layout="constrained")
    medians = [value.median for value in values.values()]
    below = [m - min(v.values) for m, v in zip(medians, values.values(), strict=True)]
    above = [max(v.values) - m for m, v in zip(medians, values.values(), strict=True)]
    bar = axes.barh(list(values), medians, xerr=[below, above], color="#4878a8", capsize=3)
    axes.bar_label(bar, fmt="%.3g", padding=8)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = torch.cpu.get_capabilities()
    return {
        "cpu": cpu.get("cpu_name", platform.processor()),
        "cores": n_cpus(),
        "threads": torch.get_num_threads(),
        "bfloat16_products": bool(cpu.get("avx512_bf16") or cpu.get("amx_bf16")),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
