"""How exact the measurements are, against what the renderer of the sample set knows.

``python -m benchmarks.measurements`` measures the whole fish of the val and test splits from
predicted masks and from the true ones, prints the medians of the absolute relative errors as a
Markdown table, and writes it between the marks of ``docs/measurements.md``. Fish that the
photograph or its copy cuts off are left out, and so are the few copies whose true mask is that of
another copy.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.results import write_between_marks
from fishseg import devices
from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import ZERO_255
from fishseg.images.masks import read_mask
from fishseg.measurement.size import measure
from fishseg.prediction.instances import find_fish
from fishseg.prediction.segmenter import Segmenter
from fishseg.tables import read_manifest
from stages import MANIFEST

RAW = Path("data/raw")
PAGE = Path("docs/measurements.md")
SIZES = ("area_px", "length_px", "width_px")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", nargs="+", default=["val", "test"], metavar="SPLIT")
    parser.add_argument("--decoder", type=Path, default=Path("data/decoder"), metavar="DIR")
    parser.add_argument("--backbone", type=Path, default=Path("data/backbone"), metavar="DIR")
    options = parser.parse_args()
    manifest = read_manifest(MANIFEST)
    samples = true_sizes().merge(manifest[manifest["split"].isin(options.splits)], on="sample_id")
    segmenter = Segmenter.load(options.decoder, options.backbone, devices.select())
    errors = pd.DataFrame(
        [
            error
            for sample in tqdm(list(samples.itertuples(index=False)), desc="measure", unit="image")
            for error in errors_of(sample, segmenter)
        ]
    )
    lines = table(errors)
    print("\n".join(lines))
    write_between_marks("measurements: python -m benchmarks.measurements", lines, PAGE)


def true_sizes() -> pd.DataFrame:
    """Each copy with the exact sizes of its animal, if its photograph shows the whole of it."""
    photos = pd.read_csv(RAW / "truth_photos.csv")
    copies = pd.read_csv(RAW / "truth.csv").merge(photos[photos["whole"] == 1], on="photo")
    # A copy may be scaled, too: by the root of its transform's determinant.
    area_scale = (copies["m00"] * copies["m11"] - copies["m01"] * copies["m10"]).abs()
    copies["area_px"] *= area_scale
    copies["length_px"] *= np.sqrt(area_scale)
    copies["width_px"] *= np.sqrt(area_scale)
    return copies[copies["mask_wrong"] == 0]


def errors_of(sample: Any, segmenter: Segmenter) -> Iterator[dict[str, Any]]:
    """Relative errors of the largest fish, from both masks; nothing if the frame cuts it off."""
    class_name, stem = sample.sample_id.split("/")
    folder = RAW / "Fish_Dataset" / "Fish_Dataset" / class_name
    image = read_image(folder / class_name / f"{stem}.png")
    mask = read_mask(folder / f"{class_name} GT" / f"{stem}.png", image.shape[:2], ZERO_255)
    if cut_off(mask):
        return
    for kind, probability, threshold in (
        ("predicted", segmenter.probability(image), segmenter.threshold),
        ("true", mask.astype(np.float32), 0.5),
    ):
        largest, *_ = find_fish(probability, threshold)
        found = measure(largest.mask)
        errors = {size: getattr(found, size) / getattr(sample, size) - 1 for size in SIZES}
        yield {"class_name": class_name, "mask": kind, **errors}


def cut_off(mask: NDArray[np.bool_]) -> bool:
    """Whether a mask touches the frame."""
    return bool(mask[[0, -1]].any() or mask[:, [0, -1]].any())


def table(errors: pd.DataFrame) -> list[str]:
    """Lines of Markdown: a row a class and one for all, medians in percent."""
    cells = [
        f"{size.removesuffix('_px')}, {kind} mask"
        for kind in ("predicted", "true")
        for size in SIZES
    ]
    lines = [f"| class | whole fish | {' | '.join(cells)} |", "|---|" + "---:|" * (len(cells) + 1)]
    for name, group in [*errors.groupby("class_name"), ("**all**", errors)]:
        medians = [
            f"{100 * group.loc[group['mask'] == kind, size].abs().median():.1f}%"
            for kind in ("predicted", "true")
            for size in SIZES
        ]
        lines.append(f"| {name} | {len(group) // 2} | {' | '.join(medians)} |")
    return lines


if __name__ == "__main__":
    main()
