"""What decoders are worth on real pictures that they never saw: ``make real``.

Scores every set of real pictures in ``FISHSEG_REAL`` (``../shared`` unless it is set; see
`benchmarks.real_sets` for what a set is) with the decoder at hand, the one that ships, and perhaps
another model, and prints one table. The worst pictures of each are drawn to ``tmp/real/``, and
every picture's scores are written beside them::

    python -m benchmarks.real
    python -m benchmarks.real --decoder data/decoder other/decoder --sets real-fish
    python -m benchmarks.real --peer isnet.onnx --peer-size 1024 --peer-mean 128 --peer-scale 256

Intervals are 95%, by bootstrap over photographs. A box that was drawn by hand is *found* where a
fish of the answer has a box with an IoU of more than 0.5; a fish of the answer that matches none so
well is *false*. Lengths are those of the largest fish: against that of the mask, measured in the
same way, and against what ruler and mask say in millimetres.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from benchmarks.peer import Peer
from benchmarks.real_sets import Box, Picture, RealSet, find_sets
from benchmarks.results import write_between_marks
from fishseg import devices
from fishseg.decoders.files import CARD_NAME
from fishseg.errors import CacheError, DataError, FishsegError
from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import ZERO_255
from fishseg.images.masks import read_mask
from fishseg.measurement.size import measure
from fishseg.metrics.masks import score_image
from fishseg.plots.galleries import GalleryItem, gallery
from fishseg.prediction.fine import FineModel
from fishseg.prediction.instances import Instance, find_fish
from fishseg.prediction.segmenter import Segmenter
from fishseg.prediction.shipped import DECODER, PRETRAINED, as_used, locate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fishseg.prediction.model import ProbabilityModel

    Mask = NDArray[np.bool_]

log = logging.getLogger(__name__)

DEFAULT_FOLDER = "../shared"
OUT = Path("tmp/real")
FOUND_IOU = 0.5
N_WORST = 6
BOOTSTRAP_SAMPLES, SEED = 2000, 42
HEAD = [
    "set",
    "pictures (photographs)",
    "model",
    "mean IoU",
    "boundary IoU",
    "boxes found",
    "median box IoU",
    "false fish",
    "median length error",
    "in mm",
]


def main() -> None:
    """Measure as the command line asks."""
    options = _parse_arguments()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    table = [f"| {' | '.join(HEAD)} |", "|---|---|---" + "|--:" * (len(HEAD) - 3) + "|"]
    tables = []
    try:
        chosen = _choose(Path(os.environ.get("FISHSEG_REAL", DEFAULT_FOLDER)), options.sets)
        models = _models(options)
        print("\n".join(table))
        for real_set in chosen:
            for name, model in models.items():
                scores = score_set(real_set, model, name)
                tables.append(scores.assign(set=real_set.name, model=name))
                table.append(f"| {' | '.join(summary_row(real_set, name, scores))} |")
                print(table[-1], flush=True)
    except FishsegError as error:
        raise SystemExit(f"ERROR: {error}") from None
    OUT.mkdir(parents=True, exist_ok=True)
    pd.concat(tables).to_csv(OUT / "pictures.csv", index=False)
    for page in options.write:
        write_between_marks("real: make real", table, page)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="these sets only")
    parser.add_argument(
        "--decoder",
        type=Path,
        nargs="*",
        metavar="FOLDER",
        help="decoders (default: data/decoder and the one that ships, where they exist); without a "
        "folder, none: the peer alone",
    )
    parser.add_argument(
        "--backbone",
        type=Path,
        metavar="FOLDER",
        help="their backbone (default: data/backbone, or what is fetched once)",
    )
    parser.add_argument("--tta", type=int, choices=(1, 2, 4, 8), default=1)
    parser.add_argument(
        "--fine",
        action="store_true",
        help="those of --decoder also with a second look, which the one that ships has anyway",
    )
    parser.add_argument("--peer", type=Path, metavar="FILE", help="another model, as ONNX")
    parser.add_argument("--peer-size", type=int, default=1024, help="side of its input")
    parser.add_argument("--peer-mean", type=float, default=128, help="of 255")
    parser.add_argument("--peer-scale", type=float, default=256, help="of 255")
    parser.add_argument("--peer-threshold", type=float, default=0.5)
    parser.add_argument(
        "--write", type=Path, nargs="+", metavar="PAGE", default=(), help="pages for the table, too"
    )
    return parser.parse_args()


def _choose(folder: Path, names: Sequence[str] | None) -> list[RealSet]:
    """The sets of a folder, or those of certain names."""
    sets = {found.name: found for found in find_sets(folder)}
    for name in names or ():
        if name not in sets:
            raise DataError(
                f"there is no set {name}", where=folder, expected=f"one of {', '.join(sets)}"
            )
    return [sets[name] for name in names or sets]


def _models(options: argparse.Namespace) -> dict[str, ProbabilityModel]:
    """The models to measure, by what the table calls them."""
    decoders = {str(folder): folder for folder in options.decoder or ()}
    if options.decoder is None:
        candidates = {"decoder at hand": DECODER, "decoder that ships": PRETRAINED}
        decoders = {n: folder for n, folder in candidates.items() if (folder / CARD_NAME).exists()}
    device = devices.select()
    models: dict[str, ProbabilityModel] = {}
    for name, folder in decoders.items():
        segmenter = Segmenter.load(*locate(folder, options.backbone), device, tta=options.tta)
        models[name] = segmenter if options.decoder else as_used(segmenter, folder)
    if options.decoder and options.fine:
        models |= {f"{name}, fine": FineModel(model=model) for name, model in models.items()}
    if options.peer:
        models[options.peer.stem] = Peer.load(
            options.peer,
            size=options.peer_size,
            mean=options.peer_mean,
            scale=options.peer_scale,
            threshold=options.peer_threshold,
        )
    if not models:
        raise CacheError(
            "there is no decoder to measure",
            where=DECODER,
            remedy="dvc repro train, or --decoder FOLDER",
        )
    return models


def score_set(real_set: RealSet, model: ProbabilityModel, model_name: str) -> pd.DataFrame:
    """A model's scores on a set, a row a picture, worst first drawn.

    Returns:
        ``picture, photograph``; of masks ``iou, boundary_iou``; of boxes what `match_boxes` gives;
        of lengths ``length_ratio`` (that of the answer to that of the mask) and ``error_mm``.
    """
    rows: list[dict[str, Any]] = []
    worst: list[GalleryItem] = []
    for picture in tqdm(real_set.pictures, desc=f"{real_set.name}, {model_name}", unit="image"):
        row, item = _score_picture(picture, model, real_set.name)
        rows.append({"picture": picture.name, "photograph": picture.photograph, **row})
        worst = sorted([*worst, item], key=lambda found: found.iou)[:N_WORST]
    name = f"{real_set.name}-{model_name.replace('/', '-').replace(' ', '-')}"
    gallery(worst, OUT / f"{name}.png", f"{real_set.name}, {model_name}: the worst")
    return pd.DataFrame(rows)


def _score_picture(
    picture: Picture, model: ProbabilityModel, set_name: str
) -> tuple[dict[str, Any], GalleryItem]:
    image = read_image(picture.image_path)
    probability = model.probability(image)
    answer = probability >= model.threshold
    fish = find_fish(probability, model.threshold)
    row: dict[str, Any] = {}
    if picture.mask_path:
        truth = read_mask(picture.mask_path, answer.shape, ZERO_255)
        scores = score_image(answer, truth)
        row |= {"iou": scores["iou"], "boundary_iou": scores["boundary_iou"]}
        shown = scores["iou"]
        if picture.ruler:
            (true_fish, *_) = find_fish(truth.astype(np.float32), 0.5)
            length_px = measure(fish[0].mask).length_px if fish else 0.0
            row["length_ratio"] = length_px / measure(true_fish.mask).length_px
            row["error_mm"] = length_px / picture.ruler.px_per_mm - picture.ruler.length_mm
    else:
        boxes = picture.boxes or ()
        row |= match_boxes([_box(found) for found in fish], boxes)
        truth = _filled(boxes, answer.shape)
        shown = min(row["box_ious"], default=1.0)
    item = GalleryItem(
        image=image,
        truth=truth,
        prediction=answer,
        iou=float(shown),
        class_name=set_name,
        sample_id=picture.name,
    )
    return row, item


def match_boxes(found: Sequence[Box], drawn: Sequence[Box]) -> dict[str, Any]:
    """Pair boxes that were found with those that were drawn, for the greatest sum of IoUs.

    Returns:
        ``box_ious``: of each drawn box, with its partner (0 without one); ``n_fish``: boxes found;
        ``n_false``: those without a partner, or with one of an IoU of 0.5 or less.
    """
    ious = np.array([[box_iou(a, b) for b in found] for a in drawn]).reshape(len(drawn), len(found))
    rows, columns = linear_sum_assignment(ious, maximize=True)
    best = np.zeros(len(drawn))
    best[rows] = ious[rows, columns]
    n_right = int((best > FOUND_IOU).sum())
    return {"box_ious": best.tolist(), "n_fish": len(found), "n_false": len(found) - n_right}


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes ``(x0, y0, x1, y1)`` with an area."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (first, second))
    return width * height / (areas - width * height)


def _box(fish: Instance) -> Box:
    rows, columns = fish.box
    return columns.start, rows.start, columns.stop, rows.stop


def _filled(boxes: Sequence[Box], size: tuple[int, ...]) -> Mask:
    mask = np.zeros(size, np.bool_)
    for x0, y0, x1, y1 in boxes:
        mask[max(0, round(y0)) : round(y1), max(0, round(x0)) : round(x1)] = True
    return mask


def summary_row(real_set: RealSet, model: str, scores: pd.DataFrame) -> list[str]:
    """What the table says of a model on a set; a dash where there is nothing to measure."""
    photographs = scores["photograph"]
    cells = [
        real_set.name,
        f"{len(scores)} ({photographs.nunique()})",
        model,
        *["–"] * (len(HEAD) - 3),
    ]

    def fill(column: str, text: str) -> None:
        cells[HEAD.index(column)] = text

    if "iou" in scores:
        fill("mean IoU", _with_interval(scores["iou"], photographs, np.mean))
        fill("boundary IoU", _with_interval(scores["boundary_iou"], photographs, np.mean))
    if "box_ious" in scores:
        boxes = scores.explode("box_ious").dropna(subset="box_ious")
        ious, owners = boxes["box_ious"].astype(float), boxes["photograph"]
        fill("boxes found", _with_interval((ious > FOUND_IOU).astype(float), owners, np.mean))
        fill("median box IoU", _with_interval(ious, owners, np.median))
        n_false, n_fish = scores["n_false"].sum(), scores["n_fish"].sum()
        fill("false fish", f"{n_false} of {n_fish} ({n_false / max(1, n_fish):.1%})")
    if "length_ratio" in scores:
        measured = scores.dropna(subset="length_ratio")
        error = 100 * (measured["length_ratio"] - 1).abs()
        fill(
            "median length error",
            _with_interval(error, measured["photograph"], np.median, ".1f", "%"),
        )
        fill(
            "in mm",
            _with_interval(measured["error_mm"].abs(), measured["photograph"], np.median, ".1f"),
        )
    return cells


def _with_interval(
    values: pd.Series[float],
    photographs: pd.Series[str],
    statistic: Callable[..., Any],
    form: str = ".3f",
    unit: str = "",
) -> str:
    low, high = interval(values, photographs, statistic)
    return f"**{statistic(values):{form}}**{unit} [{low:{form}}, {high:{form}}]"


def interval(
    values: pd.Series[float], photographs: pd.Series[str], statistic: Callable[..., Any]
) -> tuple[float, float]:
    """95% percentile interval of a statistic, by bootstrap over photographs."""
    groups = [group.to_numpy(np.float64) for _, group in values.groupby(photographs.to_numpy())]
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(len(groups), size=(BOOTSTRAP_SAMPLES, len(groups)))
    found = [statistic(np.concatenate([groups[number] for number in row])) for row in drawn]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
